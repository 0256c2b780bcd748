/* syncctl device invite|approve|deny|revoke, join, domain: who belongs here. */
#include "cli/cmd.h"

#include <string.h>

#include "cli/print.h"
#include "engine/base/clock.h"
#include "mesh/coord.h"
#include "mesh/join.h"

#define CMD_DOMAIN_WAIT_MS 15000 /* for a box, or an answer */
#define CMD_DOMAIN_JOIN_MS 45000 /* the daemon gives up before */
#define CMD_DOMAIN_NAP_MS 100

static void
cmd_domain_text(struct cmd_call *call, const char *label, const json_t *o,
    const char *key)
{
	printf("%-12s %s\n", label, print_safe(&call->ar, cmd_text(o, key)));
}

/* --- Inviting --- */

static const json_t *
cmd_domain_numbered(const json_t *list, int64_t number)
{
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
		if (cmd_int(o, "number") == number)
			return o;
	return NULL;
}

/*
 * The invitation once it is no longer in `state`; an exit code.  *out is owned
 * by the caller, *in borrows from it.
 */
static int
cmd_domain_await(struct cmd_call *call, int64_t number, const char *state,
    int64_t until_ms, json_t **out, const json_t **in)
{
	for (;;) {
		const int code = cmd_ask(call, "GET", "/v1/domain", out);

		if (code != CMD_OK)
			return code;
		*in = cmd_domain_numbered(json_object_get(*out, "invites"),
		    number);
		if (*in == NULL || strcmp(cmd_text(*in, "state"), state) != 0)
			return CMD_OK;
		if (cmd_now_ms() >= until_ms)
			return CMD_TIMEOUT;
		json_decref(*out);
		*out = NULL;
		if (!cmd_sleep_ms(CMD_DOMAIN_NAP_MS))
			return CMD_INTERRUPTED;
	}
}

static void
cmd_domain_print_recovery(const char *key)
{
	printf("This device has founded a domain.  Its recovery key:\n\n"
	       "    %s\n\n"
	       "It is shown this once and kept nowhere.  Write it down: it "
	       "alone gives the\ndomain back when the owner's key is lost or "
	       "stolen.\n\n",
	    key);
}

static void
cmd_domain_print_invite(struct cmd_call *call, const json_t *in)
{
	const char *code = cmd_text(in, "code");
	const char *link = cmd_text(in, "link");

	printf("On the device that shall join:\n\n"
	       "    syncctl join %s\n\n"
	       "or, where no coordinator is configured yet:\n\n"
	       "    syncctl join '%s'\n\n"
	       "Good once, until %s.\n",
	    code, link, cmd_when(&call->ar, cmd_time(cmd_text(in, "expires"))));
}

/* Until somebody came, or it is over; an exit code. */
static int
cmd_domain_wait_joined(struct cmd_call *call, int64_t number)
{
	json_t *answer = NULL;
	const json_t *in;
	int code;

	cmd_catch_interrupt();
	code = cmd_domain_await(call, number, "open", INT64_MAX, &answer, &in);
	if (code == CMD_OK && in != NULL &&
	    strcmp(cmd_text(in, "why"), "used") == 0) {
		printf("%s has joined%s\n",
		    print_safe(&call->ar, cmd_text(in, "name")),
		    cmd_bool(in, "approve") ? "; approve it: syncctl device "
					      "approve"
					    : "");
	} else if (code == CMD_OK) {
		code = cmd_fail_as(call, CMD_REFUSED, "syncctl device invite",
		    "nobody joined: the code is %s",
		    in == NULL ? "over" : cmd_text(in, "why"));
	}
	json_decref(answer);
	return code;
}

static int
cmd_domain_show_invite(struct cmd_call *call, json_t *asked, const json_t *in)
{
	const char *recovery = cmd_text(asked, "recovery");
	json_t *o;

	if (options_has(&call->opt, "json")) {
		o = cmd_object();
		json_object_update(o, (json_t *)(uintptr_t)in);
		if (recovery[0] != '\0')
			json_object_set_new(o, "recovery",
			    json_string(recovery));
		return cmd_print_json(o, CMD_OK);
	}
	if (recovery[0] != '\0')
		cmd_domain_print_recovery(recovery);
	cmd_domain_print_invite(call, in);
	if (options_has(&call->opt, "qr"))
		print_qr(stdout, cmd_text(in, "link"));
	return CMD_OK;
}

/* Why there is no code; what the first line that is not up says. */
static int
cmd_domain_no_box(struct cmd_call *call)
{
	const char *unserved = coord_code_text(COORD_NO_DOMAIN);
	const char *why = "", *next = "syncctl doctor";
	json_t *status = NULL, *item;
	struct err err = { 0 };
	size_t i;
	int code;

	if (cmd_try(call, "GET", "/v1/status", 0, &status, &err) != CMD_OK)
		status = NULL;
	json_array_foreach(json_object_get(status, "coordinators"), i, item)
		if (why[0] == '\0')
			why = cmd_text(item, "error");
	if (strcmp(why, unserved) == 0)
		next = arena_printf(&call->ar,
		    "at the coordinator:  syncctl device add %s --name NAME",
		    cmd_text(status, "id"));
	code = cmd_fail_as(call, CMD_OFFLINE, next,
	    "the coordinator gives no box for the code%s%s",
	    why[0] == '\0' ? "" : ": ", why);
	json_decref(status);
	return code;
}

int
cmd_domain_invite(struct cmd_call *call)
{
	const char *expires = options_value(&call->opt, "expires");
	char *path = arena_printf(&call->ar, "/v1/domain/invite?approve=%d",
	    options_has(&call->opt, "approve"));
	json_t *asked, *answer = NULL;
	const json_t *in = NULL;
	struct err err = { 0 };
	uint64_t ns = 0;
	int64_t number;
	int code;

	if (expires != NULL &&
	    (config_parse_duration(slice_str(expires), &ns, &err) < 0 ||
		ns < CLOCK_S))
		return cmd_usage(call, "--expires takes a time such as 15m");
	if (expires != NULL)
		path = cmd_query(call, path, "expires",
		    arena_printf(&call->ar, "%llu",
			(unsigned long long)(ns / CLOCK_S)));
	code = cmd_ask(call, "POST", path, &asked);
	if (code != CMD_OK)
		return code;
	number = cmd_int(asked, "invite");
	code = cmd_domain_await(call, number, "opening",
	    cmd_now_ms() + CMD_DOMAIN_WAIT_MS, &answer, &in);
	if (code == CMD_OK && in != NULL &&
	    strcmp(cmd_text(in, "state"), "open") == 0) {
		code = cmd_domain_show_invite(call, asked, in);
		fflush(stdout);
		if (code == CMD_OK && options_has(&call->opt, "wait"))
			code = cmd_domain_wait_joined(call, number);
	} else if (code == CMD_OK || code == CMD_TIMEOUT) {
		/* The key is not shown a second time. */
		if (cmd_text(asked, "recovery")[0] != '\0')
			cmd_domain_print_recovery(cmd_text(asked, "recovery"));
		code = cmd_domain_no_box(call);
	}
	json_decref(asked);
	json_decref(answer);
	return code;
}

/* --- Joining --- */

/* Is that coordinator in the configuration?  Else put it there. */
static int
cmd_domain_need_coordinator(struct cmd_call *call, struct slice url)
{
	struct config_file *cf;
	struct err err = { 0 };
	struct config cfg;
	int code = cmd_config(call, &cfg);
	int rc;

	if (code != CMD_OK)
		return code;
	for (size_t i = 0; i < cfg.mesh.coordinator_count; i++)
		if (slice_equal(cfg.mesh.coordinator[i], url))
			return CMD_OK;
	code = cmd_edit(call, &cf);
	if (code != CMD_OK)
		return code;
	rc = config_file_add(cf, "mesh.coordinator", url, &err);
	return cmd_edit_end(call, cf, rc, &err);
}

/* The coordinator that was named, or that the code names; NULL: none was. */
static const char *
cmd_domain_coordinator(struct cmd_call *call, const struct join_place *place)
{
	const char *given = options_value(&call->opt, "coordinator");
	char id[DEVID_TEXT_LEN + 1];

	if (given != NULL || place->at.len == 0)
		return given;
	if (!place->has_coordinator)
		return arena_printf(&call->ar, "%.*s", SLICE_FMT(place->at));
	devid_text(&place->coordinator, id);
	return arena_printf(&call->ar, "%.*s?id=%s", SLICE_FMT(place->at), id);
}

static int
cmd_domain_join_over(struct cmd_call *call, json_t *domain, const json_t *join)
{
	const char *state = cmd_text(join, "state");
	const bool refused = strcmp(state, "refused") == 0;
	const bool absent = strcmp(cmd_text(join, "why"), "no-answer") == 0;
	int code = CMD_OK;
	json_t *o;

	if (refused)
		code = absent ? CMD_OFFLINE : CMD_REFUSED;
	else if (strcmp(state, "done") != 0)
		code = CMD_ATTENTION;
	if (options_has(&call->opt, "json")) {
		o = cmd_object();
		json_object_update(o, (json_t *)(uintptr_t)join);
		json_object_set(o, "domain", json_object_get(domain, "id"));
		json_object_set(o, "members",
		    json_object_get(domain, "members"));
		return cmd_print_json(o, code);
	}
	if (refused)
		cmd_say("%s (%s)",
		    print_safe(&call->ar, cmd_text(join, "reason")),
		    cmd_text(join, "why"));
	else if (strcmp(state, "pending") == 0)
		puts("The code is right.  An owner has to approve this device "
		     "where the code was made\nor, when more than one must "
		     "sign, where another one is:\n"
		     "    syncctl device approve NAME");
	else if (code != CMD_OK)
		puts("Let in; the domain's log has not come yet.");
	else
		printf("This device belongs to \"%s\" now: %zu devices.\n"
		       "Share folders with them:  syncctl folder share FOLDER "
		       "DEVICE\n",
		    print_safe(&call->ar, cmd_text(domain, "name")),
		    json_array_size(json_object_get(domain, "members")));
	return code;
}

static bool
cmd_domain_is_under_way(const char *state)
{
	return strcmp(state, "dialling") == 0 || strcmp(state, "asking") == 0 ||
	       strcmp(state, "welcome") == 0;
}

static int
cmd_domain_join_wait(struct cmd_call *call, int64_t number)
{
	const int64_t until_ms = cmd_now_ms() + CMD_DOMAIN_JOIN_MS;

	for (;;) {
		json_t *domain;
		const json_t *join;
		int code = cmd_ask(call, "GET", "/v1/domain", &domain);

		if (code != CMD_OK)
			return code;
		join = json_object_get(domain, "join");
		if (cmd_int(join, "number") != number ||
		    !cmd_domain_is_under_way(cmd_text(join, "state")) ||
		    cmd_now_ms() >= until_ms) {
			code = cmd_domain_join_over(call, domain, join);
			json_decref(domain);
			return code;
		}
		json_decref(domain);
		if (!cmd_sleep_ms(CMD_DOMAIN_NAP_MS))
			return CMD_INTERRUPTED;
	}
}

int
cmd_domain_join(struct cmd_call *call)
{
	const char *name = options_value(&call->opt, "name");
	const char *coordinator;
	struct join_place place;
	struct join_code typed;
	struct coord_url url;
	struct err err = { 0 };
	json_t *asked;
	char *path;
	int code;

	if (join_code_parse(&typed, &place, slice_str(call->opt.arg[0]), &err) <
	    0)
		return cmd_usage(call, "%s", err.text);
	coordinator = cmd_domain_coordinator(call, &place);
	if (coordinator != NULL &&
	    coord_parse_url(&url, slice_str(coordinator), &err) < 0)
		return cmd_usage(call, "--coordinator %s", err.text);
	code = coordinator == NULL
		   ? CMD_OK
		   : cmd_domain_need_coordinator(call, slice_str(coordinator));
	if (code != CMD_OK)
		return code;
	path = cmd_query(call, "/v1/domain/join", "code", call->opt.arg[0]);
	if (coordinator != NULL)
		path = cmd_query(call, path, "coordinator", coordinator);
	if (name != NULL)
		path = cmd_query(call, path, "name", name);
	code = cmd_ask(call, "POST", path, &asked);
	if (code != CMD_OK)
		return code;
	code = cmd_domain_join_wait(call, cmd_int(asked, "join"));
	json_decref(asked);
	return code;
}

/* --- Changes --- */

/* It was signed here, and more owners have to. */
void
cmd_domain_print_waits(const json_t *w)
{
	printf("%lld of %lld signatures are there.  Another owner signs it "
	       "with\n    syncctl domain sign %s\n",
	    (long long)cmd_int(w, "signed"), (long long)cmd_int(w, "need"),
	    cmd_text(w, "id"));
}

/* Nothing to say when it is done. */
int
cmd_domain_post(struct cmd_call *call, const char *path)
{
	const json_t *waits;
	json_t *answer;
	int code = cmd_ask(call, "POST", path, &answer);

	if (code != CMD_OK)
		return code;
	waits = json_object_get(answer, "waits");
	if (waits != NULL) {
		cmd_domain_print_waits(waits);
		code = CMD_ATTENTION;
	}
	json_decref(answer);
	return code;
}

static int
cmd_domain_about(struct cmd_call *call, const char *path)
{
	return cmd_domain_post(call,
	    cmd_query(call, path, "device", call->opt.arg[0]));
}

int
cmd_domain_approve(struct cmd_call *call)
{
	return cmd_domain_about(call, "/v1/domain/approve");
}

int
cmd_domain_refuse(struct cmd_call *call)
{
	return cmd_domain_about(call, "/v1/domain/deny");
}

int
cmd_domain_revoke(struct cmd_call *call)
{
	return cmd_domain_about(call, "/v1/domain/revoke");
}

int
cmd_domain_rename(struct cmd_call *call, const char *device, const char *to)
{
	char *path = cmd_query(call, "/v1/domain/rename", "device", device);

	return cmd_domain_post(call, cmd_query(call, path, "name", to));
}

static int
cmd_domain_rule(struct cmd_call *call, bool allow)
{
	const char *service =
	    call->opt.arg_count > 2 ? call->opt.arg[2] : "all";
	char *path = arena_printf(&call->ar, "/v1/domain/rule?allow=%d", allow);

	path = cmd_query(call, path, "device", call->opt.arg[0]);
	path = cmd_query(call, path, "to", call->opt.arg[1]);
	return cmd_domain_post(call, cmd_query(call, path, "service", service));
}

int
cmd_domain_allow(struct cmd_call *call)
{
	return cmd_domain_rule(call, true);
}

int
cmd_domain_forbid(struct cmd_call *call)
{
	return cmd_domain_rule(call, false);
}

int
cmd_domain_recover(struct cmd_call *call)
{
	char key[256] = "";
	int code;

	/* Not as an argument: others see those. */
	fputs("Recovery key: ", stderr);
	if (fgets(key, sizeof(key), stdin) == NULL)
		return cmd_usage(call, "no key came from standard input");
	code = cmd_domain_post(call,
	    cmd_query(call, "/v1/domain/recover", "key", key));
	if (code == CMD_OK)
		puts("This device has the owner's key now; the old one is "
		     "worth nothing.");
	return code;
}

int
cmd_domain_sign(struct cmd_call *call)
{
	return cmd_domain_post(call,
	    cmd_query(call, "/v1/domain/sign", "id", call->opt.arg[0]));
}

int
cmd_domain_reject(struct cmd_call *call)
{
	return cmd_domain_post(call,
	    cmd_query(call, "/v1/domain/reject", "id", call->opt.arg[0]));
}

int
cmd_domain_quorum(struct cmd_call *call)
{
	return cmd_domain_post(call,
	    cmd_query(call, "/v1/domain/quorum", "need", call->opt.arg[0]));
}

int
cmd_domain_owner_add(struct cmd_call *call)
{
	return cmd_domain_post(call,
	    cmd_query(call, "/v1/domain/owner?add=1", "key", call->opt.arg[0]));
}

int
cmd_domain_owner_remove(struct cmd_call *call)
{
	return cmd_domain_post(call,
	    cmd_query(call, "/v1/domain/owner?add=0", "key", call->opt.arg[0]));
}

/* --- Questions --- */

static void
cmd_domain_print_ballot(struct cmd_call *call, const json_t *o)
{
	const json_t *b;
	size_t i;

	json_array_foreach(json_object_get(o, "ballot"), i, b)
		printf("%s %s%s%s has %lld of %lld signatures: syncctl domain "
		       "sign %s\n",
		    cmd_text(b, "kind"),
		    print_safe(&call->ar, cmd_text(b, "device")),
		    cmd_text(b, "name")[0] != '\0' ? " " : "",
		    print_safe(&call->ar, cmd_text(b, "name")),
		    (long long)cmd_int(b, "signed"),
		    (long long)cmd_int(b, "need"), cmd_text(b, "id"));
}

static void
cmd_domain_print_members(struct cmd_call *call, const json_t *o)
{
	const int64_t now = cmd_now_s();
	struct print_table t;
	const json_t *m;
	size_t i;

	print_table_init(&t, &call->ar, 4, 0);
	print_cell(&t, "MEMBER");
	print_cell(&t, "ID");
	print_cell(&t, "SINCE");
	print_cell(&t, "");
	json_array_foreach(json_object_get(o, "members"), i, m) {
		print_cell(&t, print_safe(&call->ar, cmd_text(m, "name")));
		print_cell(&t,
		    arena_printf(&call->ar, "%.7s…", cmd_text(m, "id")));
		print_cell(&t,
		    print_age(&call->ar, cmd_time(cmd_text(m, "since")), now));
		print_cell(&t, cmd_bool(m, "self") ? "this device" : "");
	}
	print_table(&t, stdout);
	json_array_foreach(json_object_get(o, "pending"), i, m)
		printf("%s waits: syncctl device approve %.7s…\n",
		    print_safe(&call->ar, cmd_text(m, "name")),
		    cmd_text(m, "id"));
	json_array_foreach(json_object_get(o, "rules"), i, m)
		printf("rule         %s may %suse %s of %s\n",
		    print_safe(&call->ar, cmd_text(m, "from")),
		    cmd_bool(m, "allowed") ? "" : "not ",
		    cmd_text(m, "service"),
		    print_safe(&call->ar, cmd_text(m, "to")));
}

int
cmd_domain_status(struct cmd_call *call)
{
	json_t *o;
	const char *state;
	int code = cmd_ask(call, "GET", "/v1/domain", &o);

	if (code != CMD_OK)
		return code;
	state = cmd_text(o, "state");
	code = strcmp(state, "member") == 0 || strcmp(state, "none") == 0
		   ? CMD_OK
		   : CMD_ATTENTION;
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, code);
	if (strcmp(state, "none") == 0) {
		puts("No domain.  Found one and invite a device:  syncctl "
		     "device invite");
	} else {
		cmd_domain_text(call, "domain", o, "name");
		printf("%-12s %.16s…\n", "id", cmd_text(o, "id"));
		printf("%-12s %s\n", "state", state);
		printf("%-12s %lld entries, head %.16s…\n", "log",
		    (long long)cmd_int(o, "seq"), cmd_text(o, "head"));
		printf("%-12s %s; %lld of %lld must sign\n", "owner's key",
		    cmd_bool(o, "owner") ? "here" : "not here",
		    (long long)cmd_int(o, "need"),
		    (long long)cmd_int(o, "owners"));
		cmd_domain_print_members(call, o);
		cmd_domain_print_ballot(call, o);
	}
	json_decref(o);
	return code;
}

int
cmd_domain_log(struct cmd_call *call)
{
	json_t *o;
	const json_t *e;
	size_t i;
	const int code = cmd_ask(call, "GET", "/v1/domain/log", &o);

	if (code != CMD_OK)
		return code;
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	if (options_has(&call->opt, "jsonl"))
		return cmd_print_jsonl(o, "entries", CMD_OK);
	json_array_foreach(json_object_get(o, "entries"), i, e)
		printf("%4lld  %s  %-7s %.7s %s (signed at %s)\n",
		    (long long)cmd_int(e, "seq"), cmd_text(e, "time"),
		    cmd_text(e, "kind"), cmd_text(e, "device"),
		    print_safe(&call->ar, cmd_text(e, "name")),
		    print_safe(&call->ar, cmd_text(e, "by")));
	json_decref(o);
	return CMD_OK;
}
