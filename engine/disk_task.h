/*
 * A task of the disk: an effect with a copy of all it borrows, on its way from
 * the loop to a worker and back.  Made and freed by the loop.
 *
 * Pure.  Thread: one at a time.
 */
#ifndef HOLDFAST_ENGINE_DISK_TASK_H
#define HOLDFAST_ENGINE_DISK_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/effect.h"
#include "engine/event.h"

/* Bytes of file data in one batch: a few milliseconds of work. */
#define DISK_BATCH_LEN (4 * MIB)
/* From this size on all workers hash one file, in parts of this size. */
#define DISK_BIG_FROM (64 * MIB)
#define DISK_BIG_PART (32 * MIB)

struct disk_folder;
struct fs_root;

enum disk_queue {
	QUEUE_ACT,   /* looks and acts: somebody waits for a file */
	QUEUE_SERVE, /* a peer waits for a block */
	QUEUE_WRITE, /* verified and written */
	QUEUE_COPY,  /* local data verified, moved */
	QUEUE_HASH,
	QUEUE_BIG, /* large files, one after the other, in QUEUE_HASH's places
		    */
	QUEUES
};

struct task {
	struct list_node node;
	struct effect effect;       /* its slices lie behind this struct */
	struct disk_folder *folder; /* NULL: no such folder */
	struct fs_root *root;       /* as it was when the task went off */
	int code;                   /* preset: answer without trying */
	int wd;                     /* LIST_DIR: watch, or -errno */
	bool watch, watch_tried;
	bool same;                /* CHECK_ROOT: nothing new */
	struct fs_root *new_root; /* OPEN_FOLDER, CHECK_ROOT, MAKE_MARKER */
	struct disk_space space;  /* if it was looked at */
};

/* Takes the effect's payload. */
struct task *disk_task_new(const struct effect *effect);
void disk_task_free(struct task *t);
/* How much of a batch this takes, bytes. */
uint64_t disk_task_weight(const struct task *t);
enum disk_queue disk_task_queue(const struct effect *e);
/* How much there is to hash, or was: the file may have changed. */
int64_t disk_task_hash_len(const struct effect *e);
bool disk_task_is_flush(enum effect_kind kind);

#endif
