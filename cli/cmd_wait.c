/*
 * syncctl wait: scan, then block until in sync.
 *
 * "In sync" is: this device has all that is known to exist, and so has every
 * device the folder is shared with (or those named by --with); paused devices
 * are not waited for.  A scan asked for here must have ended first.
 */
#include "cli/cmd.h"

#include <string.h>

#include "cli/print.h"

#define CMD_WAIT_LOOK_MS 50 /* at first */
#define CMD_WAIT_LOOK_MS_MAX 500

/* A folder that is waited for. */
struct cmd_wait_folder {
	const char *id;
	int64_t passes; /* scans that had ended before ours began */
};

struct cmd_wait {
	struct cmd_call *call;
	struct cmd_wait_folder *folder;
	size_t count;
	const char **with; /* device IDs; none: all */
	size_t with_count;
	json_t *blockers; /* why not yet, of the last look */
	bool stopped;
	bool forgotten; /* a folder was removed meanwhile */
};

static const json_t *
cmd_wait_item(const json_t *list, const char *id)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (strcmp(cmd_text(item, "id"), id) == 0)
			return item;
	return NULL;
}

static void
cmd_wait_block(struct cmd_wait *w, const char *folder, const char *device,
    const char *why, int64_t items, int64_t bytes)
{
	json_array_append_new(w->blockers,
	    json_pack("{s:s,s:s,s:s,s:I,s:I}", "folder", folder, "device",
		device, "why", why, "items", (json_int_t)items, "bytes",
		(json_int_t)bytes));
}

static bool
cmd_wait_wants(const struct cmd_wait *w, const char *device)
{
	for (size_t i = 0; i < w->with_count; i++)
		if (strcmp(w->with[i], device) == 0)
			return true;
	return w->with_count == 0;
}

static void
cmd_wait_look_share(struct cmd_wait *w, const char *folder, const json_t *s)
{
	const json_t *need = json_object_get(s, "need");
	const int64_t items = cmd_int(need, "items") + cmd_int(need, "deletes");
	const char *reason = cmd_text(s, "reason");

	if (!cmd_wait_wants(w, cmd_text(s, "id")) ||
	    (w->with_count == 0 && strcmp(reason, "paused") == 0))
		return;
	if (items > 0 || !cmd_bool(s, "known"))
		cmd_wait_block(w, folder, cmd_text(s, "name"),
		    reason[0] != '\0' ? reason : "receiving", items,
		    cmd_int(need, "bytes"));
}

/* All that keeps this folder from being in sync. */
static void
cmd_wait_look_folder(struct cmd_wait *w, const struct cmd_wait_folder *wf,
    const json_t *f)
{
	const json_t *scan = json_object_get(f, "scan");
	const json_t *s;
	size_t i;

	if (f == NULL) {
		w->forgotten = true;
		return;
	}
	if (strcmp(cmd_text(f, "state"), "halted") == 0 ||
	    strcmp(cmd_text(f, "state"), "paused") == 0) {
		w->stopped = true;
		cmd_wait_block(w, wf->id, "", cmd_text(f, "reason"), 0, 0);
		return;
	}
	if (json_array_size(json_object_get(f, "held")) > 0) {
		w->stopped = true; /* until a person has decided */
		cmd_wait_block(w, wf->id, "", "mass-change",
		    cmd_int(f, "need_items"), cmd_int(f, "need_bytes"));
		return;
	}
	if (cmd_int(scan, "passes") <= wf->passes || cmd_bool(scan, "running"))
		cmd_wait_block(w, wf->id, "", "scanning", 0, 0);
	else if (strcmp(cmd_text(f, "state"), "in_sync") != 0)
		cmd_wait_block(w, wf->id, "", cmd_text(f, "state"),
		    cmd_int(f, "need_items"), cmd_int(f, "need_bytes"));
	else if (!cmd_bool(f, "idle"))
		cmd_wait_block(w, wf->id, "", "busy", 0, 0);
	json_array_foreach(json_object_get(f, "devices"), i, s)
		cmd_wait_look_share(w, wf->id, s);
}

/* Look once; an exit code: OK, WORKING, STOPPED, or a failure. */
static int
cmd_wait_look(struct cmd_wait *w)
{
	json_t *o;
	const int code = cmd_ask(w->call, "GET", "/v1/folders", &o);

	if (code != CMD_OK)
		return code;
	json_array_clear(w->blockers);
	w->stopped = w->forgotten = false;
	for (size_t i = 0; i < w->count; i++)
		cmd_wait_look_folder(w, &w->folder[i],
		    cmd_wait_item(json_object_get(o, "folders"),
			w->folder[i].id));
	json_decref(o);
	if (w->forgotten)
		return cmd_fail_as(w->call, CMD_NOT_FOUND,
		    "syncctl folder list", "a folder was removed meanwhile");
	if (w->stopped)
		return CMD_STOPPED;
	return json_array_size(w->blockers) == 0 ? CMD_OK : CMD_WORKING;
}

/* --- What to wait for --- */

/* IDs of the devices given by --with; an exit code. */
static int
cmd_wait_find_devices(struct cmd_wait *w)
{
	struct cmd_call *call = w->call;
	size_t count;
	const char **text =
	    options_values(&call->opt, "with", &count, &call->ar);
	json_t *o;

	w->with = arena_array(&call->ar, count, sizeof(*w->with));
	for (size_t i = 0; i < count; i++) {
		const int code = cmd_ask(call, "GET",
		    cmd_query(call, "/v1/status", "device", text[i]), &o);

		if (code != CMD_OK)
			return code;
		w->with[w->with_count++] = arena_str(&call->ar,
		    slice_str(cmd_text(
			json_array_get(json_object_get(o, "devices"), 0),
			"id")));
		json_decref(o);
	}
	return CMD_OK;
}

/* Is the folder shared with all that were named? */
static bool
cmd_wait_is_shared(const struct cmd_wait *w, const json_t *f)
{
	for (size_t i = 0; i < w->with_count; i++)
		if (cmd_wait_item(json_object_get(f, "devices"), w->with[i]) ==
		    NULL)
			return false;
	return true;
}

/* The folders named, or all that are not paused; an exit code. */
static int
cmd_wait_find_folders(struct cmd_wait *w)
{
	struct cmd_call *call = w->call;
	const size_t named = call->opt.arg_count;
	const json_t *f;
	json_t *o;
	size_t i;
	int code;

	if (named == 0) {
		code = cmd_ask(call, "GET", "/v1/folders", &o);
		if (code != CMD_OK)
			return code;
		w->folder = arena_array(&call->ar,
		    json_array_size(json_object_get(o, "folders")),
		    sizeof(*w->folder));
		json_array_foreach(json_object_get(o, "folders"), i, f)
			if (strcmp(cmd_text(f, "state"), "paused") != 0 &&
			    cmd_wait_is_shared(w, f))
				w->folder[w->count++].id = arena_str(&call->ar,
				    slice_str(cmd_text(f, "id")));
		json_decref(o);
		return CMD_OK;
	}
	w->folder = arena_array(&call->ar, named, sizeof(*w->folder));
	for (i = 0; i < named; i++) {
		code = cmd_ask(call, "GET",
		    cmd_query(call, "/v1/status", "folder", call->opt.arg[i]),
		    &o);
		if (code != CMD_OK)
			return code;
		f = json_array_get(json_object_get(o, "folders"), 0);
		w->folder[w->count++].id =
		    arena_str(&call->ar, slice_str(cmd_text(f, "id")));
		code = cmd_wait_is_shared(w, f)
			   ? CMD_OK
			   : cmd_fail_as(call, CMD_NOT_FOUND,
				 "syncctl folder list",
				 "folder %s is not shared with that device",
				 cmd_text(f, "id"));
		json_decref(o);
		if (code != CMD_OK)
			return code;
	}
	return CMD_OK;
}

/* Ask for a scan of each; an exit code.  A halted folder shows later. */
static int
cmd_wait_scan(struct cmd_wait *w)
{
	struct cmd_call *call = w->call;
	json_t *o;

	for (size_t i = 0; i < w->count; i++) {
		const char *path = arena_printf(&call->ar,
		    "/v1/folders/%s/scan",
		    client_escape(call->client, w->folder[i].id, &call->ar));
		struct err err = { 0 };
		const int code = cmd_try(call, "POST", path, 0, &o, &err);

		if (code == CMD_NO_DAEMON || code == CMD_NOT_FOUND)
			return cmd_fail_try(call, code, &err);
		w->folder[i].passes = cmd_int(o, "passes");
		json_decref(o);
	}
	return CMD_OK;
}

/* --- The end --- */

static void
cmd_wait_tell(struct cmd_wait *w)
{
	struct arena *ar = &w->call->ar;
	const json_t *b;
	size_t i;

	json_array_foreach(w->blockers, i, b) {
		const char *device = cmd_text(b, "device");

		fprintf(stderr, "  %s%s%s: %s",
		    print_safe(ar, cmd_text(b, "folder")),
		    device[0] == '\0' ? "" : " on ", print_safe(ar, device),
		    cmd_text(b, "why"));
		if (cmd_int(b, "items") > 0)
			fprintf(stderr, ", %s items, %s",
			    print_count(ar, cmd_int(b, "items")),
			    print_size(ar, cmd_int(b, "bytes")));
		fputc('\n', stderr);
	}
}

static int
cmd_wait_end(struct cmd_wait *w, int code)
{
	json_t *o;

	if (options_has(&w->call->opt, "json")) {
		o = cmd_object();
		json_object_set_new(o, "exit", json_integer(code));
		json_object_set(o, "waiting", w->blockers);
		return cmd_print_json(o, code);
	}
	if (options_has(&w->call->opt, "q"))
		return code;
	switch (code) {
	case CMD_OK:
		puts("In sync.");
		break;
	case CMD_TIMEOUT:
		cmd_say("not in sync yet");
		cmd_wait_tell(w);
		break;
	case CMD_STOPPED:
		cmd_say("stopped; syncctl status -x says more");
		cmd_wait_tell(w);
		break;
	default:
		break;
	}
	return code;
}

static int
cmd_wait_loop(struct cmd_wait *w, int64_t until_ms)
{
	unsigned nap = CMD_WAIT_LOOK_MS;
	int code;

	while ((code = cmd_wait_look(w)) == CMD_WORKING) {
		const int64_t left = until_ms - cmd_now_ms();

		if (left <= 0)
			return CMD_TIMEOUT;
		if (!cmd_sleep_ms((int64_t)nap < left ? nap : (unsigned)left))
			return CMD_INTERRUPTED;
		if (nap < CMD_WAIT_LOOK_MS_MAX)
			nap += nap / 8;
	}
	return code;
}

int
cmd_wait(struct cmd_call *call)
{
	const char *timeout = options_value(&call->opt, "timeout");
	struct cmd_wait w = { .call = call };
	int64_t until_ms = INT64_MAX;
	struct err err = { 0 };
	uint64_t ns;
	int code;

	if (timeout != NULL) {
		if (config_parse_duration(slice_str(timeout), &ns, &err) < 0)
			return cmd_usage(call, "--timeout %s", err.text);
		until_ms = cmd_now_ms() + (int64_t)(ns / 1000000);
	}
	cmd_catch_interrupt();
	call->quiet = options_has(&call->opt, "q");
	w.blockers = json_array();
	code = cmd_wait_find_devices(&w);
	if (code == CMD_OK)
		code = cmd_wait_find_folders(&w);
	if (code == CMD_OK)
		code = cmd_wait_scan(&w);
	if (code == CMD_OK) {
		code = cmd_wait_loop(&w, until_ms);
		if (call->failure == NULL)
			code = cmd_wait_end(&w, code);
	}
	json_decref(w.blockers);
	return code;
}
