/* The domain behind the local API; see syncd_domain.h, api.h. */
#include <stdio.h>

#include "cli/syncd_domain.h"
#include "mesh/net_coord_uv.h"

#define SYNCD_EXPIRES_MAX_S (24 * 3600) /* of a code */
#define SYNCD_GRACE_S (7 * 24 * 3600)   /* that an old key is heard */
#define SYNCD_GRACE_MAX_S (365 * 24 * 3600)
#define SYNCD_WISH_LEN 8 /* bytes that people see of one */

/* --- What is shown --- */

static json_t *
syncd_json_devid(const struct devid *id)
{
	char text[DEVID_TEXT_LEN + 1];

	devid_text(id, text);
	return json_string(text);
}

static json_t *
syncd_json_time(int64_t wall_s)
{
	char text[32];

	if (wall_s <= 0)
		return json_null();
	clock_rfc3339(wall_s * (int64_t)CLOCK_S, text);
	return json_string(text);
}

static json_t *
syncd_json_hex(const uint8_t *b, size_t len)
{
	struct buf text = { 0 };
	json_t *o;

	for (size_t i = 0; i < len; i++)
		buf_printf(&text, "%02x", b[i]);
	o = json_stringn((const char *)text.ptr, text.len);
	buf_fini(&text);
	return o;
}

/* The public half, as people pass it on; "": there is none. */
static json_t *
syncd_json_key(bool has, const struct sign_secret *key)
{
	char text[DOMAIN_KEY_TEXT_MAX];
	struct sign_public public;

	if (!has)
		return json_string("");
	sign_public_of(key, &public);
	domain_record_public_text(&public, text);
	return json_string(text);
}

static const char *const syncd_service_name[] = {
	[MEMBERS_ALL] = "all",
	[MEMBERS_SYNC] = "sync",
	[MEMBERS_DROP] = "drop",
	[MEMBERS_DIAG] = "diag",
	[MEMBERS_FORWARD] = "forward",
};

#define SYNCD_SERVICES                                                         \
	(sizeof(syncd_service_name) / sizeof(syncd_service_name[0]))

/* A member's name; its ID when it is none any more; "any" for everybody. */
static json_t *
syncd_json_member(const struct syncd *sd, const struct devid *id)
{
	const struct member *m =
	    members_find(sd->domain->ms, id, syncd_domain_now_s());

	if (devid_is_none(id))
		return json_string("any");
	return m != NULL ? json_string(m->name) : syncd_json_devid(id);
}

static json_t *
syncd_json_members(const struct syncd *sd)
{
	json_t *list = json_array();
	const struct member *m;

	for (size_t i = 0; (m = members_at(sd->domain->ms, i)) != NULL; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "name", json_string(m->name));
		json_object_set_new(o, "id", syncd_json_devid(&m->id));
		json_object_set_new(o, "since",
		    syncd_json_time(m->since_wall_s));
		json_object_set_new(o, "self",
		    json_boolean(
			devid_equal(&m->id, identity_devid(sd->identity))));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
syncd_json_waiting(const struct syncd *sd)
{
	json_t *list = json_array();

	for (size_t i = 0; i < sd->domain->waiting.len; i++) {
		const struct domain_waiting *w = &sd->domain->waiting.item[i];
		json_t *o = json_object();

		json_object_set_new(o, "name", json_string(w->who.name));
		json_object_set_new(o, "id", syncd_json_devid(&w->who.id));
		json_object_set_new(o, "time", syncd_json_time(w->wall_s));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
syncd_json_rules(const struct syncd *sd)
{
	json_t *list = json_array();
	const struct members_rule *r;

	for (size_t i = 0; (r = members_rule(sd->domain->ms, i)) != NULL; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "from", syncd_json_member(sd, &r->from));
		json_object_set_new(o, "to", syncd_json_member(sd, &r->to));
		json_object_set_new(o, "service",
		    json_string((size_t)r->service < SYNCD_SERVICES
				    ? syncd_service_name[r->service]
				    : "unknown"));
		json_object_set_new(o, "allowed", json_boolean(r->allowed));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
syncd_json_ballot_item(const struct syncd *sd, const struct ballot_item *it)
{
	const struct members_entry *e = &it->e;
	const struct sign_public *owner;
	struct sign_public public;
	json_t *o = json_object();
	uint32_t need;

	members_owners(sd->domain->ms, &owner, &need);
	sign_public_of(&sd->domain->owner, &public);
	json_object_set_new(o, "id",
	    syncd_json_hex(it->wish.b, SYNCD_WISH_LEN));
	json_object_set_new(o, "kind",
	    json_string(members_entry_kind_text(e->kind)));
	json_object_set_new(o, "device",
	    devid_is_none(&e->device) ? json_string("")
				      : syncd_json_member(sd, &e->device));
	json_object_set_new(o, "name", json_string(e->name));
	json_object_set_new(o, "by", syncd_json_member(sd, &e->by));
	json_object_set_new(o, "time", syncd_json_time(e->wall_s));
	json_object_set_new(o, "signed", json_integer(it->good));
	json_object_set_new(o, "need", json_integer(need));
	json_object_set_new(o, "signed_here",
	    json_boolean(
		sd->domain->has_owner && members_entry_signed_by(e, &public)));
	return o;
}

static json_t *
syncd_json_ballot(const struct syncd *sd)
{
	const struct ballot_item *it;
	json_t *list = json_array();

	for (size_t i = 0; (it = ballot_at(sd->domain->ballot, i)) != NULL; i++)
		json_array_append_new(list, syncd_json_ballot_item(sd, it));
	return list;
}

static json_t *
syncd_json_owners(const struct syncd *sd)
{
	const struct sign_public *owner;
	char text[DOMAIN_KEY_TEXT_MAX];
	struct sign_public public;
	json_t *list = json_array();
	uint32_t need;
	const size_t count = members_owners(sd->domain->ms, &owner, &need);

	sign_public_of(&sd->domain->owner, &public);
	for (size_t i = 0; i < count; i++) {
		json_t *o = json_object();

		domain_record_public_text(&owner[i], text);
		json_object_set_new(o, "key", json_string(text));
		json_object_set_new(o, "self",
		    json_boolean(sd->domain->has_owner &&
				 sign_public_equal(&owner[i], &public)));
		json_array_append_new(list, o);
	}
	return list;
}

/* The code in both forms, while it is good. */
static void
syncd_json_code(json_t *o, const struct syncd_invite *in)
{
	char code[JOIN_CODE_TEXT_MAX], at[ADDR_TEXT_MAX];
	struct coord_client_state state;
	struct buf link = { 0 };

	coord_client_state(in->line, &state);
	join_code_text(&in->code, code);
	addr_text(state.at, at);
	join_code_link(&in->code, slice_str(at), &state.id, &link);
	json_object_set_new(o, "code", json_string(code));
	json_object_set_new(o, "link",
	    json_stringn((const char *)link.ptr, link.len));
	sign_wipe(link.ptr, link.len);
	sign_wipe(code, sizeof(code));
	buf_fini(&link);
}

static json_t *
syncd_json_invites(const struct syncd *sd)
{
	static const char *const state[] = {
		[SYNCD_INVITE_OPENING] = "opening",
		[SYNCD_INVITE_OPEN] = "open",
		[SYNCD_INVITE_OVER] = "over",
	};
	json_t *list = json_array();

	for (size_t i = 0; i < sd->domain->invite.len; i++) {
		const struct syncd_invite *in = &sd->domain->invite.item[i];
		json_t *o = json_object();

		json_object_set_new(o, "number",
		    json_integer((json_int_t)in->number));
		json_object_set_new(o, "state", json_string(state[in->state]));
		json_object_set_new(o, "why", json_string(in->why));
		json_object_set_new(o, "expires",
		    syncd_json_time(in->expires_wall_s));
		json_object_set_new(o, "approve", json_boolean(in->approve));
		json_object_set_new(o, "wrong",
		    json_integer(in->inviter == NULL
				     ? 0
				     : join_inviter_wrong(in->inviter)));
		if (!devid_is_none(&in->who.id)) {
			json_object_set_new(o, "joined",
			    syncd_json_devid(&in->who.id));
			json_object_set_new(o, "name",
			    json_string(in->who.name));
		}
		if (in->state == SYNCD_INVITE_OPEN &&
		    syncd_line_is_there(sd, in->line))
			syncd_json_code(o, in);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
syncd_json_join(const struct syncd *sd)
{
	static const char *const state[] = {
		[SYNCD_JOIN_NONE] = "none",
		[SYNCD_JOIN_DIALLING] = "dialling",
		[SYNCD_JOIN_ASKING] = "asking",
		[SYNCD_JOIN_WELCOME] = "welcome",
		[SYNCD_JOIN_PENDING] = "pending",
		[SYNCD_JOIN_DONE] = "done",
		[SYNCD_JOIN_REFUSED] = "refused",
	};
	const struct syncd_join *j = &sd->domain->join;
	json_t *o = json_object();

	json_object_set_new(o, "number", json_integer((json_int_t)j->number));
	json_object_set_new(o, "state", json_string(state[j->state]));
	json_object_set_new(o, "why",
	    json_string(j->why == NULL ? "" : j->why));
	json_object_set_new(o, "reason", json_string(j->text));
	json_object_set_new(o, "inviter", json_string(j->answer.inviter_name));
	return o;
}

static const char *
syncd_domain_state(const struct syncd *sd)
{
	if (syncd_domain_is_in(sd))
		return "member";
	if (!sd->domain->has_pin)
		return "none";
	return members_seq(sd->domain->ms) == 0 ? "pending" : "removed";
}

/* The ID that this device is to have; "" and false: it keeps its own. */
static void
syncd_json_successor(const struct syncd *sd, json_t *o)
{
	bool is_signed = false;
	struct devid id;
	const bool has = syncd_rotate_next(sd, &id, &is_signed);

	json_object_set_new(o, "successor",
	    has ? syncd_json_devid(&id) : json_string(""));
	json_object_set_new(o, "successor_signed", json_boolean(is_signed));
}

json_t *
syncd_domain_show(void *arg)
{
	const struct syncd *sd = arg;
	const struct members *ms = sd->domain->ms;
	const struct sign_public *owner;
	json_t *o = json_object();
	uint8_t head[32];
	uint32_t need = 0;

	members_head(ms, head);
	json_object_set_new(o, "state", json_string(syncd_domain_state(sd)));
	json_object_set_new(o, "name", json_string(members_name(ms)));
	json_object_set_new(o, "id",
	    sd->domain->has_pin ? syncd_json_hex(sd->domain->pin.domain.b,
				      sizeof(sd->domain->pin.domain.b))
				: json_string(""));
	json_object_set_new(o, "seq",
	    json_integer((json_int_t)members_seq(ms)));
	json_object_set_new(o, "head", syncd_json_hex(head, sizeof(head)));
	json_object_set_new(o, "self",
	    syncd_json_devid(identity_devid(sd->identity)));
	json_object_set_new(o, "owner", json_boolean(syncd_keys_owns(sd)));
	json_object_set_new(o, "key",
	    syncd_json_key(sd->domain->has_owner, &sd->domain->owner));
	json_object_set_new(o, "next",
	    syncd_json_key(sd->domain->has_next, &sd->domain->next));
	syncd_json_successor(sd, o);
	json_object_set_new(o, "owners",
	    json_integer((json_int_t)members_owners(ms, &owner, &need)));
	json_object_set_new(o, "need", json_integer(need));
	json_object_set_new(o, "owner_keys", syncd_json_owners(sd));
	json_object_set_new(o, "ballot", syncd_json_ballot(sd));
	json_object_set_new(o, "members", syncd_json_members(sd));
	json_object_set_new(o, "pending", syncd_json_waiting(sd));
	json_object_set_new(o, "rules", syncd_json_rules(sd));
	json_object_set_new(o, "invites", syncd_json_invites(sd));
	json_object_set_new(o, "join", syncd_json_join(sd));
	return o;
}

json_t *
syncd_domain_log(void *arg)
{
	const struct syncd *sd = arg;
	const struct members *ms = sd->domain->ms;
	json_t *list = json_array(), *out = json_object();

	for (uint64_t seq = 1; seq <= members_seq(ms); seq++) {
		struct members_entry e;
		json_t *o;

		if (members_entry_decode(&e, members_entry(ms, seq), NULL) < 0)
			break;
		o = json_object();
		json_object_set_new(o, "seq", json_integer((json_int_t)seq));
		json_object_set_new(o, "time", syncd_json_time(e.wall_s));
		json_object_set_new(o, "kind",
		    json_string(members_entry_kind_text(e.kind)));
		json_object_set_new(o, "device",
		    devid_is_none(&e.device) ? json_string("")
					     : syncd_json_devid(&e.device));
		json_object_set_new(o, "other",
		    devid_is_none(&e.other) ? json_string("")
					    : syncd_json_devid(&e.other));
		json_object_set_new(o, "name", json_string(e.name));
		json_object_set_new(o, "by",
		    devid_is_none(&e.by) ? json_string("")
					 : syncd_json_member(sd, &e.by));
		json_object_set_new(o, "digest",
		    syncd_json_hex(e.digest.b, sizeof(e.digest.b)));
		json_array_append_new(list, o);
	}
	json_object_set_new(out, "entries", list);
	return out;
}

/* --- What is done --- */

/* A member, by name, by ID, or by what an ID begins with. */
static int
syncd_find_member(const struct syncd *sd, struct slice text,
    const struct member **out, struct err *err)
{
	const struct members *ms = sd->domain->ms;
	const struct member *m;
	size_t hits = 0;

	for (size_t i = 0; (m = members_at(ms, i)) != NULL; i++)
		if (slice_equal(slice_str(m->name), text)) {
			*out = m;
			return 0;
		}
	for (size_t i = 0; (m = members_at(ms, i)) != NULL; i++) {
		char id[DEVID_TEXT_LEN + 1];

		devid_text(&m->id, id);
		if (text.len < DEVID_SHORT_TEXT_LEN ||
		    !slice_has_prefix(slice_str(id), text))
			continue;
		*out = m;
		hits++;
	}
	if (hits == 1)
		return 0;
	return err_set(err, ERR_NOT_FOUND, "no member \"%.*s\"",
	    SLICE_FMT(text));
}

static int
syncd_do_invite(struct syncd *sd, const struct api_domain_ask *ask, json_t *out,
    struct err *err)
{
	int64_t expires_s = JOIN_EXPIRES_S;
	struct sign_secret recovery;
	char text[DOMAIN_KEY_TEXT_MAX];
	uint32_t number;
	int rc = 0;

	if (ask->expires_s > SYNCD_EXPIRES_MAX_S)
		return err_set(err, ERR_INVALID,
		    "a code is good for a day at most");
	if (ask->expires_s > 0)
		expires_s = (int64_t)ask->expires_s;
	if (net_coord_at(sd->net, 0) == NULL)
		return err_set(err, ERR_INVALID,
		    "no coordinator is configured, so nobody could come: set "
		    "mesh.coordinator");
	if (!sd->domain->has_pin) {
		rc = syncd_domain_found(sd, &recovery, err);
		if (rc == 0) {
			domain_record_key_text(&recovery, text);
			json_object_set_new(out, "recovery", json_string(text));
		}
		sign_wipe(&recovery, sizeof(recovery));
		sign_wipe(text, sizeof(text));
	}
	if (rc == 0)
		rc = syncd_invite(sd, expires_s, ask->approve, &number, err);
	if (rc == 0)
		json_object_set_new(out, "invite",
		    json_integer((json_int_t)number));
	return rc;
}

static int
syncd_do_join(struct syncd *sd, const struct api_domain_ask *ask, json_t *out,
    struct err *err)
{
	char name[MEMBERS_NAME_MAX];
	struct coord_url url = { 0 };
	struct join_place place;
	struct join_code code;
	uint32_t number;
	int rc = join_code_parse(&code, &place, ask->code, err);

	if (rc == 0 && ask->coordinator.len > 0)
		rc = coord_parse_url(&url, ask->coordinator, err);
	if (rc < 0)
		return err_set(err, ERR_INVALID, "%s",
		    err->text[0] == '\0' ? "this is no code" : err->text);
	snprintf(name, sizeof(name), "%.*s",
	    SLICE_FMT(ask->name.len > 0 ? ask->name : sd->cfg.setup.name));
	rc = syncd_join(sd, &code, ask->coordinator.len > 0 ? &url.at : NULL,
	    name, &number, err);
	sign_wipe(&code, sizeof(code));
	if (rc == 0)
		json_object_set_new(out, "join",
		    json_integer((json_int_t)number));
	return rc;
}

static int
syncd_do_revoke(struct syncd *sd, const struct api_domain_ask *ask,
    struct err *err)
{
	struct members_entry e = { .kind = MEMBERS_REMOVE };
	const struct member *m;
	const int rc = syncd_find_member(sd, ask->device, &m, err);

	if (rc < 0)
		return rc;
	e.device = m->id;
	if (devid_equal(&m->id, identity_devid(sd->identity)))
		return err_set(err, ERR_INVALID,
		    "that is this device; do it on another one that has an "
		    "owner's key");
	return syncd_domain_make(sd, &e, err);
}

static int
syncd_do_rename(struct syncd *sd, const struct api_domain_ask *ask,
    struct err *err)
{
	struct members_entry e = { .kind = MEMBERS_RENAME };
	const struct member *m;
	const int rc = syncd_find_member(sd, ask->device, &m, err);

	if (rc < 0)
		return rc;
	if (!members_entry_name_is_good(ask->name))
		return err_set(err, ERR_INVALID,
		    "a name has 1 to 63 bytes, and no control characters");
	e.device = m->id;
	memcpy(e.name, ask->name.ptr, ask->name.len);
	return syncd_domain_make(sd, &e, err);
}

/* "any", or a member. */
static int
syncd_find_side(const struct syncd *sd, struct slice text, struct devid *out,
    struct err *err)
{
	const struct member *m;
	int rc;

	if (slice_equal(text, SLICE_LIT("any")))
		return 0;
	rc = syncd_find_member(sd, text, &m, err);
	if (rc == 0)
		*out = m->id;
	return rc;
}

static int
syncd_do_rule(struct syncd *sd, const struct api_domain_ask *ask,
    struct err *err)
{
	struct members_entry e = { .kind = MEMBERS_ALLOW,
		.allowed = ask->allow };
	size_t s = 0;
	int rc = syncd_find_side(sd, ask->device, &e.device, err);

	if (rc == 0)
		rc = syncd_find_side(sd, ask->to, &e.other, err);
	while (ask->service.len > 0 && s < SYNCD_SERVICES &&
	       !slice_equal(ask->service, slice_str(syncd_service_name[s])))
		s++;
	if (rc == 0 && s == SYNCD_SERVICES)
		rc = err_set(err, ERR_INVALID,
		    "a service is all, sync, drop, diag or forward");
	if (rc < 0)
		return rc;
	e.service = (enum members_service)s;
	return syncd_domain_make(sd, &e, err);
}

static int
syncd_do_recover(struct syncd *sd, const struct api_domain_ask *ask,
    struct err *err)
{
	struct sign_secret key;
	int rc = domain_record_key(&key, ask->key, err);

	if (rc == 0)
		rc = syncd_domain_recover(sd, &key, err);
	sign_wipe(&key, sizeof(key));
	return rc;
}

static int
syncd_do_rotate_device(struct syncd *sd, const struct api_domain_ask *ask,
    json_t *out, struct err *err)
{
	int64_t grace_s = SYNCD_GRACE_S;
	const struct member *m;
	struct devid id;
	bool is_signed;
	int rc;

	if (ask->grace_s > SYNCD_GRACE_MAX_S)
		return err_set(err, ERR_INVALID,
		    "an old key is heard for a year at most");
	if (ask->grace_s > 0)
		grace_s = (int64_t)ask->grace_s;
	if (ask->device.len > 0) {
		rc = syncd_find_member(sd, ask->device, &m, err);
		if (rc == 0 && devid_parse(&id, ask->id, err) < 0)
			rc = ERR_INVALID;
		return rc < 0 ? rc
			      : syncd_rotate_member(sd, m, &id, grace_s, err);
	}
	rc = syncd_rotate_self(sd, grace_s, err);
	if (rc >= 0 && syncd_rotate_next(sd, &id, &is_signed)) {
		json_object_set_new(out, "id", syncd_json_devid(&id));
		json_object_set_new(out, "signed", json_boolean(is_signed));
	}
	return rc;
}

static int
syncd_do(struct syncd *sd, const struct api_domain_ask *ask, json_t *out,
    struct err *err)
{
	switch (ask->verb) {
	case API_DOMAIN_INVITE:
		return syncd_do_invite(sd, ask, out, err);
	case API_DOMAIN_JOIN:
		return syncd_do_join(sd, ask, out, err);
	case API_DOMAIN_APPROVE:
		return syncd_approve(sd, ask->device, true, err);
	case API_DOMAIN_DENY:
		return syncd_approve(sd, ask->device, false, err);
	case API_DOMAIN_REVOKE:
		return syncd_do_revoke(sd, ask, err);
	case API_DOMAIN_RENAME:
		return syncd_do_rename(sd, ask, err);
	case API_DOMAIN_RULE:
		return syncd_do_rule(sd, ask, err);
	case API_DOMAIN_RECOVER:
		return syncd_do_recover(sd, ask, err);
	case API_DOMAIN_ROTATE:
		return syncd_keys_rotate(sd, err);
	case API_DOMAIN_ROTATE_DEVICE:
		return syncd_do_rotate_device(sd, ask, out, err);
	case API_DOMAIN_NEW_KEY:
		return syncd_keys_new(sd, err);
	case API_DOMAIN_OWNER:
		return syncd_keys_owner(sd, ask->key, ask->add, err);
	case API_DOMAIN_QUORUM:
		return syncd_keys_quorum(sd, ask->need, err);
	case API_DOMAIN_SIGN:
		return syncd_ballot_answer(sd, ask->wish, true, err);
	case API_DOMAIN_REJECT:
		return syncd_ballot_answer(sd, ask->wish, false, err);
	}
	return ERR_INVALID;
}

int
syncd_domain_do(void *arg, const struct api_domain_ask *ask, json_t *out,
    struct err *err)
{
	struct syncd *sd = arg;
	const struct ballot_item *it;
	int rc;

	if (sd->net == NULL || sd->stopping)
		return err_set(err, ERR_BUSY,
		    sd->stopping ? "syncd is stopping"
				 : "this device takes another key just now");
	rc = syncd_do(sd, ask, out, err);
	for (size_t i = 0;
	     rc > 0 && (it = ballot_at(sd->domain->ballot, i)) != NULL; i++)
		if (digest_equal(&it->wish, &sd->domain->waits))
			json_object_set_new(out, "waits",
			    syncd_json_ballot_item(sd, it));
	return rc < 0 ? rc : 0;
}
