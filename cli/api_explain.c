/*
 * One path as JSON: explain, ignore rules, conflict copies.
 */
#include "cli/api_private.h"

#include <stdio.h>

#include "engine/base/mem.h"
#include "engine/base/path.h"

/* A path in a folder, as the request names it. */
struct api_place {
	struct status_report rp;
	const struct status_folder *folder;
	struct slice path; /* relative; empty: the root */
};

/* The folder whose directory holds the absolute `path`; NULL: none. */
static const struct status_folder *
api_folder_of(const struct status_report *rp, struct slice path)
{
	const struct status_folder *best = NULL;

	for (uint32_t i = 0; i < rp->folder_count; i++) {
		const struct status_folder *f = &rp->folder[i];

		if (config_path_is_within(path, f->path) &&
		    (best == NULL || f->path.len > best->path.len))
			best = f;
	}
	return best;
}

/*
 * "folder" and a relative "path", or an absolute "path" alone.  False: answered
 * already.  A path that nothing synced can have is a failure too, unless
 * `bad` is there to say what is wrong with it.
 */
static bool
api_place(struct api_call *call, struct api_place *out, struct slice *bad)
{
	const struct slice folder = api_query(call, "folder");
	struct slice path = api_query(call, "path");
	struct err err = { 0 };
	uint32_t i = 0;

	call->api->be.status(call->api->be.arg, &call->ar, &out->rp);
	if (folder.len > 0) {
		if (api_find_folder(&out->rp, folder, &i, &call->ar, &err) < 0)
			goto fail;
		out->folder = &out->rp.folder[i];
	} else {
		if (config_clean_path(path, SLICE_LIT("/"), &call->ar, &path,
			&err) < 0) {
			err_wrap(&err, "path");
			goto fail;
		}
		out->folder = api_folder_of(&out->rp, path);
		if (out->folder == NULL) {
			err_set(&err, ERR_NOT_FOUND,
			    "%.*s is in no folder of this node",
			    SLICE_FMT(path));
			goto fail;
		}
		path = slice_from(path, out->folder->path.len);
		if (path.len > 0)
			path = slice_from(path, 1); /* the '/' */
	}
	out->path = path;
	if (path.len > 0 && path_check(path, &err) < 0) {
		if (bad == NULL)
			goto fail;
		*bad = arena_dup(&call->ar, slice_str(err.text));
	}
	return true;
fail:
	api_fail(call, &err, "syncctl folder list");
	return false;
}

static json_t *
api_rule(const struct ignore_match *m)
{
	json_t *o;

	if (m->file.len == 0)
		return json_null();
	o = json_object();
	json_object_set_new(o, "file", api_text(m->file));
	json_object_set_new(o, "line", json_integer(m->line));
	json_object_set_new(o, "pattern", api_text(m->rule));
	json_object_set_new(o, "deletable", json_boolean(m->deletable));
	return o;
}

static json_t *
api_names(const struct status_report *rp, const struct devid *id, uint32_t n)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, api_device_name(rp, &id[i]));
	return list;
}

static const char *
api_entry_type(enum entry_type t)
{
	switch (t) {
	case ENTRY_FILE:
		return "file";
	case ENTRY_DIR:
		return "directory";
	case ENTRY_LINK:
		return "link";
	}
	return "file";
}

static json_t *
api_entry_version(const struct status_report *rp,
    const struct explain_version *v)
{
	const struct entry *e = &v->entry;
	json_t *o = json_object();

	json_object_set_new(o, "type", json_string(api_entry_type(e->type)));
	json_object_set_new(o, "deleted", json_boolean(e->deleted));
	json_object_set_new(o, "size", json_integer(e->size));
	json_object_set_new(o, "modified", api_mtime(e->mtime_s, e->mtime_ns));
	json_object_set_new(o, "modified_by", api_text(v->modified_by));
	json_object_set_new(o, "here", json_boolean(v->is_local));
	json_object_set_new(o, "latest", json_boolean(v->is_global));
	json_object_set_new(o, "version", api_text(v->vector));
	json_object_set_new(o, "held_by",
	    api_names(rp, v->holder, v->holder_count));
	json_object_set_new(o, "known_by",
	    api_names(rp, v->shadow, v->shadow_count));
	if (!e->no_perms && e->type != ENTRY_LINK) {
		char perms[8];

		snprintf(perms, sizeof(perms), "%04o", e->perms & 07777);
		json_object_set_new(o, "perms", json_string(perms));
	}
	if (e->type == ENTRY_LINK)
		json_object_set_new(o, "target", api_text(e->link_target));
	return o;
}

/* In sync here and everywhere: 0; on its way: 4; a person must look: 5, 6;
 * nobody has ever spoken of it: 9. */
static enum cmd_exit
api_explain_exit(const struct explain *ex)
{
	switch (reason_severity(ex->reason)) {
	case REASON_STOPPED:
		return CMD_STOPPED;
	case REASON_WARNING:
		return CMD_ATTENTION;
	case REASON_INFO:
		break;
	}
	if (ex->reason == REASON_IGNORED || ex->reason == REASON_BAD_TYPE)
		return CMD_OK;
	if (!ex->known && ex->reason == REASON_NONE)
		return CMD_NOT_FOUND;
	return ex->in_sync && ex->everywhere ? CMD_OK : CMD_WORKING;
}

static void
api_explain_fill(json_t *o, struct api_call *call, const struct api_place *at,
    const struct explain *ex)
{
	json_t *progress = json_object();
	json_t *versions = json_array();
	json_t *conflicts = json_array();

	json_object_set_new(o, "exit", json_integer(api_explain_exit(ex)));
	json_object_set_new(o, "known", json_boolean(ex->known));
	json_object_set_new(o, "in_sync", json_boolean(ex->in_sync));
	json_object_set_new(o, "everywhere", json_boolean(ex->everywhere));
	json_object_set_new(o, "reason",
	    ex->reason == REASON_NONE
		? json_null()
		: api_reason(&call->ar, ex->reason, at->folder->id));
	json_object_set_new(o, "text", api_text(ex->text));
	json_object_set_new(o, "since", api_time(ex->since_wall_ns));
	json_object_set_new(o, "blocked_by",
	    ex->blocked_by.len == 0 ? json_null() : api_text(ex->blocked_by));
	json_object_set_new(o, "rule", api_rule(&ex->rule));
	json_object_set_new(o, "changed_here", json_boolean(ex->local_changed));
	json_object_set_new(o, "sequence",
	    json_integer((json_int_t)ex->sequence));
	json_object_set_new(progress, "done", json_integer(ex->bytes_done));
	json_object_set_new(progress, "total", json_integer(ex->bytes_total));
	json_object_set_new(o, "progress", progress);
	json_object_set_new(o, "sources",
	    api_names(&at->rp, ex->source, ex->source_count));
	for (uint32_t i = 0; i < ex->version_count; i++)
		json_array_append_new(versions,
		    api_entry_version(&at->rp, &ex->version[i]));
	json_object_set_new(o, "versions", versions);
	for (uint32_t i = 0; i < ex->conflict_count; i++)
		json_array_append_new(conflicts, api_text(ex->conflict[i]));
	json_object_set_new(o, "conflicts", conflicts);
}

static void
api_explain_reply(struct api_call *call, const struct api_place *at,
    const struct explain *ex)
{
	json_t *o = api_object();

	json_object_set_new(o, "folder", api_text(at->folder->id));
	json_object_set_new(o, "path", api_text(at->path));
	api_explain_fill(o, call, at, ex);
	api_reply(call, o);
}

/* The folder is not open: its own reason is the path's. */
static void
api_explain_closed(struct api_call *call, const struct api_place *at)
{
	const struct explain ex = {
		.text = at->folder->text,
		.reason = at->folder->reason == REASON_NONE
			      ? REASON_STARTING
			      : at->folder->reason,
		.since_wall_ns = at->folder->since_wall_ns,
	};

	api_explain_reply(call, at, &ex);
}

/* No path that is synced can look like this one: nobody need be asked. */
static void
api_explain_bad(struct api_call *call, const struct api_place *at,
    struct slice why)
{
	const struct explain ex = { .reason = REASON_BAD_NAME, .text = why };

	api_explain_reply(call, at, &ex);
}

void
api_explain_path(struct api_call *call)
{
	const struct api_backend *be = &call->api->be;
	struct api_place at;
	struct explain ex = { 0 };
	struct slice bad = SLICE_EMPTY;
	struct err err = { 0 };
	int rc;

	if (!api_place(call, &at, &bad))
		return;
	if (bad.len > 0) {
		api_explain_bad(call, &at, bad);
		return;
	}
	if (at.path.len == 0) {
		err_set(&err, ERR_INVALID,
		    "that is the folder itself, not a path in it");
		api_fail(call, &err,
		    arena_printf(&call->ar, "syncctl status %.*s",
			SLICE_FMT(at.folder->id)));
		return;
	}
	rc = be->explain(be->arg, at.folder->id, at.path, &call->ar, &ex, &err);
	if (rc == ERR_BUSY) {
		api_explain_closed(call, &at);
		return;
	}
	if (rc < 0) {
		api_fail(call, &err, "syncctl status");
		return;
	}
	api_explain_reply(call, &at, &ex);
}

void
api_explain_ignore(struct api_call *call)
{
	const struct api_backend *be = &call->api->be;
	struct api_place at;
	struct ignore_match m = { 0 };
	struct err err = { 0 };
	json_t *o;

	if (!api_place(call, &at, NULL))
		return;
	if (be->ignore_test(be->arg, at.folder->id, at.path, &m, &err) < 0) {
		api_fail(call, &err, "syncctl status");
		return;
	}
	o = api_object();
	json_object_set_new(o, "folder", api_text(at.folder->id));
	json_object_set_new(o, "path", api_text(at.path));
	json_object_set_new(o, "ignored", json_boolean(m.ignored));
	json_object_set_new(o, "rule", api_rule(&m));
	api_reply(call, o);
}

/* All of them, or null when they are not read. */
static json_t *
api_rules(struct api_call *call, struct slice folder_id)
{
	const struct api_backend *be = &call->api->be;
	const struct ignore_match *m;
	json_t *list;
	uint32_t count;

	if (be->ignore_rules(be->arg, folder_id, &call->ar, &m, &count, NULL) <
	    0)
		return json_null();
	list = json_array();
	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(list, api_rule(&m[i]));
	return list;
}

/* The rules, and the file they begin in. */
void
api_explain_rules(struct api_call *call)
{
	struct status_report rp;
	struct err err = { 0 };
	const struct status_folder *f;
	uint32_t i;
	json_t *o;

	call->api->be.status(call->api->be.arg, &call->ar, &rp);
	if (api_find_folder(&rp, api_query(call, "folder"), &i, &call->ar,
		&err) < 0) {
		api_fail(call, &err, "syncctl folder list");
		return;
	}
	f = &rp.folder[i];
	o = api_object();
	json_object_set_new(o, "folder", api_text(f->id));
	json_object_set_new(o, "file",
	    api_text(slice_str(arena_printf(&call->ar, "%.*s/.stignore",
		SLICE_FMT(f->path)))));
	json_object_set_new(o, "rules", json_integer(f->ignore_rules));
	json_object_set_new(o, "list", api_rules(call, f->id));
	json_object_set_new(o, "error",
	    f->reason == REASON_IGNORES_BAD ? api_text(f->text) : json_null());
	api_reply(call, o);
}

static json_t *
api_conflict(const struct status_report *rp, const struct status_folder *f,
    const struct status_conflict *c)
{
	json_t *o = json_object();
	char by[DEVID_SHORT_TEXT_LEN + 1] = "";
	json_t *name = NULL;

	for (uint32_t i = 0; i < rp->device_count; i++)
		if (devid_short(&rp->device[i].id) == c->modified_by)
			name = api_text(rp->device[i].name);
	if (name == NULL && devid_short(&rp->self) == c->modified_by)
		name = api_text(rp->name);
	if (name == NULL && c->modified_by != 0) {
		devid_short_text(c->modified_by, by);
		name = json_string(by);
	}
	json_object_set_new(o, "folder", api_text(f->id));
	json_object_set_new(o, "path", api_text(c->path));
	json_object_set_new(o, "original", api_text(c->original));
	json_object_set_new(o, "size", json_integer(c->size));
	json_object_set_new(o, "modified", api_mtime(c->mtime_s, 0));
	json_object_set_new(o, "modified_by",
	    name == NULL ? json_null() : name);
	return o;
}

void
api_explain_conflicts(struct api_call *call)
{
	const struct api_backend *be = &call->api->be;
	const struct slice only = api_query(call, "folder");
	struct status_report rp;
	struct err err = { 0 };
	uint32_t chosen = 0;
	json_t *list, *o;

	be->status(be->arg, &call->ar, &rp);
	if (only.len > 0 &&
	    api_find_folder(&rp, only, &chosen, &call->ar, &err) < 0) {
		api_fail(call, &err, "syncctl folder list");
		return;
	}
	list = json_array();
	for (uint32_t i = 0; i < rp.folder_count; i++) {
		const struct status_conflict *c = NULL;
		uint32_t count = 0;

		if ((only.len > 0 && i != chosen) ||
		    !be->conflicts(be->arg, rp.folder[i].id, &call->ar, &c,
			&count))
			continue;
		for (uint32_t n = 0; n < count; n++)
			json_array_append_new(list,
			    api_conflict(&rp, &rp.folder[i], &c[n]));
	}
	o = api_object();
	json_object_set_new(o, "conflicts", list);
	api_reply(call, o);
}
