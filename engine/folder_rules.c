/*
 * A folder's ignore rules: .stignore and what it includes, read one file at a
 * time into a set of their own, which becomes f->ignore when it is complete.
 *
 * Until the first set is complete nothing is scanned or pulled; a set that
 * cannot be read halts the folder.
 */
#include "engine/folder_state.h"

#include "engine/pull.h"
#include "engine/scan.h"

static void rules_read(struct folder *f, void *arg, const struct event *ev);

static void
rules_ask(struct folder *f, struct slice path)
{
	struct effect *ef = core_ask(f, EFFECT_READ_FILE, rules_read, NULL);

	ef->path = path;
	f->ignore_busy = true;
}

/* The rules are complete, or another file of them is asked for. */
static void
rules_next(struct folder *f)
{
	struct slice path = SLICE_EMPTY;
	const bool first = f->ignore == NULL;
	bool changed;

	if (ignore_wanted(f->ignore_new, &path)) {
		rules_ask(f, path);
		return;
	}
	changed =
	    first || ignore_digest(f->ignore) != ignore_digest(f->ignore_new);
	ignore_free(f->ignore);
	f->ignore = f->ignore_new;
	f->ignore_new = NULL;
	if (first) {
		folder_recover(f);
	} else if (changed) {
		log_info(core_log(f->en), "folder rules folder=%s count=%u",
		    folder_name(f), ignore_count(f->ignore));
		folder_settle(f);
		scan_all(f);
		pull_retry(f);
	}
	if (f->ignore_again) {
		f->ignore_again = false;
		folder_read_ignores(f);
	} else if (!first) {
		scan_go_on(f); /* it waited for the rules */
	}
}

static void
rules_read(struct folder *f, void *arg, const struct event *ev)
{
	struct slice path = SLICE_EMPTY;
	struct err err = { 0 };
	struct payload *pl = ev->u.done.payload;
	int rc = 0;

	(void)arg;
	f->ignore_busy = false;
	if (f->state == FOLDER_CLOSING || f->ignore_new == NULL) {
		payload_free(pl);
		return;
	}
	if (ignore_wanted(f->ignore_new, &path)) {
		if (ev->u.done.code == 0)
			rc = ignore_add(f->ignore_new, path, payload_slice(pl),
			    &err);
		else
			rc = err_set(&err, ERR_INVALID, "include %.*s: %.*s",
			    SLICE_FMT(path), SLICE_FMT(ev->u.done.text));
	} else if (ev->u.done.code == 0) {
		rc = ignore_parse(f->ignore_new, payload_slice(pl), &err);
	} else if (ev->u.done.code != ERR_NOT_FOUND) {
		rc = err_set(&err, ERR_INVALID, ".stignore: %.*s",
		    SLICE_FMT(ev->u.done.text));
	}
	payload_free(pl);
	if (rc < 0) {
		/* No rules, because there is nothing at all? */
		if (ev->u.done.code == ERR_MISSING_ROOT)
			folder_halt(f, REASON_ROOT_MISSING, "%s", err.text);
		else
			folder_halt(f, REASON_IGNORES_BAD, "%s", err.text);
		return;
	}
	rules_next(f);
}

void
folder_rules_begin(struct folder *f)
{
	ignore_free(f->ignore_new);
	f->ignore_new = ignore_new();
	rules_ask(f, SLICE_LIT(".stignore"));
}

void
folder_read_ignores(struct folder *f)
{
	if (f->ix == NULL || f->state == FOLDER_CLOSING)
		return;
	if (f->ignore_busy)
		f->ignore_again = true;
	else if (f->ignore != NULL || f->state != FOLDER_OPENING)
		folder_rules_begin(f); /* else the start will, in time */
}

bool
folder_rules_are_in(const struct folder *f, struct slice path)
{
	return (f->ignore != NULL && ignore_is_source(f->ignore, path)) ||
	       (f->ignore_new != NULL && ignore_is_source(f->ignore_new, path));
}

void
folder_rules_drop(struct folder *f)
{
	ignore_free(f->ignore);
	ignore_free(f->ignore_new);
	f->ignore = f->ignore_new = NULL;
	f->ignore_busy = f->ignore_again = false;
}
