/*
 * The plan of a folder as JSON, page by page: GET /v1/plan.
 */
#include "cli/api_private.h"

static json_t *
api_plan_entry(const struct status_report *rp, const struct plan_entry *e)
{
	static const char *const types[] = {
		[ENTRY_FILE] = "file",
		[ENTRY_DIR] = "directory",
		[ENTRY_LINK] = "link",
	};
	json_t *o = json_object();

	json_object_set_new(o, "path", api_text(e->path));
	json_object_set_new(o, "action", json_string(plan_act_name(e->act)));
	json_object_set_new(o, "type", json_string(types[e->type]));
	api_set_count(o, "size", e->size);
	json_object_set_new(o, "device",
	    devid_is_none(&e->device) ? json_null()
				      : api_device_name(rp, &e->device));
	json_object_set_new(o, "held",
	    json_boolean(e->reason == REASON_MASS_CHANGE));
	json_object_set_new(o, "reason",
	    e->reason == REASON_NONE ? json_null()
				     : json_string(reason_name(e->reason)));
	return o;
}

json_t *
api_held(const struct status_report *rp, const struct status_folder *f)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < f->held_count; i++) {
		const struct brake_held *h = &f->held[i];
		json_t *o = json_object();

		json_object_set_new(o, "device",
		    api_device_name(rp, &h->device));
		api_set_count(o, "deletes", h->deletes);
		api_set_count(o, "rewrites", h->rewrites);
		api_set_count(o, "done", h->done);
		api_set_count(o, "files", h->files);
		json_object_set_new(o, "since", api_time(h->since_wall_ns));
		json_array_append_new(list, o);
	}
	return list;
}

void
api_plan(struct api_call *call)
{
	const struct api_backend *be = &call->api->be;
	const bool held = slice_equal(api_query(call, "held"), SLICE_LIT("1"));
	struct status_report rp;
	struct plan_page page;
	struct err err = { 0 };
	json_t *list, *o;
	uint32_t i;

	be->status(be->arg, &call->ar, &rp);
	if (api_find_folder(&rp, api_query(call, "folder"), &i, &call->ar,
		&err) < 0) {
		api_fail(call, &err, "syncctl folder list");
		return;
	}
	if (!be->plan(be->arg, rp.folder[i].id, api_query(call, "after"), held,
		(uint32_t)api_number(call, "limit", 0), &call->ar, &page)) {
		err_set(&err, ERR_BUSY, "folder %.*s is not open",
		    SLICE_FMT(rp.folder[i].id));
		api_fail(call, &err, "syncctl status");
		return;
	}
	list = json_array();
	for (uint32_t n = 0; n < page.count; n++)
		json_array_append_new(list,
		    api_plan_entry(&rp, &page.entry[n]));
	o = api_object();
	json_object_set_new(o, "folder", api_text(rp.folder[i].id));
	json_object_set_new(o, "held", api_held(&rp, &rp.folder[i]));
	json_object_set_new(o, "entries", list);
	json_object_set_new(o, "next",
	    page.next.len > 0 ? api_text(page.next) : json_null());
	api_reply(call, o);
}
