/*
 * What workers do with the jobs of disk_uv.c.
 *
 * Thread: worker; a job and its tasks are the worker's until it is done.
 */
#include <string.h>
#include <unistd.h>

#include "engine/base/digest_pair.h"
#include "engine/base/path.h"
#include "engine/disk_impl.h"

static int
work_root(struct task *t, struct fs_posix_work *work, struct event *done,
    struct err *err)
{
	struct root_facts *facts = &done->u.done.root;
	const char *path = t->folder->path;
	int rc = 0;

	(void)work;
	if (t->effect.kind == EFFECT_MAKE_MARKER) {
		rc = fs_posix_make_marker(path, err);
		if (rc < 0)
			return rc;
	}
	if (t->effect.kind == EFFECT_CHECK_ROOT && t->root != NULL) {
		rc = fs_posix_check(t->root, path, facts, &t->same, err);
		if (rc < 0 || t->same)
			return rc;
	}
	return fs_posix_open(&t->new_root, path, facts, err);
}

static int
work_list_watched(const struct disk_uv_hooks *hooks, struct task *t,
    struct fs_posix_work *work, struct event *done, struct err *err)
{
	int fd;
	int rc = fs_posix_dir_open(t->root, t->effect.path, &fd, err);

	if (rc == 0) {
		/* First the watch: what changes while we read is told. */
		t->wd = hooks->watch_dir(hooks->arg, t->effect.folder, fd);
		t->watch_tried = true;
		rc = fs_posix_dir_read(fd, work, done, err);
		close(fd);
	}
	if (rc < 0 && t->effect.path.len > 0)
		err_wrap(err, "%s", path_print(&work->arena, t->effect.path));
	return rc;
}

/* The answer of a task that was not to be tried, or 0. */
static int
work_check(const struct task *t, struct err *err)
{
	if (t->code == ERR_CLOSED)
		return err_set(err, ERR_CLOSED, "the folder is closed");
	if (t->code == ERR_MISSING_ROOT)
		return err_set(err, ERR_MISSING_ROOT, "the folder is missing");
	return 0;
}

static int
work_one(struct disk_job *j, struct task *t, struct event *done,
    struct err *err)
{
	const struct disk_uv_hooks *hooks = &j->disk->hooks;
	int rc;

	memset(done, 0, sizeof(*done));
	done->kind = EVENT_DONE;

	rc = work_check(t, err);
	if (rc < 0)
		return rc;
	if (t->effect.kind == EFFECT_OPEN_FOLDER ||
	    t->effect.kind == EFFECT_CHECK_ROOT ||
	    t->effect.kind == EFFECT_MAKE_MARKER) {
		rc = work_root(t, &j->work, done, err);
		if (rc == 0)
			t->space = fs_posix_space(
			    t->new_root != NULL ? t->new_root : t->root);
		return rc;
	}
	if (t->effect.kind == EFFECT_CLOSE_FOLDER)
		return 0;

	if (t->watch)
		return work_list_watched(hooks, t, &j->work, done, err);
	rc = fs_posix_do(t->root, &t->effect, &j->work, done, err);
	if (t->effect.kind == EFFECT_WRITE_TEMP) { /* large: not on the loop */
		payload_free(t->effect.u.write.payload);
		t->effect.u.write.payload = NULL;
	}
	return rc;
}

/* Can the flush be one syncfs() for all? */
static bool
work_sync_together(const struct disk_job *j, uint32_t *names)
{
	*names = 0;
	for (uint32_t i = 0; i < j->count; i++) {
		if (j->task[i]->code != 0 ||
		    j->task[i]->root != j->task[0]->root)
			return false;
		*names += j->task[i]->effect.u.sync.count;
	}
	return *names >= FS_POSIX_SYNCFS_FROM && !j->sync_each &&
	       fs_posix_can_syncfs(j->task[0]->root);
}

/*
 * After a failed syncfs() other temps of the same time may be hurt as well, and
 * the next syncfs() would say all is well: the kernel tells an error once a
 * descriptor.  A file's own fsync() still knows, so from then on that is used.
 */
static void
work_sync(struct disk_job *j)
{
	uint32_t names;
	int rc = 0;

	if (j->task[0]->code == 0)
		j->task[0]->space = fs_posix_space(j->task[0]->root);
	if (work_sync_together(j, &names)) {
		struct effect all = { .kind = EFFECT_SYNC_TEMPS };
		bool temps = false;

		for (uint32_t i = 0; i < j->count; i++)
			temps |= j->task[i]->effect.kind == EFFECT_SYNC_TEMPS;
		all.kind = temps ? EFFECT_SYNC_TEMPS : EFFECT_SYNC_DIRS;
		all.u.sync.count = names; /* many: no name is looked at */
		rc = fs_posix_do(j->task[0]->root, &all, &j->work, &j->done[0],
		    &j->err[0]);
		j->sync_failed = rc < 0;
		j->err[0].code = rc;
		for (uint32_t i = 0; i < j->count; i++) {
			memset(&j->done[i], 0, sizeof(j->done[i]));
			j->done[i].kind = EVENT_DONE;
			j->done[i].u.done.code = rc;
			if (i > 0)
				j->err[i] = j->err[0];
		}
		return;
	}
	for (uint32_t i = 0; i < j->count; i++) {
		struct task *t = j->task[i];

		j->err[i].text[0] = '\0';
		memset(&j->done[i], 0, sizeof(j->done[i]));
		j->done[i].kind = EVENT_DONE;
		if (t->code == 0 && t->effect.kind == EFFECT_SYNC_TEMPS)
			rc = fs_posix_sync_temps(t->root, t->effect.u.sync.name,
			    t->effect.u.sync.count, j->sync_each, &j->err[i]);
		else
			rc = work_one(j, t, &j->done[i], &j->err[i]);
		if (rc == ERR_IO || rc == ERR_FULL)
			j->sync_failed = true;
		j->done[i].u.done.code = rc;
	}
}

static void
work_part(struct disk_job *j)
{
	struct big *b = &j->disk->big;
	struct err *err = &j->err[0];
	int rc = 0;

	switch (j->part_kind) {
	case PART_BEGIN:
		rc = work_check(b->task, err);
		if (rc < 0)
			break;
		rc = fs_posix_hash_begin(b->task->root, &b->task->effect,
		    &b->work, &b->hash, err);
		break;
	case PART_CUT:
		rc = fs_posix_hash_cut(&b->hash, &b->work, err);
		break;
	case PART_BLOCKS:
		rc = fs_posix_hash_blocks(&b->hash, j->first, j->items,
		    &j->work, err);
		break;
	case PART_CHUNKS:
		rc = fs_posix_hash_chunks(&b->hash, j->first, j->items,
		    &j->work, err);
		break;
	case PART_STOP:
		break;
	}
	j->done[0].u.done.code = rc;
}

/*
 * Two payloads are verified at once (digest_pair.h).  One that is its hash
 * need not be verified again; one that is not meets fs_posix_do().
 */
static void
work_verify_ahead(struct disk_job *j)
{
	struct effect *two[2];
	unsigned have = 0;

	for (uint32_t i = 0; i < j->count; i++) {
		struct effect *e = &j->task[i]->effect;

		if (e->kind != EFFECT_WRITE_TEMP || !e->u.write.verify)
			continue;
		two[have++] = e;
		if (have == 2) {
			struct slice data[2];
			struct digest is[2];

			for (int k = 0; k < 2; k++)
				data[k] =
				    payload_slice(two[k]->u.write.payload);
			digest_pair_of(data, is);
			for (int k = 0; k < 2; k++)
				two[k]->u.write.verify = !digest_equal(&is[k],
				    &two[k]->u.write.hash);
			have = 0;
		}
	}
}

void
disk_work_run(struct job *job)
{
	struct disk_job *j = (struct disk_job *)job;

	if (j->part) {
		work_part(j);
		return;
	}
	if (j->sync != NULL) {
		work_sync(j);
		return;
	}
	if (j->queue == QUEUE_WRITE)
		work_verify_ahead(j);
	for (uint32_t i = 0; i < j->count; i++) {
		j->err[i].text[0] = '\0';
		j->done[i].u.done.code =
		    work_one(j, j->task[i], &j->done[i], &j->err[i]);
	}
}
