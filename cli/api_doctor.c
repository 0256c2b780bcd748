/*
 * GET /v1/doctor: what only the running daemon knows of itself.  The rest of
 * `syncctl doctor` is looked at from outside; see cmd_doctor.h.
 */
#include "cli/api_private.h"

static json_t *
api_doctor_fence(const struct sandbox_fence *f)
{
	json_t *o = json_object();

	json_object_set_new(o, "on", json_boolean(f->on));
	json_object_set_new(o, "level", json_integer(f->level));
	json_object_set_new(o, "why", api_text(slice_str(f->why)));
	return o;
}

void
api_doctor(struct api_call *call)
{
	static const char *const mode[] = { "auto", "off", "require" };
	const struct api_backend *be = &call->api->be;
	json_t *o = api_object();
	json_t *box = json_object();
	struct api_self self = { 0 };

	be->self(be->arg, &call->ar, &self);
	json_object_set_new(o, "version", json_string(HOLDFAST_VERSION));
	json_object_set_new(o, "pid", json_integer(self.pid));
	json_object_set_new(box, "mode", json_string(mode[self.sandbox]));
	json_object_set_new(box, "seccomp", api_doctor_fence(&self.seccomp));
	json_object_set_new(box, "landlock", api_doctor_fence(&self.landlock));
	json_object_set_new(box, "denied", json_integer(self.denied));
	json_object_set_new(box, "denied_names", api_text(self.denied_names));
	json_object_set_new(o, "sandbox", box);
	json_object_set_new(o, "fd_used",
	    json_integer((json_int_t)self.fd_used));
	json_object_set_new(o, "fd_limit",
	    json_integer((json_int_t)self.fd_limit));
	json_object_set_new(o, "watches", json_integer(self.watches));
	api_reply(call, o);
}
