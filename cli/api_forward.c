/*
 * Carried connections: asked for, looked at, and joined.
 *
 *	POST /v1/devices/NAME/forward?port=   ask; answers with a number
 *	GET  /v1/forward/stream?number=       waits until it is accepted; then
 *	                                      101, and bytes instead of HTTP
 *	GET  /v1/forward?number=              how it is, or how it ended
 */
#include "cli/api_private.h"
#include "mesh/forward.h"

#define API_FORWARD_WAIT_S 12 /* for the peer; less than it may wait for us */

static const char *
api_forward_state(enum forward_uv_state state)
{
	switch (state) {
	case FORWARD_UV_ASKED:
		return "asked";
	case FORWARD_UV_READY:
		return "ready";
	case FORWARD_UV_JOINED:
		return "joined";
	case FORWARD_UV_ENDED:
		return "ended";
	case FORWARD_UV_BROKEN:
		return "broken";
	}
	return "";
}

static enum reason
api_forward_reason(const struct forward_uv_fate *f)
{
	if (f->state != FORWARD_UV_BROKEN)
		return REASON_NONE;
	if (f->lost)
		return REASON_FORWARD_LOST;
	switch (f->code) {
	case FORWARD_CLOSED:
		return REASON_FORWARD_CLOSED;
	case FORWARD_DENIED:
		return REASON_FORWARD_DENIED;
	case FORWARD_NOBODY:
		return REASON_FORWARD_NOBODY;
	case FORWARD_BUSY:
		return REASON_FORWARD_BUSY;
	default:
		return REASON_FORWARD_FAILED;
	}
}

static enum cmd_exit
api_forward_exit(enum reason r)
{
	if (r == REASON_FORWARD_DENIED || r == REASON_FORWARD_UNSPOKEN)
		return CMD_REFUSED;
	if (r == REASON_FORWARD_NOBODY)
		return CMD_NOT_FOUND;
	if (r == REASON_FORWARD_LOST)
		return CMD_OFFLINE;
	return CMD_FAILED;
}

static void
api_forward_fail(struct api_call *call, enum reason r)
{
	api_fail_as(call, 409, reason_name(r), api_forward_exit(r),
	    slice_str(reason_what(r)), reason_do(r));
}

void
api_forward_ask(struct api_call *call)
{
	const struct api_backend *be = &call->api->be;
	const uint64_t port = api_number(call, "port", 0);
	const struct status_device *d;
	struct err err = { 0 };
	uint64_t number = 0;
	json_t *o;
	int rc;

	if (!api_path_find(call, call->word, &d))
		return;
	if (port == 0 || port > UINT16_MAX) {
		err_set(&err, ERR_INVALID, "port: a number from 1 to 65535");
		api_fail(call, &err, "man syncctl");
		return;
	}
	rc = be->forward_ask(be->arg, &d->id, (uint16_t)port, &number, &err);
	if (rc == ERR_CLOSED) {
		api_path_offline(call, d, NULL);
	} else if (rc == ERR_UNSUPPORTED) {
		api_forward_fail(call, REASON_FORWARD_UNSPOKEN);
	} else if (rc < 0) {
		api_forward_fail(call, REASON_FORWARD_BUSY);
	} else {
		o = api_object();
		json_object_set_new(o, "device", api_text(d->name));
		json_object_set_new(o, "id", api_devid(&d->id));
		api_set_count(o, "port", (int64_t)port);
		api_set_count(o, "number", (int64_t)number);
		api_reply(call, o);
	}
}

/* False: answered already. */
static bool
api_forward_find(struct api_call *call, struct forward_uv_fate *out)
{
	const struct api_backend *be = &call->api->be;

	if (be->forward_look(be->arg, api_number(call, "number", 0), out))
		return true;
	api_fail_as(call, 404, "not-found", CMD_NOT_FOUND,
	    SLICE_LIT("no carried connection has that number"), NULL);
	return false;
}

void
api_forward_show(struct api_call *call)
{
	struct forward_uv_fate f;
	enum reason r;
	json_t *o;

	if (!api_forward_find(call, &f))
		return;
	r = api_forward_reason(&f);
	o = api_object();
	json_object_set_new(o, "state",
	    json_string(api_forward_state(f.state)));
	json_object_set_new(o, "id", api_devid(&f.id));
	api_set_count(o, "port", f.port);
	json_object_set_new(o, "reason",
	    r == REASON_NONE ? json_null()
			     : api_reason(&call->ar, r, SLICE_EMPTY));
	json_object_set_new(o, "exit",
	    json_integer(r == REASON_NONE ? CMD_OK : api_forward_exit(r)));
	api_reply(call, o);
}

void
api_forward_stream(struct api_call *call)
{
	struct forward_uv_fate f;

	if (!api_forward_find(call, &f))
		return;
	switch (f.state) {
	case FORWARD_UV_ASKED:
		if (!call->final) {
			call->out->wait = true;
			call->out->wait_s = API_FORWARD_WAIT_S;
			return;
		}
		api_fail_as(call, 409, "timeout", CMD_TIMEOUT,
		    SLICE_LIT("the device does not answer"),
		    "syncctl device diag");
		return;
	case FORWARD_UV_READY:
		call->out->stream = api_number(call, "number", 0);
		return;
	case FORWARD_UV_BROKEN:
		api_forward_fail(call, api_forward_reason(&f));
		return;
	case FORWARD_UV_JOINED:
	case FORWARD_UV_ENDED:
		api_fail_as(call, 409, "taken", CMD_REFUSED,
		    SLICE_LIT("somebody joined that connection already"), NULL);
		return;
	}
}
