/*
 * The inside of the disk's executor: shared by disk_uv.c (the loop's half) and
 * disk_work_uv.c (the workers'), nobody else's.
 */
#ifndef HOLDFAST_ENGINE_DISK_IMPL_H
#define HOLDFAST_ENGINE_DISK_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/list.h"
#include "engine/base/vec.h"
#include "engine/disk_task.h"
#include "engine/disk_uv.h"
#include "engine/event.h"
#include "engine/fs_posix.h"

/* A large file on its way through the workers. */
struct big {
	struct task *task; /* NULL: none in work */
	struct fs_posix_work work;
	struct fs_hash hash;
	uint32_t next_block, next_chunk;
	unsigned running; /* parts with workers */
	bool begun, cut_given, cut_done;
	bool over; /* the last part is home */
	int code;  /* of the first part that failed */
	struct err err;
};

enum part_kind { PART_BEGIN, PART_CUT, PART_BLOCKS, PART_CHUNKS, PART_STOP };

struct disk_folder {
	uint32_t number;
	char *path;
	struct fs_root *root;      /* NULL: missing */
	VEC(struct fs_root *) old; /* to close when nothing runs */
	unsigned in_work;          /* tasks queued or running */
	unsigned running;          /* tasks with workers */
	struct disk_space space;   /* when it was last looked at */
	bool closing, watch;
	bool sync_each; /* a flush failed: no more syncfs (see task_sync) */
	bool syncing;
	struct list sync; /* flushes that wait */
	struct task *close_task;
};

struct disk_job {
	struct job job;
	struct disk *disk;
	struct list_node node; /* spare */
	enum disk_queue queue;
	struct disk_folder *sync; /* a flush of this folder */

	bool sync_each; /* its word when the job went off */
	bool sync_failed;
	bool part; /* of disk->big */
	enum part_kind part_kind;
	uint32_t first, items;
	uint32_t count;
	struct fs_posix_work work;
	struct task **task; /* `task_cap` long; a flush may have many */
	struct event *done;
	struct err *err;
	uint32_t cap;
};

struct disk {
	struct pool *pool;
	struct disk_uv_hooks hooks;
	VEC(struct disk_folder *) folder; /* by number; NULL: none */
	struct list queue[QUEUES];
	unsigned running[QUEUES];
	unsigned width[QUEUES];
	unsigned in_work; /* tasks */
	struct list spare;
	struct big big;
	bool big_turn; /* small files and parts take turns */
};

/* What a worker does with a job of ours.  Thread: worker. */
void disk_work_run(struct job *job);

#endif
