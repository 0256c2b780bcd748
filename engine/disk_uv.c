/*
 * The disk's executor; see disk_uv.h.
 *
 *   disk_uv_do -> task -> queue by kind -> job of up to BATCH tasks
 *                                             | worker: fs_posix_do each
 *   hooks.done <- event <-------------------- '
 *
 * A queue sends a job off as soon as it may, with its share of what waits: a
 * lone task goes alone and at once, a crowd goes in batches.
 *
 * Two kinds go their own ways.  Flushes wait with their folder: one runs, what
 * comes meanwhile shares the next (one syncfs for all).  A large file is cut in
 * parts that take the hash queue's places (struct big).
 *
 * A folder's root is replaced, never changed: the old one is closed when no
 * task of the folder runs any more.
 */
#include "engine/disk_uv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/disk_impl.h"

#define DISK_BATCH 32u
/* Jobs kept for reuse while nothing is in work. */
#define DISK_SPARE_IDLE 2u

bool
disk_uv_takes(enum effect_kind kind)
{
	return kind != EFFECT_SEND && kind != EFFECT_DROP_PEER &&
	       kind != EFFECT_COMMIT && kind != EFFECT_WATCH &&
	       kind != EFFECT_NOTE;
}

/* ---- jobs ---- */

static struct disk_job *
job_new(struct disk *disk, enum disk_queue queue, uint32_t cap)
{
	struct list_node *n = list_first(&disk->spare);
	struct disk_job *j;

	if (n != NULL) {
		list_remove(&disk->spare, n);
		j = LIST_ITEM(n, struct disk_job, node);
	} else {
		j = mem_zalloc(sizeof(*j));
		fs_posix_work_init(&j->work);
		j->disk = disk;
	}
	if (cap < DISK_BATCH)
		cap = DISK_BATCH;
	if (j->cap < cap) {
		mem_free(j->task);
		mem_free(j->done);
		mem_free(j->err);
		j->task = mem_array(cap, sizeof(struct task *));
		j->done = mem_array(cap, sizeof(*j->done));
		j->err = mem_array(cap, sizeof(*j->err));
		j->cap = cap;
	}
	j->queue = queue;
	j->sync = NULL;
	j->sync_failed = false;
	j->part = false;
	j->count = 0;
	return j;
}

static void
job_free(struct disk_job *j)
{
	fs_posix_work_fini(&j->work);
	mem_free(j->task);
	mem_free(j->done);
	mem_free(j->err);
	mem_free(j);
}

static void
job_give_back(struct disk_job *j)
{
	struct disk *disk = j->disk;
	struct list_node *n;

	arena_clear(&j->work.arena);
	if (j->cap > 4 * DISK_BATCH)
		job_free(j);
	else
		list_add_first(&disk->spare, &j->node);
	while (disk->in_work == 0 && disk->spare.count > DISK_SPARE_IDLE) {
		n = list_first(&disk->spare);
		list_remove(&disk->spare, n);
		job_free(LIST_ITEM(n, struct disk_job, node));
	}
}

static void disk_dispatch(struct disk *disk);
static void disk_dispatch_sync(struct disk *disk, struct disk_folder *f);
static void disk_go(struct disk *disk, struct disk_job *j, enum job_class c);

static struct disk_folder *
disk_folder(const struct disk *disk, uint32_t number)
{
	return number < disk->folder.len ? disk->folder.item[number] : NULL;
}

static void
folder_retire(struct disk_folder *f, struct fs_root *next)
{
	if (f->root != NULL)
		*VEC_ADD(&f->old) = f->root;
	f->root = next;
	f->sync_each = false;
}

static void
folder_close_old(struct disk_folder *f)
{
	if (f->running > 0)
		return;
	for (size_t i = 0; i < f->old.len; i++)
		fs_posix_close(f->old.item[i]);
	VEC_CLEAR(&f->old);
}

static void
folder_free(struct disk *disk, struct disk_folder *f)
{
	disk->folder.item[f->number] = NULL;
	folder_retire(f, NULL);
	folder_close_old(f);
	VEC_FINI(&f->old);
	mem_free(f->path);
	mem_free(f);
}

/* The last task but CLOSE_FOLDER is answered: now that. */
static void
folder_check_closing(struct disk *disk, struct disk_folder *f)
{
	struct task *t = f->close_task;

	if (t == NULL || f->in_work > 1)
		return;
	f->close_task = NULL;
	list_add(&disk->queue[QUEUE_ACT], &t->node);
}

/* A task goes off: what is its folder now? */
static void
task_go(struct task *t)
{
	struct disk_folder *f = t->folder;
	const enum effect_kind kind = t->effect.kind;

	if (f == NULL) {
		t->code = ERR_CLOSED;
		return;
	}
	f->running++;
	t->root = f->root;
	if (f->closing && kind != EFFECT_CLOSE_FOLDER)
		t->code = ERR_CLOSED;
	else if (f->root == NULL && kind != EFFECT_OPEN_FOLDER &&
		 kind != EFFECT_CLOSE_FOLDER && kind != EFFECT_CHECK_ROOT &&
		 kind != EFFECT_MAKE_MARKER)
		t->code = ERR_MISSING_ROOT;
}

/* A task is done: its folder's books, then its event. */
static void
task_done(struct disk *disk, struct task *t, struct event *ev,
    const struct err *err)
{
	const struct disk_uv_hooks *hooks = &disk->hooks;
	struct disk_folder *f = t->folder;
	const bool closes = t->effect.kind == EFFECT_CLOSE_FOLDER &&
			    f != NULL && ev->u.done.code == 0;

	if (t->new_root != NULL) {
		if (f->closing) {
			fs_posix_close(t->new_root);
		} else {
			folder_retire(f, t->new_root);
		}
	} else if (ev->u.done.code == ERR_MISSING_ROOT && f != NULL &&
		   (t->effect.kind == EFFECT_OPEN_FOLDER ||
		       t->effect.kind == EFFECT_CHECK_ROOT ||
		       t->effect.kind == EFFECT_MAKE_MARKER)) {
		folder_retire(f, NULL);
	}
	if (f != NULL) {
		if (t->space.total > 0)
			f->space = t->space;
		f->running--;
		f->in_work--;
		folder_close_old(f);
		folder_check_closing(disk, f);
	}
	disk->in_work--;
	if (closes)
		folder_free(disk, f);
	ev->u.done.id = t->effect.id;
	if (ev->u.done.code < 0)
		ev->u.done.text = slice_str(err->text);
	if (t->watch_tried && hooks->watched != NULL)
		hooks->watched(hooks->arg, t->effect.folder, t->effect.path,
		    t->wd);
	if (t->effect.id != 0)
		hooks->done(hooks->arg, ev);
	else
		payload_free(ev->u.done.payload);
	disk_task_free(t);
}

/* ---- a large file ---- */

static void
big_end(struct disk *disk)
{
	struct big *b = &disk->big;
	struct task *t = b->task;
	struct event ev = { .kind = EVENT_DONE };

	if (b->hash.fd >= 0) {
		/* One fstat and one close: not worth a worker. */
		const int rc =
		    fs_posix_hash_end(&b->hash, b->code < 0, &ev, &b->err);

		if (b->code == 0)
			b->code = rc;
	}
	ev.u.done.code = b->code;
	/* The event borrows from the arena, and what is done about it may ask
	 * for the next large file: that one must not begin before both are
	 * free.  Until then `over` keeps everyone off. */
	task_done(disk, t, &ev, &b->err);
	arena_clear(&b->work.arena);
	b->task = NULL;
}

/* The next range of parts: at most DISK_BIG_PART bytes. */
static bool
big_next_part(struct big *b, struct disk_job *j)
{
	const struct fs_hash *h = &b->hash;

	if (b->task->folder->closing && b->code == 0)
		b->code = err_set(&b->err, ERR_CLOSED, "the folder is closed");
	if (b->code < 0) { /* the end comes with the last part */
		j->part_kind = PART_STOP;
		return b->running == 0;
	}
	if (h->chunks && !b->cut_given) {
		b->cut_given = true;
		j->part_kind = PART_CUT;
		return true;
	}
	if (b->next_block < h->block_count) {
		const uint64_t n = DISK_BIG_PART / h->block_size;
		const uint32_t left = h->block_count - b->next_block;

		j->part_kind = PART_BLOCKS;
		j->first = b->next_block;
		j->items = n < left ? (uint32_t)n : left;
		b->next_block += j->items;
		return true;
	}
	if (b->cut_done && b->next_chunk < h->chunk_count) {
		uint64_t len = 0;

		j->part_kind = PART_CHUNKS;
		j->first = b->next_chunk;
		while (b->next_chunk < h->chunk_count && len < DISK_BIG_PART)
			len += h->chunk[b->next_chunk++].len;
		j->items = b->next_chunk - j->first;
		return true;
	}
	return false;
}

/* Hand out one part, if there is one to be had now. */
static bool
big_dispatch(struct disk *disk)
{
	struct big *b = &disk->big;
	struct disk_job *j;

	if (b->task == NULL || !b->begun || b->over)
		return false;
	j = job_new(disk, QUEUE_HASH, 1);
	if (!big_next_part(b, j)) {
		job_give_back(j);
		return false;
	}
	j->part = true;
	b->running++;
	disk_go(disk, j, JOB_BULK);
	return true;
}

static void
big_begin(struct disk *disk, struct task *t)
{
	struct big *b = &disk->big;
	struct disk_job *j = job_new(disk, QUEUE_HASH, 1);

	ASSERT(b->task == NULL);
	task_go(t);
	b->task = t;
	b->hash.fd = -1;
	b->next_block = b->next_chunk = 0;
	b->begun = b->cut_given = b->cut_done = b->over = false;
	b->code = 0;
	b->running = 1;
	j->part = true;
	j->part_kind = PART_BEGIN;
	disk_go(disk, j, JOB_BULK);
}

static void
big_part_done(struct disk *disk, struct disk_job *j)
{
	struct big *b = &disk->big;
	const int rc = j->done[0].u.done.code;

	b->running--;
	if (j->part_kind == PART_BEGIN) {
		b->begun = true;
		if (rc < 0)
			b->hash.fd = -1;
	}
	if (j->part_kind == PART_CUT)
		b->cut_done = rc == 0;
	if (rc < 0 && b->code == 0) {
		b->code = rc;
		b->err = j->err[0];
		err_wrap(&b->err, "%s",
		    path_print(&j->work.arena, b->task->effect.path));
	}
	b->over =
	    b->begun && b->running == 0 &&
	    (b->code < 0 || (b->next_block == b->hash.block_count &&
				(!b->hash.chunks ||
				    (b->cut_done && b->next_chunk ==
							b->hash.chunk_count))));
}

/* ---- queues ---- */

static void
job_on_done(struct job *job)
{
	struct disk_job *j = (struct disk_job *)job;
	struct disk *disk = j->disk;

	if (j->sync != NULL) {

		j->sync->syncing = false;
		j->sync->sync_each |= j->sync_failed;
		disk_dispatch_sync(disk, j->sync);
	} else {
		disk->running[j->queue]--;
	}
	if (j->part)
		big_part_done(disk, j);

	disk_dispatch(disk); /* workers first, then our own news */
	for (uint32_t i = 0; i < j->count; i++)
		task_done(disk, j->task[i], &j->done[i], &j->err[i]);
	if (j->part && disk->big.over)
		big_end(disk);
	job_give_back(j);
	disk_dispatch(disk);
}

static void
disk_go(struct disk *disk, struct disk_job *j, enum job_class c)
{
	memset(&j->job, 0, sizeof(j->job));
	j->job.run = disk_work_run;
	j->job.on_done = job_on_done;
	if (j->sync == NULL)
		disk->running[j->queue]++;
	pool_uv_add(disk->pool, &j->job, c);
}

static void
disk_dispatch_sync(struct disk *disk, struct disk_folder *f)
{
	struct list_node *n;
	struct disk_job *j;

	if (f->syncing || f->sync.count == 0)
		return;
	j = job_new(disk, QUEUE_ACT, (uint32_t)f->sync.count);
	while ((n = list_first(&f->sync)) != NULL) {
		list_remove(&f->sync, n);
		j->task[j->count] = LIST_ITEM(n, struct task, node);
		task_go(j->task[j->count++]);
	}
	j->sync = f;
	j->sync_each = f->sync_each;
	f->syncing = true;
	disk_go(disk, j, JOB_SYNC);
}

/* Fill a job with this queue's share for one of `slots` workers. */
static void
disk_dispatch_batch(struct disk *disk, enum disk_queue q, unsigned slots)
{
	struct list *queue = &disk->queue[q];
	struct disk_job *j = job_new(disk, q, DISK_BATCH);
	size_t share = (queue->count + slots - 1) / slots;
	uint64_t weight = 0;

	if (q == QUEUE_WRITE && share < 2)
		share = 2;
	if (share > DISK_BATCH)
		share = DISK_BATCH;
	/* Of writes two at least: they are verified together. */
	while (j->count < share && (weight < DISK_BATCH_LEN ||
				       (q == QUEUE_WRITE && j->count == 1))) {
		struct list_node *n = list_first(queue);
		struct task *t;

		if (n == NULL)
			break;
		t = LIST_ITEM(n, struct task, node);
		list_remove(queue, n);
		task_go(t);
		weight += disk_task_weight(t);
		j->task[j->count++] = t;
	}
	disk_go(disk, j,
	    q == QUEUE_ACT || q == QUEUE_SERVE ? JOB_QUICK : JOB_BULK);
}

/* Go on with a large file, or begin the next; false when there is none. */
static bool
disk_dispatch_big(struct disk *disk)
{
	struct list_node *n = list_first(&disk->queue[QUEUE_BIG]);

	if (disk->big.task != NULL)
		return big_dispatch(disk);
	if (n == NULL)
		return false;
	list_remove(&disk->queue[QUEUE_BIG], n);
	big_begin(disk, LIST_ITEM(n, struct task, node));
	return true;
}

static void
disk_dispatch_hash(struct disk *disk)
{
	const enum disk_queue q = QUEUE_HASH;

	while (disk->running[q] < disk->width[q]) {
		const bool small = disk->queue[q].count > 0;

		if ((disk->big_turn || !small) && disk_dispatch_big(disk)) {
			disk->big_turn = false;
			continue;
		}
		if (!small)
			break;
		disk_dispatch_batch(disk, q, disk->width[q] - disk->running[q]);
		disk->big_turn = true;
	}
}

/* A lone write goes at once, or waits for a second to be verified with. */
static bool
disk_is_due(const struct disk *disk, enum disk_queue q)
{
	const size_t least = q == QUEUE_WRITE && disk->running[q] > 0 ? 2 : 1;

	return disk->running[q] < disk->width[q] &&
	       disk->queue[q].count >= least;
}

static void
disk_dispatch(struct disk *disk)
{
	for (enum disk_queue q = 0; q < QUEUE_HASH; q++)
		while (disk_is_due(disk, q))
			disk_dispatch_batch(disk, q,
			    disk->width[q] - disk->running[q]);
	disk_dispatch_hash(disk);
}

static struct disk_folder *
disk_add_folder(struct disk *disk, uint32_t number, struct slice path)
{
	struct disk_folder *f = mem_zalloc(sizeof(*f));

	while (disk->folder.len <= number)
		*VEC_ADD(&disk->folder) = NULL;
	ASSERT(disk->folder.item[number] == NULL);
	disk->folder.item[number] = f;
	f->number = number;
	f->path = mem_alloc(path.len + 1);
	if (path.len > 0)
		memcpy(f->path, path.ptr, path.len);
	f->path[path.len] = '\0';
	list_init(&f->sync);
	return f;
}

void
disk_uv_do(struct disk *disk, const struct effect *effect)
{
	struct disk_folder *f = disk_folder(disk, effect->folder);
	struct task *t;

	ASSERT(disk_uv_takes(effect->kind));
	if (effect->kind == EFFECT_OPEN_FOLDER && f == NULL)
		f = disk_add_folder(disk, effect->folder, effect->u.open.path);
	t = disk_task_new(effect);
	t->folder = f;
	disk->in_work++;
	if (f != NULL) {
		f->in_work++;
		t->watch = f->watch && effect->kind == EFFECT_LIST_DIR &&
			   disk->hooks.watch_dir != NULL;
	}
	if (f != NULL && effect->kind == EFFECT_CLOSE_FOLDER && f->closing)
		t->code = ERR_CLOSED;
	if (f != NULL && effect->kind == EFFECT_CLOSE_FOLDER && !f->closing) {
		f->closing = true;
		f->close_task = t;
		folder_check_closing(disk, f);
	} else if (f != NULL && disk_task_is_flush(effect->kind)) {
		list_add(&f->sync, &t->node);
		disk_dispatch_sync(disk, f);
	} else {
		list_add(&disk->queue[disk_task_queue(effect)], &t->node);
	}
	disk_dispatch(disk);
}

int
disk_uv_dup_root(const struct disk *disk, uint32_t folder)
{
	const struct disk_folder *f = disk_folder(disk, folder);

	return f == NULL || f->root == NULL ? -1 : fs_posix_dup(f->root);
}

struct disk_space
disk_uv_space(const struct disk *disk, uint32_t folder)
{
	const struct disk_folder *f = disk_folder(disk, folder);

	return f == NULL || f->root == NULL ? (struct disk_space){ 0 }
					    : f->space;
}

void
disk_uv_watch(struct disk *disk, uint32_t folder, bool on)
{
	struct disk_folder *f = disk_folder(disk, folder);

	if (f != NULL)
		f->watch = on;
}

struct disk *
disk_uv_new(struct pool *pool, const struct disk_uv_hooks *hooks)
{
	struct disk *disk = mem_zalloc(sizeof(*disk));
	const unsigned quick = pool_uv_width(pool, JOB_QUICK);
	const unsigned bulk = pool_uv_width(pool, JOB_BULK);

	disk->pool = pool;
	disk->hooks = *hooks;
	for (int i = 0; i < QUEUES; i++)
		list_init(&disk->queue[i]);
	list_init(&disk->spare);
	/* Each leaves a place to the others of its class. */
	disk->width[QUEUE_ACT] = quick > 2 ? quick - 1 : quick;
	disk->width[QUEUE_SERVE] = quick > 2 ? quick - 1 : quick;
	disk->width[QUEUE_WRITE] = bulk > 2 ? bulk - 1 : bulk;
	disk->width[QUEUE_COPY] = bulk > 2 ? bulk - 1 : bulk;
	disk->width[QUEUE_HASH] = bulk > 2 ? bulk - 1 : bulk;
	fs_posix_work_init(&disk->big.work);
	return disk;
}

bool
disk_uv_idle(const struct disk *disk)
{
	return disk->in_work == 0;
}

void
disk_uv_free(struct disk *disk)
{
	struct list_node *n;

	if (disk == NULL)
		return;
	ASSERT(disk_uv_idle(disk));
	for (size_t i = 0; i < disk->folder.len; i++)
		if (disk->folder.item[i] != NULL)
			folder_free(disk, disk->folder.item[i]);
	VEC_FINI(&disk->folder);
	while ((n = list_first(&disk->spare)) != NULL) {
		list_remove(&disk->spare, n);
		job_free(LIST_ITEM(n, struct disk_job, node));
	}
	fs_posix_work_fini(&disk->big.work);
	mem_free(disk);
}
