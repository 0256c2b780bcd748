/*
 * A directory to be removed that is not empty: what is in it?
 *
 * Temps and what a (?d) rule gives up go with it.  What a person put there and
 * nobody knows yet is looked at by the scanner, and the directory stays: it is
 * announced anew, above its deletion (pull.c), when something in it is synced.
 * Ignored things keep it where it is.  RELIABILITY.md I9.
 */
#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/pull_state.h"
#include "engine/scan.h"
#include "engine/writer.h"

#define RMDIR_TRIES 3u
#define RMDIR_ENTRIES_MAX 100000u

struct rmdir_entry {
	struct slice path; /* owned */
	struct identity seen;
};

struct rmdir {
	struct item *item;
	VEC(struct rmdir_entry) entry; /* to go; parents before children */
	bool begun;                    /* the directory itself was read */
	struct slice dir;              /* being read; borrows */
	size_t listed;                 /* directories before it were read */
	size_t left;                   /* entries not yet removed */
	bool alive;                    /* holds something that is synced */
	bool blocked;                  /* holds something that must stay */
};

static void rmdir_list(struct rmdir *rd);
static void rmdir_remove(struct rmdir *rd);

void
pull_rmdir_free(struct item *it)
{
	struct rmdir *rd = it->rmdir;

	if (rd == NULL)
		return;
	it->rmdir = NULL;
	for (size_t i = 0; i < rd->entry.len; i++)
		mem_free((void *)(uintptr_t)rd->entry.item[i].path.ptr);
	VEC_FINI(&rd->entry);
	mem_free(rd);
}

static void
rmdir_stays(struct rmdir *rd)
{
	pull_item_fail(rd->item, REASON_DIR_NOT_EMPTY,
	    rd->alive ? "it holds things that are not deleted"
		      : "it holds things that are not synced");
}

/* One name in it. */
static void
rmdir_judge(struct rmdir *rd, struct slice path, const struct identity *seen)
{
	struct pull *pl = rd->item->pl;
	struct folder *f = pl->f;
	const struct row *row = index_row(f->ix, path, &pl->row);
	const struct row_version *ours = row == NULL ? NULL : row_local(row);
	const struct ignore_match m = ignore_test(f->ignore, path);

	if (entry_is_temp_name(path) || MUTANT(MUTANT_DIR_REMOVED_FULL) ||
	    (m.ignored && m.deletable)) {
		struct rmdir_entry *e = VEC_ADD(&rd->entry);

		e->path = slice_of(mem_dup(path.ptr, path.len), path.len);
		e->seen = *seen;
		return;
	}
	rd->blocked = true;
	if (m.ignored)
		return;
	if (ours == NULL || ours->entry.deleted)
		scan_hint(f, path, true);
	else if (row->local == row->global)
		rd->alive = true;
}

static void
rmdir_listed(struct folder *f, void *arg, const struct event *ev)
{
	struct rmdir *rd = arg;
	struct item *it = rd->item;
	if (pull_item_answered(it))
		return;
	if (ev->u.done.code != 0 ||
	    ev->u.done.entry_count > RMDIR_ENTRIES_MAX) {
		pull_item_error(it,
		    ev->u.done.code != 0 ? ev->u.done.code : ERR_BUSY,
		    ev->u.done.text);
		return;
	}
	for (uint32_t i = 0; i < ev->u.done.entry_count; i++) {
		const struct dir_entry *de = &ev->u.done.entry[i];
		const struct arena_mark mark = arena_mark(&f->pull->row);
		const struct slice path =
		    path_join(&f->pull->row, rd->dir, de->name);

		if (path_check(path, NULL) < 0)
			rd->blocked = true; /* no name we could even say */
		else
			rmdir_judge(rd, path, &de->seen);
		arena_reset(&f->pull->row, mark);
	}
	if (rd->blocked || rd->entry.len > RMDIR_ENTRIES_MAX)
		rmdir_stays(rd);
	else
		rmdir_list(rd);
}

/* The next directory whose entries are not known yet. */
static void
rmdir_list(struct rmdir *rd)
{
	struct folder *f = rd->item->pl->f;
	struct effect *ef;

	rd->dir = rd->item->path;
	if (rd->begun) {
		while (rd->listed < rd->entry.len &&
		       rd->entry.item[rd->listed].seen.type != IDENTITY_DIR)
			rd->listed++;
		if (rd->listed == rd->entry.len) {
			rd->left = rd->entry.len;
			rmdir_remove(rd);
			return;
		}
		rd->dir = rd->entry.item[rd->listed++].path;
	}
	rd->begun = true;
	ef = core_ask(f, EFFECT_LIST_DIR, rmdir_listed, rd);
	ef->path = arena_dup(core_scratch(f->en), rd->dir);
	rd->item->ops++;
}

static void
rmdir_removed(struct folder *f, void *arg, const struct event *ev)
{
	struct rmdir *rd = arg;
	struct item *it = rd->item;

	if (ev->u.done.code == 0 && ev->u.done.kept.type != IDENTITY_ABSENT) {
		struct effect *ef = core_tell(f, EFFECT_DROP_TEMP);

		ef->temp = arena_dup(core_scratch(f->en),
		    pull_temp_name(it, rd->entry.item[rd->left].path,
			it->entry.version));
	}
	if (pull_item_answered(it))
		return;
	if (ev->u.done.code != 0) {
		pull_item_error(it, ev->u.done.code, ev->u.done.text);
		return;
	}
	rmdir_remove(rd);
}

/* From the last found, the deepest, to the first; then the directory. */
static void
rmdir_remove(struct rmdir *rd)
{
	struct item *it = rd->item;
	struct folder *f = it->pl->f;
	const struct rmdir_entry *e;
	struct effect *ef;

	if (rd->left == 0) {
		pull_rmdir_free(it);
		writer_add(it->pl->writer, it);
		return;
	}
	e = &rd->entry.item[--rd->left];
	ef = core_ask(f, EFFECT_REMOVE, rmdir_removed, rd);
	ef->path = arena_dup(core_scratch(f->en), e->path);
	ef->temp = arena_dup(core_scratch(f->en),
	    pull_temp_name(it, e->path, it->entry.version));
	ef->want = e->seen;
	it->ops++;
}

void
pull_rmdir_refused(struct item *it)
{
	struct rmdir *rd;

	ASSERT(it->kind == ITEM_RMDIR);
	if (++it->keep_tries > RMDIR_TRIES || it->pl->f->ignore == NULL) {
		pull_item_fail(it, REASON_DIR_NOT_EMPTY, "");
		return;
	}
	rd = mem_zalloc(sizeof(*rd));
	rd->item = it;
	it->rmdir = rd;
	rmdir_list(rd);
}
