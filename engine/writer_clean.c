/*
 * The writer's cleaning: what acts took off the names, when the rows are
 * durable.
 *
 *	CLEANING  into the trash can, to a name of its own, or dropped
 *	FILING    the trash can's directories are flushed
 *
 * An intent that speaks of such bytes goes only when they are where they shall
 * be; one that stays tells the next start of them.
 */
#include "engine/writer_state.h"

#include "engine/base/path.h"
#include "engine/scan.h"
#include "engine/trash.h"

static void
clean_item_end(struct item *it)
{
	struct batch *b = it->batch;

	if (it->intent_stays)
		pull_avoid_temp(it->pl, it->temp);
	else
		writer_drop_intent(it);
	writer_leave(b, it);
	pull_item_end(it);
}

static void
clean_filed(struct folder *f, void *arg, const struct event *ev)
{
	struct batch *b = arg;

	(void)f;
	BATCH_EACH(b, n) {
		/* Not flushed: the intent tells the next start. */
		ITEM_OF(n)->intent_stays = ev->u.done.code != 0;
		clean_item_end(ITEM_OF(n));
	}
	writer_end(b);
}

/* What is in the trash can stays there: only then its intents may go. */
static void
clean_file(struct batch *b)
{
	struct folder *f = b->wr->pl->f;
	struct writer_dirs dirs;

	b->stage = BATCH_FILING;
	writer_dirs_init(&dirs, f, b->items.count);
	BATCH_EACH(b, n)
		writer_dirs_add(&dirs,
		    trash_dir(ITEM_OF(n)->path, core_scratch(f->en)));
	writer_dirs_flush(&dirs, f, clean_filed, b);
}

/* The intents that go last need no commit of their own. */
static void
clean_ended(struct batch *b)
{
	if (b->left > 0)
		return;
	if (b->items.count > 0)
		clean_file(b);
	else
		writer_end(b);
}

/* An item's bytes are where they shall be. */
static void
clean_item_done(struct item *it)
{
	struct batch *b = it->batch;

	b->left--;
	if (!it->filed)
		clean_item_end(it);
	clean_ended(b);
}

static void clean_keep(struct item *it);

static void
clean_kept(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;
	const int code = ev->u.done.code;

	it->ops--;
	if (code == ERR_EXISTS && it->keep_tries < WRITER_KEEP_TRIES) {
		it->keep_tries++;
		clean_keep(it);
		return;
	}
	/*
	 * Not there: the bytes stay in the temp, and the next start tries
	 * again.  There: its name is not flushed.  In both cases it is the
	 * intent that says that these bytes are a person's.
	 */
	it->intent_stays = true;
	if (code == 0)
		scan_hint(f, it->keep_now, false);
	else
		log_error(core_log(f->en),
		    "writer conflict-copy failed path=%s text=\"%.*s\"",
		    path_print(core_scratch(f->en), it->path),
		    SLICE_FMT(ev->u.done.text));
	clean_item_done(it);
}

/* A program still had the old file open and wrote to it: it gets a name. */
static void
clean_keep(struct item *it)
{
	struct folder *f = it->pl->f;
	struct arena *scratch = core_scratch(f->en);
	struct effect *ef = core_ask(f, EFFECT_PUT_BACK, clean_kept, it);

	it->keep_now = item_own(it, writer_conflict_name(it));
	ef->path = arena_dup(scratch, it->keep_now);
	ef->temp = arena_dup(scratch, it->temp);
	it->ops++;
}

static void
clean_done(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;

	it->ops--;
	if (ev->u.done.code == ERR_CHANGED) {
		clean_keep(it);
		return;
	}
	if (it->to_trash) {
		it->filed = trash_answered(f, ev, it->kept.size);
		/* Then the bytes stay in the temp, as the intent says. */
		it->intent_stays = !it->filed;
	}
	if (ev->u.done.code != 0)
		pull_avoid_temp(it->pl, it->temp);
	clean_item_done(it);
}

static void
clean_note(struct item *it)
{
	struct folder *f = it->pl->f;
	struct effect_note *note = core_note(f, NOTE_REMOTE_CHANGE);
	struct arena *scratch = core_scratch(f->en);
	const struct entry *e = &it->entry;

	note->path = arena_dup(scratch, it->path);
	note->action = slice_str(item_action(it));
	for (uint32_t i = 0; i < f->share_count; i++)
		if (devid_short(&f->share[i].device) == e->modified_by)
			note->device = f->share[i].device;
	note->bytes = e->size;
	folder_changed(f, e->modified_by, it->path);
	if (it->keep_now.len == 0)
		return;
	note = core_note(f, NOTE_CONFLICT);
	note->path = arena_dup(scratch, it->keep_now);
	note->reason = REASON_CONFLICT;
	log_info(core_log(f->en), "writer conflict path=%s copy=%s",
	    path_print(scratch, it->path), path_print(scratch, it->keep_now));
}

static void
clean_item(struct batch *b, struct item *it)
{
	struct folder *f = it->pl->f;
	struct effect *ef;

	clean_note(it);
	writer_disown(it);
	if (it->keep_now.len > 0)
		scan_hint(f, it->keep_now, false);
	if (it->kept.type == IDENTITY_ABSENT) {
		clean_item_end(it);
		return;
	}
	it->ops++;
	b->left++;
	it->to_trash = trash_takes(f, &it->kept);
	if (it->to_trash) {
		trash_keep(f, it->path, it->temp, &it->kept, clean_done, it);
		return;
	}
	ef = core_ask(f, EFFECT_DROP_TEMP, clean_done, it);
	ef->temp = arena_dup(core_scratch(f->en), it->temp);
	ef->want = it->kept;
}

void
writer_clean(struct batch *b)
{
	b->stage = BATCH_CLEANING;
	b->left = 1; /* ours */
	BATCH_EACH(b, n)
		clean_item(b, ITEM_OF(n));
	b->left--;
	clean_ended(b);
}
