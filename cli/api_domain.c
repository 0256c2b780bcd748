/* The local API: the domain and its members.  See api.h. */
#include "cli/api_private.h"

void
api_domain_show(struct api_call *call)
{
	json_t *o = api_object();
	json_t *d = call->api->be.domain(call->api->be.arg);

	json_object_update(o, d);
	json_decref(d);
	api_reply(call, o);
}

void
api_domain_log(struct api_call *call)
{
	json_t *o = api_object();
	json_t *d = call->api->be.domain_log(call->api->be.arg);

	json_object_update(o, d);
	json_decref(d);
	api_reply(call, o);
}

static void
api_domain_do(struct api_call *call, enum api_domain_verb verb)
{
	const struct api_domain_ask ask = { .verb = verb,
		.device = api_query(call, "device"),
		.name = api_query(call, "name"),
		.code = api_query(call, "code"),
		.coordinator = api_query(call, "coordinator"),
		.to = api_query(call, "to"),
		.service = api_query(call, "service"),
		.key = api_query(call, "key"),
		.wish = api_query(call, "id"),
		.id = api_query(call, "id"),
		.grace_s = api_number(call, "grace", 0),
		.need = api_number(call, "need", 0),
		.add = api_number(call, "add", 0) != 0,
		.expires_s = api_number(call, "expires", 0),
		.approve = api_number(call, "approve", 0) != 0,
		.allow = api_number(call, "allow", 0) != 0 };
	json_t *o = api_object();
	struct err err = { 0 };

	if (call->api->be.domain_do(call->api->be.arg, &ask, o, &err) < 0) {
		json_decref(o);
		api_fail(call, &err, "syncctl domain status");
		return;
	}
	api_reply(call, o);
}

void
api_domain_invite(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_INVITE);
}

void
api_domain_join(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_JOIN);
}

void
api_domain_approve(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_APPROVE);
}

void
api_domain_deny(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_DENY);
}

void
api_domain_revoke(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_REVOKE);
}

void
api_domain_rename(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_RENAME);
}

void
api_domain_rule(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_RULE);
}

void
api_domain_recover(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_RECOVER);
}

void
api_domain_rotate(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_ROTATE);
}

void
api_domain_rotate_device(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_ROTATE_DEVICE);
}

void
api_domain_new_key(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_NEW_KEY);
}

void
api_domain_owner(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_OWNER);
}

void
api_domain_quorum(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_QUORUM);
}

void
api_domain_sign(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_SIGN);
}

void
api_domain_reject(struct api_call *call)
{
	api_domain_do(call, API_DOMAIN_REJECT);
}
