/*
 * syncctl netcheck: what is between this node and the others.
 */
#include "cli/cmd.h"

#include <inttypes.h>
#include <string.h>

#include "cli/print.h"

#define NETCHECK_STEP_MS 100u
#define NETCHECK_WAIT_MS 20000u /* a check takes 13 s at most */

/* Have the daemon ask, and wait until it knows. */
static int
cmd_netcheck_ask(struct cmd_call *call, json_t **out)
{
	int64_t rounds;
	int code = cmd_ask(call, "POST", "/v1/netcheck/run", out);

	if (code != CMD_OK)
		return code;
	rounds = cmd_int(*out, "rounds");
	for (unsigned ms = 0; ms < NETCHECK_WAIT_MS; ms += NETCHECK_STEP_MS) {
		if (!cmd_bool(*out, "running") &&
		    (cmd_int(*out, "rounds") > rounds ||
			!cmd_bool(*out, "listens")))
			return CMD_OK;
		if (!cmd_sleep_ms(NETCHECK_STEP_MS))
			return CMD_INTERRUPTED;
		json_decref(*out);
		*out = NULL;
		code = cmd_ask(call, "GET", "/v1/netcheck", out);
		if (code != CMD_OK)
			return code;
	}
	return CMD_OK; /* with what is known by now */
}

static int
cmd_netcheck_code(const json_t *o)
{
	const json_t *udp = json_object_get(o, "udp");

	return json_is_false(udp) || !cmd_bool(o, "listens") ? CMD_ATTENTION
							     : CMD_OK;
}

/* "12.3 ms" */
static const char *
cmd_netcheck_ms(struct cmd_call *call, const json_t *o)
{
	const json_t *ms = json_object_get(o, "rtt_ms");

	return json_is_number(ms)
		   ? arena_printf(&call->ar, "%.1f ms", json_number_value(ms))
		   : "";
}

static const char *
cmd_netcheck_varies(const json_t *family)
{
	const json_t *varies = json_object_get(family, "varies");

	if (strcmp(cmd_text(family, "mapping"), "none") == 0)
		return "no NAT";
	if (json_is_null(varies))
		return "one server at one port is too few to tell its kind";
	return json_is_true(varies)
		   ? "it depends on who is asked (hard to reach directly)"
		   : "the same for everyone";
}

static void
cmd_netcheck_family(struct cmd_call *call, const json_t *o, const char *key,
    const char *name)
{
	const json_t *f = json_object_get(o, key);
	const json_t *hairpin = json_object_get(f, "hairpin");
	const json_t *life = json_object_get(f, "life");

	if (cmd_int(f, "asked") == 0) {
		printf("%-6s %s\n", name, "not asked");
		return;
	}
	if (cmd_int(f, "answered") == 0) {
		printf("%-6s no answer\n", name);
		return;
	}
	printf("%-6s %s   %s\n", name,
	    print_safe(&call->ar, cmd_text(f, "mapped")),
	    cmd_netcheck_ms(call, f));
	printf("       mapping: %s; %s\n", cmd_text(f, "mapping"),
	    cmd_netcheck_varies(f));
	if (!json_is_null(hairpin))
		printf("       hairpin: %s\n",
		    json_is_true(hairpin) ? "yes" : "no");
	if (!json_is_object(life))
		return;
	printf("       unused, it is kept for %" PRId64 " s",
	    cmd_int(life, "kept_s"));
	if (!json_is_null(json_object_get(life, "forgotten_s")))
		printf(", not for %" PRId64 " s", cmd_int(life, "forgotten_s"));
	putchar('\n');
}

static void
cmd_netcheck_list(struct cmd_call *call, const json_t *o, const char *key,
    const char *good, const char *name)
{
	const json_t *list = json_object_get(o, key), *item;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	printf("%s\n", name);
	json_array_foreach(list, i, item) {
		const bool ok = cmd_bool(item, good);
		const char *error = cmd_text(item, "error");

		printf("       %s  %s\n",
		    print_safe(&call->ar, cmd_text(item, "address")),
		    ok                 ? cmd_netcheck_ms(call, item)
		    : error[0] != '\0' ? print_safe(&call->ar, error)
				       : "no answer");
	}
}

/* ", B, C" */
static void
cmd_netcheck_users(struct cmd_call *call, const json_t *relay)
{
	const json_t *list = json_object_get(relay, "used_by"), *name;
	size_t i;

	json_array_foreach(list, i, name) {
		printf("%s%s", i == 0 ? "   used by " : ", ",
		    print_safe(&call->ar, json_string_value(name)));
	}
	putchar('\n');
}

/* The nearest first. */
static void
cmd_netcheck_relays(struct cmd_call *call, const json_t *o)
{
	const json_t *list = json_object_get(o, "relays"), *relay;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	puts("Relays");
	json_array_foreach(list, i, relay) {
		const char *error = cmd_text(relay, "error");

		printf("       %s  %s",
		    print_safe(&call->ar, cmd_text(relay, "address")),
		    cmd_bool(relay, "joined")   ? cmd_netcheck_ms(call, relay)
		    : error[0] != '\0'          ? print_safe(&call->ar, error)
		    : !cmd_bool(relay, "waits") ? "not waited at"
						: "no answer");
		cmd_netcheck_users(call, relay);
	}
}

static void
cmd_netcheck_portmap(struct cmd_call *call, const json_t *o)
{
	const json_t *list = json_object_get(o, "portmap"), *item;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	puts("Ports of the router");
	json_array_foreach(list, i, item) {
		const bool open = cmd_bool(item, "open");
		const char *error = cmd_text(item, "error");

		printf("       %s  %s%s%s\n",
		    print_safe(&call->ar, cmd_text(item, "port")),
		    open               ? cmd_text(item, "method")
		    : error[0] != '\0' ? print_safe(&call->ar, error)
				       : "not open",
		    open ? " " : "",
		    open ? print_safe(&call->ar, cmd_text(item, "address"))
			 : "");
	}
}

static void
cmd_netcheck_advise(const json_t *o)
{
	if (!cmd_bool(o, "listens"))
		puts("Nothing listens on QUIC here: give mesh.listen "
		     "quic://:22000.");
	else if (cmd_int(json_object_get(o, "ipv4"), "asked") +
		     cmd_int(json_object_get(o, "ipv6"), "asked") ==
		 0)
		puts("No server was asked: syncctl config set mesh.stun "
		     "stun://HOST:PORT.");
	else if (json_is_false(json_object_get(o, "udp")))
		puts("No server answered: UDP seems to be blocked.  Devices "
		     "are reached by TCP and by relays.");
}

int
cmd_netcheck(struct cmd_call *call)
{
	const json_t *udp;
	json_t *o = NULL;
	int code;

	cmd_catch_interrupt();
	code = cmd_netcheck_ask(call, &o);
	if (code != CMD_OK) {
		json_decref(o);
		return code;
	}
	code = cmd_netcheck_code(o);
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, code);
	udp = json_object_get(o, "udp");
	printf("UDP    %s\n", json_is_true(udp)    ? "yes"
			      : json_is_false(udp) ? "no answer"
						   : "unknown");
	cmd_netcheck_family(call, o, "ipv4", "IPv4");
	cmd_netcheck_family(call, o, "ipv6", "IPv6");
	cmd_netcheck_list(call, o, "servers", "answered", "STUN");
	cmd_netcheck_relays(call, o);
	cmd_netcheck_list(call, o, "coordinators", "up", "Coordinators");
	cmd_netcheck_portmap(call, o);
	cmd_netcheck_advise(o);
	json_decref(o);
	return code;
}
