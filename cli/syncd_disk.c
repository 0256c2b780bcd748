/*
 * The daemon's disk: stores, commits, roots, watches.  See syncd.h.
 */
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/syncd.h"
#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/fs_posix.h"
#include "engine/store_lmdb.h"

#define SYNCD_CHECK_MS 1000u /* of looking at a store before it is used */

static struct syncd_folder *
syncd_folder(struct syncd *sd, uint32_t number)
{
	while (sd->folder.len <= number)
		*VEC_ADD(&sd->folder) = (struct syncd_folder){ 0 };
	return &sd->folder.item[number];
}

/* --- Indexes of folders that are gone --- */

/*
 * An index must not outlive its folder: were the folder added again, all that
 * was deleted in between would count as deleted by a person, everywhere.
 */
static bool
syncd_index_is_of(const struct syncd *sd, const char *name, const char *id)
{
	char *dir = home_index_of(&sd->home, id);
	const char *base = strrchr(dir, '/') + 1;
	const bool is = strncmp(name, base, HOME_INDEX_NAME_LEN) == 0;

	mem_free(dir);
	return is;
}

/* One of ours: 32 hex digits, and what a damaged one has behind them. */
static bool
syncd_is_index(const char *name)
{
	const size_t n = strspn(name, "0123456789abcdef");

	return n == HOME_INDEX_NAME_LEN &&
	       (name[n] == '\0' ||
		   strncmp(name + n, ".damaged-", strlen(".damaged-")) == 0);
}

static bool
syncd_index_is_wanted(const struct syncd *sd, const char *name)
{
	for (uint32_t i = 0; i < sd->cfg.setup.folder_count; i++)
		if (syncd_index_is_of(sd, name,
			(const char *)sd->cfg.setup.folder[i].id.ptr))
			return true;
	return false;
}

static void
syncd_index_remove(struct syncd *sd, const char *dir)
{
	struct err err = { 0 };

	/* One that is open still goes when it is closed. */
	if (store_lmdb_destroy(dir, &err) == 0)
		log_info(&sd->log, "index remove dir=%s", dir);
	else if (err.code != ERR_BUSY)
		log_warn(&sd->log, "index remove: %s", err.text);
}

/* Closed: does its index go?  It may be configured again by now. */
static void
syncd_index_closed(struct syncd *sd, const struct syncd_folder *sf)
{
	char *dir;

	if (!sf->forget)
		return;
	dir = home_index_of(&sd->home, sf->id);
	syncd_index_remove(sd, dir);
	mem_free(dir);
}

void
syncd_sweep(struct syncd *sd)
{
	/* Folders that a coordinator alone does not open are not gone. */
	DIR *dir = sd->coord_only ? NULL : opendir(sd->home.index_dir);
	struct dirent *de;

	for (size_t i = 0; i < sd->folder.len; i++) {
		struct syncd_folder *sf = &sd->folder.item[i];

		if (sf->id != NULL &&
		    config_find_folder(&sd->cfg, slice_str(sf->id)) < 0)
			sf->forget = true;
	}
	if (dir == NULL)
		return;
	while ((de = readdir(dir)) != NULL) {
		char *path;

		if (!syncd_is_index(de->d_name) ||
		    syncd_index_is_wanted(sd, de->d_name))
			continue;
		if (asprintf(&path, "%s/%s", sd->home.index_dir, de->d_name) <
		    0)
			break;
		syncd_index_remove(sd, path);
		free(path);
	}
	closedir(dir);
}

/* --- Opening a folder: the root first, then its store --- */

struct syncd_open_job {
	struct job job;
	struct syncd *sd;
	uint32_t folder;
	uint64_t id;
	struct root_facts root;
	char *dir; /* of the store; owned */
	bool set_aside;
	bool rebuilt;
};

/* Worker: is the store whole?  One that is not is set aside. */
static void
syncd_open_run(struct job *job)
{
	struct syncd_open_job *oj = (struct syncd_open_job *)(void *)job;
	int rc = 0;

	if (!oj->set_aside)
		rc = store_lmdb_check(oj->dir, SYNCD_CHECK_MS, &job->err);
	if (oj->set_aside || rc == ERR_CORRUPT) {
		job->err = (struct err){ 0 };
		if (store_lmdb_set_aside(oj->dir, &job->err) == 0)
			oj->rebuilt = true;
		else if (job->err.code == ERR_NOT_FOUND)
			job->err = (struct err){ 0 };
	}
}

static void
syncd_open_done(struct job *job)
{
	struct syncd_open_job *oj = (struct syncd_open_job *)(void *)job;
	struct syncd *sd = oj->sd;
	struct syncd_folder *sf = syncd_folder(sd, oj->folder);
	struct event ev = { .kind = EVENT_DONE };
	struct err err = job->err;

	if (err.code == 0)
		store_lmdb_open(&sf->store, oj->dir, &err);
	ev.u.done.id = oj->id;
	ev.u.done.code = err.code;
	ev.u.done.text = slice_str(err.text);
	ev.u.done.root = oj->root;
	ev.u.done.store = sf->store;
	ev.u.done.store_rebuilt = oj->rebuilt;
	sf->open = err.code == 0;
	if (err.code != 0) { /* not opened, then: let go of the root too */
		const struct effect ef = { .kind = EFFECT_CLOSE_FOLDER,
			.folder = oj->folder };

		disk_uv_do(sd->disk, &ef);
	}
	syncd_step(sd, &ev);
	mem_free(oj->dir);
	mem_free(oj);
}

static void
syncd_root_opened(struct syncd *sd, uint32_t number, struct event *ev)
{
	struct syncd_folder *sf = syncd_folder(sd, number);
	struct syncd_open_job *oj;

	sf->open_id = 0;
	if (ev->u.done.code != 0) {
		syncd_step(sd, ev);
		return;
	}
	oj = mem_zalloc(sizeof(*oj));
	oj->job.run = syncd_open_run;
	oj->job.on_done = syncd_open_done;
	oj->sd = sd;
	oj->folder = number;
	oj->id = ev->u.done.id;
	oj->root = ev->u.done.root;
	oj->dir = home_index_of(&sd->home, sf->id);
	oj->set_aside = sf->rebuild;
	pool_uv_add(sd->pool, &oj->job, JOB_SYNC);
}

static void
syncd_on_disk_done(void *arg, struct event *ev)
{
	struct syncd *sd = arg;

	for (uint32_t i = 0; i < sd->folder.len; i++) {
		struct syncd_folder *sf = &sd->folder.item[i];

		if (sf->open_id == ev->u.done.id) {
			syncd_root_opened(sd, i, ev);
			return;
		}
		if (sf->close_id == ev->u.done.id) {
			store_lmdb_close(sf->store);
			sf->store = NULL;
			sf->close_id = 0;
			sf->open = false;
			syncd_sandbox_closed(sd, i);
			syncd_balance(sd); /* what it held waits no more */
			syncd_index_closed(sd, sf);
			break;
		}
	}
	syncd_step(sd, ev);
}

void
syncd_disk_effect(struct syncd *sd, const struct effect *ef)
{
	struct syncd_folder *sf = syncd_folder(sd, ef->folder);

	if (ef->kind == EFFECT_OPEN_FOLDER) {
		const int32_t at =
		    config_find_folder(&sd->cfg, ef->u.open.folder_id);

		mem_free(sf->id);
		*sf = (struct syncd_folder){ .open_id = ef->id,
			.rebuild = ef->u.open.rebuild };
		sf->id = mem_zalloc(ef->u.open.folder_id.len + 1);
		memcpy(sf->id, ef->u.open.folder_id.ptr,
		    ef->u.open.folder_id.len);
		sf->watch = at >= 0 && sd->cfg.folder[at].watch;
	} else if (ef->kind == EFFECT_CLOSE_FOLDER) {
		watch_uv_folder(sd->watch, ef->folder, false);
		disk_uv_watch(sd->disk, ef->folder, false);
		sf->close_id = ef->id;
	}
	if (ef->kind == EFFECT_OPEN_FOLDER || ef->kind == EFFECT_CLOSE_FOLDER)
		syncd_sandbox_do(sd, ef);
	else
		disk_uv_do(sd->disk, ef);
}

/* --- Giving back what the index file does not use --- */

struct syncd_compact_job {
	struct job job;
	struct syncd *sd;
	struct store_lmdb_compact *compact;
};

static void
syncd_compact_run(struct job *job)
{
	store_lmdb_compact_run(
	    ((struct syncd_compact_job *)(void *)job)->compact);
}

static void
syncd_compact_done(struct job *job)
{
	struct syncd_compact_job *cj = (struct syncd_compact_job *)(void *)job;

	store_lmdb_compact_finish(cj->compact);
	syncd_sweep(cj->sd); /* its folder may be gone meanwhile */
	mem_free(cj);
	malloc_trim(0); /* LMDB's pages of the new file */
}

/* When nothing waits to be written, and it is worth it. */
static void
syncd_compact(struct syncd *sd, uint32_t folder, bool at_rest)
{
	struct syncd_folder *sf = syncd_folder(sd, folder);
	struct store_lmdb_compact *compact =
	    sf->store == NULL || sd->stopping
		? NULL
		: store_lmdb_compact_begin(sf->store, at_rest);
	struct syncd_compact_job *cj;

	if (compact == NULL)
		return;
	cj = mem_zalloc(sizeof(*cj));
	cj->job.run = syncd_compact_run;
	cj->job.on_done = syncd_compact_done;
	cj->sd = sd;
	cj->compact = compact;
	pool_uv_add(sd->pool, &cj->job, JOB_SYNC);
}

/* --- Commits --- */

struct syncd_commit_job {
	struct job job;
	struct syncd *sd;
	uint64_t id;
	uint32_t folder;
	struct store_lmdb_commit *commit;
	bool flush; /* first all that was written below the root */
	int root_fd;
};

/*
 * What the store is about to say of people's files must be on the disk before
 * the store says it: after a power cut a file that is empty or gone would
 * look like an edit, and be sent to everybody.  The commit holds only what was
 * put before it began, so this flush covers all of it.
 */
static void
syncd_commit_run(struct job *job)
{
	struct syncd_commit_job *cj = (struct syncd_commit_job *)(void *)job;

	if (cj->flush && cj->root_fd < 0)
		err_set(&job->err, ERR_BUSY, "no descriptor of the folder");
	else if (cj->flush)
		fs_posix_flush(cj->root_fd, &job->err);
	store_lmdb_commit_run(cj->commit);
}

static void
syncd_commit_done(struct job *job)
{
	struct syncd_commit_job *cj = (struct syncd_commit_job *)(void *)job;
	struct event ev = { .kind = EVENT_DONE };
	struct err err = { 0 };

	if (cj->root_fd >= 0)
		close(cj->root_fd);
	if (job->err.code != 0)
		log_warn(&cj->sd->log, "commit flush text=\"%s\"",
		    job->err.text);
	ev.u.done.id = cj->id;
	ev.u.done.flush_code = job->err.code;
	ev.u.done.code = store_lmdb_commit_finish(cj->commit, &err);
	ev.u.done.text = slice_str(err.text);
	syncd_step(cj->sd, &ev);
	syncd_balance(cj->sd);
	syncd_compact(cj->sd, cj->folder, false);
	mem_free(cj);
}

void
syncd_commit(struct syncd *sd, const struct effect *ef)
{
	struct syncd_folder *sf = syncd_folder(sd, ef->folder);
	struct store_lmdb_commit *commit =
	    sf->store == NULL ? NULL : store_lmdb_commit_begin(sf->store);
	struct syncd_commit_job *cj;

	if (commit == NULL) { /* there is nothing to write */
		*VEC_ADD(&sd->answer) = (struct syncd_answer){ .id = ef->id };
		return;
	}
	cj = mem_zalloc(sizeof(*cj));
	cj->job.run = syncd_commit_run;
	cj->job.on_done = syncd_commit_done;
	cj->sd = sd;
	cj->id = ef->id;
	cj->folder = ef->folder;
	cj->commit = commit;
	cj->flush = ef->u.commit.flush;
	/* To be opened by the worker: the loop may open nothing in a folder. */
	cj->root_fd = cj->flush ? disk_uv_dup_root(sd->disk, ef->folder) : -1;
	pool_uv_add(sd->pool, &cj->job, JOB_SYNC);
}

void
syncd_trim(struct syncd *sd, uint32_t folder)
{
	struct syncd_folder *sf = syncd_folder(sd, folder);

	if (sf->store != NULL)
		store_lmdb_trim(sf->store);
	syncd_compact(sd, folder, false);
	malloc_trim(0);
}

void
syncd_rest(struct syncd *sd)
{
	for (uint32_t i = 0; i < sd->folder.len; i++) {
		if (sd->folder.item[i].store != NULL)
			store_lmdb_rest(sd->folder.item[i].store);
		syncd_compact(sd, i, true);
	}
	malloc_trim(0);
}

/* --- Watching --- */

static int
syncd_watch_dir(void *arg, uint32_t folder, int dir_fd)
{
	struct syncd *sd = arg;

	(void)folder;
	return watch_uv_add(sd->watch, dir_fd);
}

static void
syncd_watched(void *arg, uint32_t folder, struct slice path, int wd)
{
	struct syncd *sd = arg;

	watch_uv_added(sd->watch, folder, path, wd);
}

static void
syncd_on_changes(void *arg, const struct change_batch *batch)
{
	struct syncd *sd = arg;
	struct event ev = { .kind = EVENT_CHANGES };
	struct change_hint *hint = mem_array(batch->count, sizeof(*hint));

	for (uint32_t i = 0; i < batch->count; i++)
		hint[i] = (struct change_hint){ .path = batch->change[i].path,
			.subtree = batch->change[i].subtree };
	ev.u.changes.folder = batch->folder;
	ev.u.changes.hint = hint;
	ev.u.changes.count = batch->count;
	ev.u.changes.overflow = batch->overflow;
	ev.u.changes.state = (enum watch_state)batch->cover;
	syncd_step(sd, &ev);
	mem_free(hint);
}

void
syncd_watch(struct syncd *sd, const struct effect *ef)
{
	const bool on = ef->u.watch.on && syncd_folder(sd, ef->folder)->watch;

	watch_uv_folder(sd->watch, ef->folder, on);
	disk_uv_watch(sd->disk, ef->folder, on);
}

void
syncd_rewatch(struct syncd *sd)
{
	for (uint32_t i = 0; i < sd->folder.len; i++) {
		struct syncd_folder *sf = &sd->folder.item[i];
		const int32_t at = sf->id == NULL ? -1
						  : config_find_folder(&sd->cfg,
							slice_str(sf->id));
		struct event ev = { .kind = EVENT_COMMAND };
		bool on;

		if (!sf->open || at < 0 ||
		    sd->cfg.folder[at].watch == sf->watch)
			continue;
		on = sf->watch = sd->cfg.folder[at].watch;
		watch_uv_folder(sd->watch, i, on);
		disk_uv_watch(sd->disk, i, on);
		if (!on)
			continue;
		/* Watches are put on directories as they are listed. */
		ev.u.command.kind = COMMAND_SCAN;
		ev.u.command.folder_id = slice_str(sf->id);
		syncd_step(sd, &ev);
	}
}

int
syncd_disk_open(struct syncd *sd)
{
	const struct disk_uv_hooks hooks = { .done = syncd_on_disk_done,
		.watch_dir = syncd_watch_dir,
		.watched = syncd_watched,
		.arg = sd };

	sd->pool = pool_uv_new(sd->loop, 0);
	if (sd->sandbox != NULL)
		pool_uv_set_spawn(sd->pool, sandbox_landlock_spawn,
		    sd->sandbox);
	sd->disk = disk_uv_new(sd->pool, &hooks);
	sd->watch = watch_uv_new(sd->loop, syncd_on_changes, sd);
	return 0;
}

bool
syncd_disk_is_idle(const struct syncd *sd)
{
	for (size_t i = 0; i < sd->folder.len; i++)
		if (sd->folder.item[i].open || sd->folder.item[i].open_id != 0)
			return false;
	return disk_uv_idle(sd->disk) && pool_uv_idle(sd->pool);
}
