/*
 * Routes of the local API; see api.h.
 */
#include "cli/api_private.h"

#include "cli/names.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"

/* --- What handlers share --- */

json_t *
api_text(struct slice s)
{
	struct arena ar = { 0 };
	json_t *v;

	if (s.len == 0)
		return json_string("");
	v = json_stringn((const char *)s.ptr, s.len);
	if (v == NULL) {
		v = json_string(path_print(&ar, s));
		arena_fini(&ar);
	}
	return v;
}

json_t *
api_time(int64_t wall_ns)
{
	char text[32];

	if (wall_ns == 0)
		return json_null();
	clock_rfc3339(wall_ns, text);
	return json_string(text);
}

json_t *
api_mtime(int64_t s, int32_t ns)
{
	if (s < INT64_MIN / (int64_t)CLOCK_S + 1 ||
	    s > INT64_MAX / (int64_t)CLOCK_S - 1)
		return json_null();
	return api_time(s * (int64_t)CLOCK_S + ns);
}

json_t *
api_devid(const struct devid *id)
{
	char text[DEVID_TEXT_LEN + 1];

	if (devid_is_none(id))
		return json_null();
	devid_text(id, text);
	return json_string(text);
}

json_t *
api_device_name(const struct status_report *rp, const struct devid *id)
{
	if (devid_equal(id, &rp->self))
		return api_text(rp->name);
	for (uint32_t i = 0; i < rp->device_count; i++)
		if (devid_equal(&rp->device[i].id, id))
			return api_text(rp->device[i].name);
	return api_devid(id);
}

const char *
api_todo(struct arena *ar, enum reason r, struct slice subject)
{
	const char *todo = reason_do(r);
	const char *at = todo == NULL ? NULL : strstr(todo, "%s");

	if (at == NULL)
		return todo;
	return arena_printf(ar, "%.*s%.*s%s", (int)(at - todo), todo,
	    SLICE_FMT(subject), at + 2);
}

json_t *
api_reason(struct arena *ar, enum reason r, struct slice subject)
{
	const char *todo = api_todo(ar, r, subject);
	json_t *o = json_object();

	json_object_set_new(o, "code", json_string(reason_name(r)));
	json_object_set_new(o, "what", json_string(reason_what(r)));
	json_object_set_new(o, "effect", json_string(reason_effect(r)));
	json_object_set_new(o, "do",
	    todo == NULL ? json_null() : api_text(slice_str(todo)));
	return o;
}

json_t *
api_object(void)
{
	json_t *o = json_object();

	json_object_set_new(o, "schema", json_string(API_SCHEMA));
	return o;
}

void
api_reply(struct api_call *call, json_t *body)
{
	call->out->status = 200;
	call->out->body = body;
}

void
api_fail_as(struct api_call *call, int status, const char *code,
    enum cmd_exit exit_code, struct slice reason, const char *next)
{
	json_t *o = api_object();
	json_t *list = json_array();

	json_object_set_new(o, "code", json_string(code));
	json_object_set_new(o, "reason", api_text(reason));
	if (next != NULL)
		json_array_append_new(list, api_text(slice_str(next)));
	json_object_set_new(o, "next", list);
	json_object_set_new(o, "exit", json_integer(exit_code));
	call->out->status = status;
	call->out->body = o;
}

void
api_fail(struct api_call *call, const struct err *err, const char *next)
{
	int status = 500;
	enum cmd_exit exit_code = CMD_FAILED;

	switch (err->code) {
	case ERR_NOT_FOUND:
		status = 404;
		exit_code = CMD_NOT_FOUND;
		break;
	case ERR_INVALID:
	case ERR_PROTOCOL:
	case ERR_LIMIT:
		status = 400;
		exit_code = CMD_USAGE;
		break;
	case ERR_DENIED:
		status = 403;
		exit_code = CMD_REFUSED;
		break;
	case ERR_EXISTS:
		status = 409;
		exit_code = CMD_REFUSED;
		break;
	case ERR_BUSY:
	case ERR_CHANGED:
		status = 409;
		break;
	default:
		break;
	}
	api_fail_as(call, status, err_name(err->code), exit_code,
	    slice_str(err->text), next);
}

struct slice
api_query(const struct api_call *call, const char *name)
{
	const char *value = call->rq->query(call->rq->arg, name);

	return value == NULL ? SLICE_EMPTY : slice_str(value);
}

uint64_t
api_number(const struct api_call *call, const char *name, uint64_t fallback)
{
	const struct slice text = api_query(call, name);
	uint64_t n = 0;

	if (text.len == 0 || text.len > 19)
		return fallback;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return fallback;
		n = n * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	return n;
}

int
api_find_folder(const struct status_report *rp, struct slice text,
    uint32_t *out, struct arena *ar, struct err *err)
{
	struct names_item *item =
	    arena_array(ar, rp->folder_count, sizeof(*item));
	size_t i = 0;
	int rc;

	for (uint32_t n = 0; n < rp->folder_count; n++) {
		item[n].name = rp->folder[n].id;
		item[n].other = rp->folder[n].label;
	}
	rc = names_find(item, rp->folder_count, "folder", text, &i, err);
	*out = (uint32_t)i;
	return rc;
}

json_t *
api_private_address(const struct fixedaddr_book *book, const struct devid *id)
{
	struct fixedaddr_text text;
	struct fixedaddr a;
	json_t *o = json_object();

	fixedaddr_of(book, id, &a);
	fixedaddr_print(&a, &text);
	json_object_set_new(o, "v4", json_string(text.v4));
	json_object_set_new(o, "v6", json_string(text.v6));
	return o;
}

/* By its private address.  As names_find(). */
static int
api_find_private(struct api_call *call, const struct status_report *rp,
    struct slice text, size_t *out, struct err *err)
{
	struct api_facts facts;
	size_t hits = 0;

	call->api->be.facts(call->api->be.arg, &call->ar, &facts);
	for (uint32_t n = 0; n < rp->device_count; n++) {
		struct fixedaddr a;

		fixedaddr_of(facts.fixed, &rp->device[n].id, &a);
		if (!fixedaddr_is(&a, text))
			continue;
		*out = n;
		hits++;
	}
	if (hits > 1)
		return err_set(err, ERR_INVALID,
		    "%.*s is the address of more than one device; each has "
		    "one of IPv6 alone",
		    SLICE_FMT(text));
	return hits == 1 ? 0 : ERR_NOT_FOUND;
}

int
api_find_device(struct api_call *call, const struct status_report *rp,
    struct slice text, uint32_t *out, struct err *err)
{
	struct arena *ar = &call->ar;
	struct names_item *item =
	    arena_array(ar, rp->device_count, sizeof(*item));
	struct err address = { 0 };
	size_t i = 0;
	int rc;

	for (uint32_t n = 0; n < rp->device_count; n++) {
		char *id = arena_alloc(ar, DEVID_TEXT_LEN + 1);

		devid_text(&rp->device[n].id, id);
		item[n].name = rp->device[n].name;
		item[n].other = slice_str(id);
	}
	rc = names_find(item, rp->device_count, "device", text, &i, err);
	if (rc == ERR_NOT_FOUND) {
		const int found =
		    api_find_private(call, rp, text, &i, &address);

		if (found != ERR_NOT_FOUND) {
			rc = found;
			if (err != NULL)
				*err = address;
		}
	}
	*out = (uint32_t)i;
	return rc;
}

/* --- Small handlers --- */

static void
api_version(struct api_call *call)
{
	json_t *o = api_object();

	json_object_set_new(o, "program", json_string("syncd"));
	json_object_set_new(o, "version", json_string(HOLDFAST_VERSION));
	json_object_set_new(o, "protocol", json_string("bep/1.0"));
	api_reply(call, o);
}

/* A mistake in the configuration's file is no mistake of the request. */
static void
api_fail_config(struct api_call *call, const struct err *err)
{
	if (err->code == ERR_INVALID)
		api_fail_as(call, 409, "config-refused", CMD_REFUSED,
		    slice_str(err->text), "syncctl config check");
	else
		api_fail(call, err, "syncctl doctor");
}

static void
api_reload(struct api_call *call)
{
	struct err err = { 0 };
	json_t *o;

	if (call->api->be.reload(call->api->be.arg, &err) < 0) {
		api_fail_config(call, &err);
		return;
	}
	o = api_object();
	json_object_set_new(o, "loaded", json_true());
	api_reply(call, o);
}

static void
api_refresh(struct api_call *call)
{
	call->api->be.refresh(call->api->be.arg);
	api_reply(call, api_object());
}

/* The folder that the route names; false: answered already. */
static bool
api_take_folder(struct api_call *call, struct status_report *rp,
    const struct status_folder **out)
{
	struct err err = { 0 };
	uint32_t i;

	call->api->be.status(call->api->be.arg, &call->ar, rp);
	if (api_find_folder(rp, call->word, &i, &call->ar, &err) < 0) {
		api_fail(call, &err, "syncctl folder list");
		return false;
	}
	*out = &rp->folder[i];
	return true;
}

static void
api_command(struct api_call *call, enum command_kind kind)
{
	const struct api_backend *be = &call->api->be;
	const struct slice path = api_query(call, "path");
	const struct status_folder *f;
	struct status_report rp;
	struct err err = { 0 };
	json_t *o;

	if (!api_take_folder(call, &rp, &f))
		return;
	if ((path.len > 0 && path_check(path, &err) < 0) ||
	    be->command(be->arg, kind, f->id, path, &err) < 0) {
		api_fail(call, &err, "syncctl status");
		return;
	}
	o = api_object();
	json_object_set_new(o, "folder", api_text(f->id));
	/* What was before: a pass that ends from now on has a higher one. */
	json_object_set_new(o, "passes",
	    json_integer((json_int_t)f->scan.passes));
	json_object_set_new(o, "running", json_boolean(f->scan.running));
	api_reply(call, o);
}

static void
api_folder_scan(struct api_call *call)
{
	const struct status_folder *f;
	struct status_report rp;

	if (!api_take_folder(call, &rp, &f))
		return;
	if (f->state == STATUS_PAUSED)
		api_fail_as(call, 409, "paused", CMD_REFUSED,
		    slice_str(arena_printf(&call->ar, "folder %.*s is paused",
			SLICE_FMT(f->id))),
		    arena_printf(&call->ar, "syncctl folder resume %.*s",
			SLICE_FMT(f->id)));
	else
		api_command(call, COMMAND_SCAN);
}

static void
api_folder_refuse_mode(struct api_call *call, const struct status_folder *f,
    const char *want)
{
	api_fail_as(call, 409, "wrong-mode", CMD_REFUSED,
	    slice_str(arena_printf(&call->ar,
		"folder %.*s has mode %s; this is for folders of mode %s",
		SLICE_FMT(f->id), config_mode_name(f->mode), want)),
	    arena_printf(&call->ar, "syncctl folder show %.*s",
		SLICE_FMT(f->id)));
}

static void
api_folder_override(struct api_call *call)
{
	const struct status_folder *f;
	struct status_report rp;

	if (!api_take_folder(call, &rp, &f))
		return;
	if (f->mode != FOLDER_SEND_ONLY)
		api_folder_refuse_mode(call, f, "sendonly");
	else
		api_command(call, COMMAND_OVERRIDE);
}

static void
api_folder_revert(struct api_call *call)
{
	const struct status_folder *f;
	struct status_report rp;

	if (!api_take_folder(call, &rp, &f))
		return;
	if (f->mode != FOLDER_RECEIVE_ONLY)
		api_folder_refuse_mode(call, f, "receiveonly");
	else
		api_command(call, COMMAND_REVERT);
}

static void
api_folder_ignores(struct api_call *call)
{
	api_command(call, COMMAND_IGNORES);
}

static void
api_folder_retry(struct api_call *call)
{
	api_command(call, COMMAND_RETRY);
}

static void
api_folder_confirm(struct api_call *call)
{
	api_command(call, COMMAND_CONFIRM);
}

static void
api_folder_reject(struct api_call *call)
{
	const struct status_folder *f;
	struct status_report rp;

	if (!api_take_folder(call, &rp, &f))
		return;
	if (f->mode != FOLDER_SEND_RECEIVE)
		api_folder_refuse_mode(call, f, "sendreceive");
	else
		api_command(call, COMMAND_REJECT);
}

static void
api_folder_empty_trash(struct api_call *call)
{
	api_command(call, COMMAND_EMPTY_TRASH);
}

static void
api_folder_adopt(struct api_call *call)
{
	const struct status_folder *f;
	struct status_report rp;

	if (!api_take_folder(call, &rp, &f))
		return;
	if (!reason_is_of_root(f->reason))
		api_fail_as(call, 409, "not-halted", CMD_REFUSED,
		    slice_str(arena_printf(&call->ar,
			"folder %.*s is not stopped for its directory",
			SLICE_FMT(f->id))),
		    arena_printf(&call->ar, "syncctl status %.*s",
			SLICE_FMT(f->id)));
	else
		api_command(call, COMMAND_ADOPT);
}

static void
api_pause(struct api_call *call, bool is_folder, struct slice name, bool on)
{
	const struct api_backend *be = &call->api->be;
	struct err err = { 0 };
	json_t *o;

	if (be->pause(be->arg, is_folder, name, on, &err) < 0) {
		api_fail_config(call, &err);
		return;
	}
	o = api_object();
	json_object_set_new(o, "paused", json_boolean(on));
	api_reply(call, o);
}

static void
api_pause_folder(struct api_call *call, bool on)
{
	const struct status_folder *f;
	struct status_report rp;

	if (api_take_folder(call, &rp, &f))
		api_pause(call, true, f->id, on);
}

static void
api_folder_pause(struct api_call *call)
{
	api_pause_folder(call, true);
}

static void
api_folder_resume(struct api_call *call)
{
	api_pause_folder(call, false);
}

static void
api_pause_device(struct api_call *call, bool on)
{
	struct status_report rp;
	struct err err = { 0 };
	uint32_t i;

	call->api->be.status(call->api->be.arg, &call->ar, &rp);
	if (api_find_device(call, &rp, call->word, &i, &err) < 0)
		api_fail(call, &err, "syncctl device list");
	else
		api_pause(call, false, rp.device[i].name, on);
}

static void
api_device_pause(struct api_call *call)
{
	api_pause_device(call, true);
}

static void
api_device_resume(struct api_call *call)
{
	api_pause_device(call, false);
}

/* --- Events --- */

/* `self` is us: what was changed here has no device's name. */
static json_t *
api_event(const struct events_item *e, const struct setup *self)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", json_integer((json_int_t)e->id));
	json_object_set_new(o, "time", api_time(e->wall_ns));
	json_object_set_new(o, "type", json_string(events_type_name(e->type)));
	if (e->folder.len > 0)
		json_object_set_new(o, "folder", api_text(e->folder));
	if (e->path.len > 0)
		json_object_set_new(o, "path", api_text(e->path));
	if (e->action.len > 0)
		json_object_set_new(o, "action", api_text(e->action));
	if (!devid_is_none(&e->device))
		json_object_set_new(o, "device", api_devid(&e->device));
	if (e->device_name.len > 0)
		json_object_set_new(o, "name", api_text(e->device_name));
	else if (!devid_is_none(&e->device) &&
		 devid_equal(&e->device, &self->self))
		json_object_set_new(o, "name", api_text(self->name));
	if (e->reason != REASON_NONE)
		json_object_set_new(o, "reason",
		    json_string(reason_name(e->reason)));
	if (e->text.len > 0)
		json_object_set_new(o, "text", api_text(e->text));
	if (e->count != 0)
		json_object_set_new(o, "count", json_integer(e->count));
	if (e->bytes != 0)
		json_object_set_new(o, "bytes", json_integer(e->bytes));
	return o;
}

/* Is `name` meant by `word`, "change.local" or all that is "change"? */
static bool
api_is_type(struct slice word, struct slice name)
{
	return slice_equal(word, name) ||
	       (slice_has_prefix(name, word) && name.ptr[word.len] == '.');
}

/* Is `name` meant by one of "a,b,c"?  An empty list means all. */
static bool
api_is_listed(struct slice list, const char *name)
{
	if (list.len == 0)
		return true;
	while (list.len > 0) {
		const size_t comma = slice_find(list, ',');
		const size_t n = comma == SIZE_MAX ? list.len : comma;

		if (api_is_type(slice_to(list, n), slice_str(name)))
			return true;
		list = slice_from(list, comma == SIZE_MAX ? n : n + 1);
	}
	return false;
}

/* A type that is mistyped would wait for ever: is each word of it one? */
static int
api_check_types(struct slice list, struct err *err)
{
	while (list.len > 0) {
		const size_t comma = slice_find(list, ',');
		const size_t n = comma == SIZE_MAX ? list.len : comma;
		const struct slice word = slice_to(list, n);
		int t = 0;

		while (t < EVENTS_TYPE_COUNT &&
		       !api_is_type(word,
			   slice_str(events_type_name((enum events_type)t))))
			t++;
		if (t == EVENTS_TYPE_COUNT)
			return err_set(err, ERR_INVALID,
			    "type: no event is called \"%.*s\"",
			    SLICE_FMT(word));
		list = slice_from(list, comma == SIZE_MAX ? n : n + 1);
	}
	return 0;
}

static void
api_events(struct api_call *call)
{
	const struct events *ev = call->api->events;
	const int64_t from_ns = (int64_t)api_number(call, "from", 0);
	const struct slice types = api_query(call, "type");
	const uint64_t timeout = api_number(call, "timeout", 0);
	uint64_t limit = api_number(call, "limit", API_EVENTS_MAX);
	uint64_t since = api_number(call, "since", 0);
	const struct events_item *e;
	struct err err = { 0 };
	struct api_facts facts;
	json_t *list;
	json_t *o;

	if (api_check_types(types, &err) < 0) {
		api_fail(call, &err, "man syncctl");
		return;
	}
	list = json_array();
	call->api->be.facts(call->api->be.arg, &call->ar, &facts);
	/* Numbers begin anew with the daemon: take what there is. */
	if (since > events_last(ev))
		since = 0;
	if (limit == 0 || limit > API_EVENTS_MAX)
		limit = API_EVENTS_MAX;
	while (json_array_size(list) < limit &&
	       (e = events_next(ev, since)) != NULL) {
		since = e->id;
		if (e->wall_ns >= from_ns &&
		    api_is_listed(types, events_type_name(e->type)))
			json_array_append_new(list,
			    api_event(e, &facts.config->setup));
	}
	if (json_array_size(list) == 0 && timeout > 0 && !call->final) {
		json_decref(list);
		call->out->wait = true;
		call->out->wait_s =
		    (uint32_t)(timeout < API_WAIT_MAX_S ? timeout
							: API_WAIT_MAX_S);
		return;
	}
	o = api_object();
	json_object_set_new(o, "events", list);
	json_object_set_new(o, "last", json_integer((json_int_t)since));
	api_reply(call, o);
}

/* --- The table --- */

struct api_route {
	const char *method;
	const char *path; /* "*" is one part, taken as the call's word */
	api_handler_fn *handle;
};

static const struct api_route api_routes[] = {
	{ "GET", "/v1/version", api_version },
	{ "GET", "/v1/status", api_status_all },
	{ "GET", "/v1/folders", api_status_folders },
	{ "GET", "/v1/devices", api_status_devices },
	{ "GET", "/v1/pending", api_status_pending },
	{ "GET", "/v1/whois", api_path_whois },
	{ "GET", "/v1/ping", api_path_answer },
	{ "GET", "/v1/doctor", api_doctor },
	{ "GET", "/v1/explain", api_explain_path },
	{ "GET", "/v1/ignores", api_explain_rules },
	{ "GET", "/v1/ignore-test", api_explain_ignore },
	{ "GET", "/v1/plan", api_plan },
	{ "GET", "/v1/conflicts", api_explain_conflicts },
	{ "GET", "/v1/events", api_events },
	{ "GET", "/v1/domain", api_domain_show },
	{ "GET", "/v1/domain/log", api_domain_log },
	{ "POST", "/v1/domain/invite", api_domain_invite },
	{ "POST", "/v1/domain/join", api_domain_join },
	{ "POST", "/v1/domain/approve", api_domain_approve },
	{ "POST", "/v1/domain/deny", api_domain_deny },
	{ "POST", "/v1/domain/revoke", api_domain_revoke },
	{ "POST", "/v1/domain/rename", api_domain_rename },
	{ "POST", "/v1/domain/rule", api_domain_rule },
	{ "POST", "/v1/domain/recover", api_domain_recover },
	{ "POST", "/v1/domain/rotate", api_domain_rotate },
	{ "POST", "/v1/domain/rotate-device", api_domain_rotate_device },
	{ "POST", "/v1/domain/new-key", api_domain_new_key },
	{ "POST", "/v1/domain/owner", api_domain_owner },
	{ "POST", "/v1/domain/quorum", api_domain_quorum },
	{ "POST", "/v1/domain/sign", api_domain_sign },
	{ "POST", "/v1/domain/reject", api_domain_reject },
	{ "GET", "/v1/netcheck", api_netcheck },
	{ "POST", "/v1/netcheck/run", api_netcheck_begin },
	{ "POST", "/v1/reload", api_reload },
	{ "POST", "/v1/refresh", api_refresh },
	{ "POST", "/v1/folders/*/scan", api_folder_scan },
	{ "POST", "/v1/folders/*/override", api_folder_override },
	{ "POST", "/v1/folders/*/revert", api_folder_revert },
	{ "POST", "/v1/folders/*/ignores", api_folder_ignores },
	{ "POST", "/v1/folders/*/retry", api_folder_retry },
	{ "POST", "/v1/folders/*/confirm", api_folder_confirm },
	{ "POST", "/v1/folders/*/reject", api_folder_reject },
	{ "POST", "/v1/folders/*/empty-trash", api_folder_empty_trash },
	{ "POST", "/v1/folders/*/adopt", api_folder_adopt },
	{ "POST", "/v1/folders/*/pause", api_folder_pause },
	{ "POST", "/v1/folders/*/resume", api_folder_resume },
	{ "GET", "/v1/forward", api_forward_show },
	{ "GET", "/v1/forward/stream", api_forward_stream },
	{ "POST", "/v1/devices/*/forward", api_forward_ask },
	{ "POST", "/v1/devices/*/ping", api_path_ask },
	{ "POST", "/v1/devices/*/pause", api_device_pause },
	{ "POST", "/v1/devices/*/resume", api_device_resume },
};

/*
 * Does the route have this path?  The "*" takes all up to what follows it at
 * the end: a folder's ID may hold slashes.
 */
static bool
api_route_has(const char *route, const char *path, struct slice *word)
{
	const char *star = strchr(route, '*');
	const size_t len = strlen(path);
	size_t head, tail;

	*word = SLICE_EMPTY;
	if (star == NULL)
		return strcmp(route, path) == 0;
	head = (size_t)(star - route);
	tail = strlen(star + 1);
	if (len <= head + tail || strncmp(route, path, head) != 0 ||
	    strcmp(star + 1, path + len - tail) != 0)
		return false;
	*word = slice_of(path + head, len - head - tail);
	return true;
}

void
api_handle(struct api *api, const struct api_request *rq, bool final,
    struct api_answer *out)
{
	struct api_call call = {
		.api = api,
		.rq = rq,
		.final = final,
		.out = out,
	};
	const char *method =
	    strcmp(rq->method, "HEAD") == 0 ? "GET" : rq->method;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < sizeof(api_routes) / sizeof(api_routes[0]);
	     i++) {
		const struct api_route *r = &api_routes[i];

		if (!api_route_has(r->path, rq->path, &call.word))
			continue;
		if (strcmp(r->method, method) == 0)
			r->handle(&call);
		else {
			out->allow = r->method;
			api_fail_as(&call, 405, "wrong-method", CMD_USAGE,
			    slice_str(arena_printf(&call.ar,
				"%s is for %s only", rq->path, r->method)),
			    NULL);
		}
		break;
	}
	if (out->body == NULL && !out->wait && out->stream == 0)
		api_fail_as(&call, 404, "not-found", CMD_NOT_FOUND,
		    slice_str(
			arena_printf(&call.ar, "no such route: %s", rq->path)),
		    "man syncctl");
	arena_fini(&call.ar);
}

void
api_take_stream(struct api *api, uint64_t number, int fd, struct slice early)
{
	api->be.forward_attach(api->be.arg, number, fd, early);
}

struct api *
api_new(const struct api_backend *backend, struct events *events)
{
	struct api *api = mem_zalloc(sizeof(*api));

	api->be = *backend;
	api->events = events;
	return api;
}

void
api_free(struct api *api)
{
	if (api == NULL)
		return;
	mem_free(api);
}
