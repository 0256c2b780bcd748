/*
 * What the handlers of the local API share.  Private to cli/api*.c.
 */
#ifndef HOLDFAST_CLI_API_PRIVATE_H
#define HOLDFAST_CLI_API_PRIVATE_H

#include "cli/api.h"
#include "cli/cmd_exit.h"

struct api {
	struct api_backend be;
	struct events *events;
};

/* One request in work. */
struct api_call {
	struct api *api;
	const struct api_request *rq;
	struct slice word; /* what the "*" of the route stands for */
	bool final;
	struct arena ar;
	struct api_answer *out;
};

typedef void api_handler_fn(struct api_call *call);

/* Handlers: api_status.c, api_explain.c, api_doctor.c, api.c. */
api_handler_fn api_status_all, api_status_folders, api_status_devices,
    api_status_pending;
api_handler_fn api_doctor;
api_handler_fn api_explain_path, api_explain_ignore, api_explain_rules,
    api_explain_conflicts;
api_handler_fn api_plan;
api_handler_fn api_path_ask, api_path_answer, api_path_whois;
api_handler_fn api_domain_show, api_domain_log, api_domain_invite,
    api_domain_join, api_domain_approve, api_domain_deny, api_domain_revoke,
    api_domain_rename, api_domain_rule, api_domain_recover, api_domain_rotate,
    api_domain_rotate_device, api_domain_new_key, api_domain_owner,
    api_domain_quorum, api_domain_sign, api_domain_reject;
api_handler_fn api_netcheck, api_netcheck_begin;
api_handler_fn api_forward_ask, api_forward_show, api_forward_stream;

/* {"schema": ...}: every answer begins so. */
json_t *api_object(void);
/* Answer 200 with `body`; takes it. */
void api_reply(struct api_call *call, json_t *body);
/* Answer a failure in full; `next` may be NULL. */
void api_fail_as(struct api_call *call, int status, const char *code,
    enum cmd_exit exit_code, struct slice reason, const char *next);
/* Answer a failure; `next` is what to type, or NULL. */
void api_fail(struct api_call *call, const struct err *err, const char *next);
/* A query argument as a slice; empty when absent. */
struct slice api_query(const struct api_call *call, const char *name);
/* The same as a number; `fallback` when it is absent or none. */
uint64_t api_number(const struct api_call *call, const char *name,
    uint64_t fallback);

/* How a device is connected, over which ways it was tried: api_path.c. */
const struct net_peer_status *api_path_peer(const struct net_status *net,
    const struct devid *id);
/* Why it is reached through a relay; NONE: it is not. */
enum reason api_path_detour(const struct net_peer_status *p);
json_t *api_path(const struct net_peer_status *p); /* accepts NULL */
json_t *api_path_ways(const struct net_peer_status *p);
json_t *api_path_counts(const struct net_counts *counts);
/* The device that `text` means; false: answered already. */
bool api_path_find(struct api_call *call, struct slice text,
    const struct status_device **out);
void api_path_offline(struct api_call *call, const struct status_device *d,
    const struct net_peer_status *p);

/* One answer in the making. */
struct api_view {
	struct api_call *call;
	struct status_report rp;
	struct net_status net;
	struct api_facts facts;
	struct now now;
	/* What was asked for; -1: everything. */
	int32_t only_folder, only_device;
	json_t *problems;
	enum cmd_exit exit;
};

/* Handlers of status: the worst wins, 6 over 5 over 4 over 0. */
void api_view_worsen(struct api_view *v, enum cmd_exit code);
void api_set_count(json_t *o, const char *key, int64_t n);
/* When a device was last connected, as far as anyone knows; 0: never. */
int64_t api_last_seen(const struct api_view *v, const struct devid *id);
/* Put a folder's problems into the view; they are part of its exit code. */
void api_problem_all(struct api_view *v, const struct status_folder *f);
void api_problem_device(struct api_view *v, const struct status_device *d);
void api_problem_config(struct api_view *v);
/* Two machines with one key. */
void api_problem_clone(struct api_view *v);

/* The devices whose mass change the brake holds. */
json_t *api_held(const struct status_report *rp, const struct status_folder *f);

/* JSON values; text that is no UTF-8 is escaped. */
json_t *api_text(struct slice s);
json_t *api_time(int64_t wall_ns); /* null for 0 */
/* From a file's modification time, which may be any number. */
json_t *api_mtime(int64_t s, int32_t ns);
json_t *api_devid(const struct devid *id);
/* A device's name in this report; its ID when it has none. */
json_t *api_device_name(const struct status_report *rp, const struct devid *id);
/* What to do about it, with the subject put in; NULL: wait. */
const char *api_todo(struct arena *ar, enum reason r, struct slice subject);
/* {"code", "what", "effect", "do"} */
json_t *api_reason(struct arena *ar, enum reason r, struct slice subject);

/* The folder or device that a person means, in the report. */
int api_find_folder(const struct status_report *rp, struct slice text,
    uint32_t *out, struct arena *ar, struct err *err);
/* ... a device by its private address, too. */
int api_find_device(struct api_call *call, const struct status_report *rp,
    struct slice text, uint32_t *out, struct err *err);
/* {"v4", "v6"}: the private address of a device; fixedaddr.h. */
json_t *api_private_address(const struct fixedaddr_book *book,
    const struct devid *id);

#endif
