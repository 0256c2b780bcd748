/*
 * syncctl ping, whois, refresh, device diag: the way to a device.
 */
#include "cli/cmd.h"

#include <stdlib.h>
#include <string.h>

#include "cli/print.h"

#define CMD_PING_COUNT 4
#define CMD_PING_PAUSE_MS 1000
#define CMD_PING_WAIT_S 5      /* for one answer */
#define CMD_PING_SETTLE_MS 300 /* a transport measures anew */
#define CMD_PING_DIRECT_S 30   /* --until-direct, unless --timeout says */

char *
cmd_path_text(struct arena *ar, const json_t *path)
{
	const char *kind = cmd_text(path, "kind");
	const bool relay = strcmp(kind, "relay") == 0;

	if (strcmp(kind, "asleep") == 0)
		return arena_printf(ar, "asleep (woken when needed)");
	if (!relay && strcmp(kind, "direct") != 0)
		return arena_printf(ar, "not connected");
	if (relay)
		return arena_printf(ar, "relay %s (%s)",
		    cmd_text(path, "address"), cmd_text(path, "why"));
	return arena_printf(ar, "direct %s %s (%s)",
	    cmd_text(path, "transport"), cmd_text(path, "address"),
	    cmd_text(path, "network"));
}

/* --- ping --- */

struct cmd_ping {
	struct cmd_call *call;
	const char *device;
	json_t *list; /* of answers; owned */
	unsigned lost;
	bool refused; /* by policy there, the last time */
	int64_t min_us, max_us, sum_us;
	struct err err; /* of the last question that failed */
	bool quiet;     /* as JSON, in the end */
};

/* How it was measured, where that is not what one expects. */
static const char *
cmd_ping_by(const json_t *o)
{
	const char *by = cmd_text(o, "by");

	if (strcmp(by, "transport") == 0)
		return "  measured by the transport";
	if (strcmp(by, "opening") == 0)
		return "  as it was when the way was opened";
	return "";
}

static void
cmd_ping_note(struct cmd_ping *p, const json_t *o)
{
	const int64_t us = cmd_int(o, "rtt_us");
	struct arena *ar = &p->call->ar;
	json_t *item = json_object();
	const bool first = json_array_size(p->list) == p->lost;

	json_object_set(item, "rtt_us", json_object_get(o, "rtt_us"));
	json_object_set(item, "by", json_object_get(o, "by"));
	json_object_set(item, "refused", json_object_get(o, "refused"));
	json_object_set(item, "path", json_object_get(o, "path"));
	json_array_append_new(p->list, item);
	p->refused = cmd_bool(o, "refused");
	if (us <= 0 || p->refused) {
		p->lost++;
	} else {
		p->min_us = first || us < p->min_us ? us : p->min_us;
		p->max_us = first || us > p->max_us ? us : p->max_us;
		p->sum_us += us;
	}
	if (!p->quiet)
		printf("%s: %s  %s%s\n", print_safe(ar, cmd_text(o, "device")),
		    cmd_path_text(ar, json_object_get(o, "path")),
		    p->refused ? "refused by policy there"
		    : us > 0   ? print_rtt(ar, us)
			       : "no answer",
		    us > 0 && !p->refused ? cmd_ping_by(o) : "");
}

/* One question to `device` and its answer, which is the caller's.  Nothing is
 * said of what fails. */
static int
cmd_ping_ask(struct cmd_call *call, const char *device, unsigned wait_s,
    json_t **out, struct err *err)
{
	char *path = arena_printf(&call->ar, "/v1/devices/%s/ping",
	    client_escape(call->client, device, &call->ar));
	json_t *o;
	const int code = cmd_try(call, "POST", path, 0, &o, err);

	if (code != CMD_OK)
		return code;
	if (strcmp(cmd_text(o, "by"), "echo") != 0)
		cmd_sleep_ms(CMD_PING_SETTLE_MS);
	path = cmd_query(call, "/v1/ping", "device", cmd_text(o, "id"));
	path = arena_printf(&call->ar, "%s&number=%lld&timeout=%u", path,
	    (long long)cmd_int(o, "number"), wait_s);
	json_decref(o);
	return cmd_try(call, "GET", path, 0, out, err);
}

/* Once; the way it took in *direct. */
static int
cmd_ping_once(struct cmd_ping *p, bool *direct)
{
	json_t *o;
	const int code =
	    cmd_ping_ask(p->call, p->device, CMD_PING_WAIT_S, &o, &p->err);

	*direct = false;
	if (code != CMD_OK)
		return code;
	cmd_ping_note(p, o);
	*direct =
	    strcmp(cmd_text(json_object_get(o, "path"), "kind"), "direct") == 0;
	json_decref(o);
	return CMD_OK;
}

static int
cmd_ping_count(struct cmd_ping *p, unsigned count)
{
	bool unused;
	int code = CMD_OK;

	for (unsigned i = 0; i < count && code == CMD_OK; i++) {
		if (i > 0 && !cmd_sleep_ms(CMD_PING_PAUSE_MS))
			return CMD_INTERRUPTED;
		code = cmd_ping_once(p, &unused);
	}
	if (code == CMD_OK && p->lost == count)
		code = p->refused ? CMD_REFUSED : CMD_TIMEOUT;
	return code;
}

/* Every way is tried at once, and again as the daemon sees fit. */
static int
cmd_ping_until_direct(struct cmd_ping *p, unsigned timeout_s)
{
	const int64_t end_ms = cmd_now_ms() + (int64_t)timeout_s * 1000;
	bool direct = false;
	json_t *o;
	int code = cmd_try(p->call, "POST", "/v1/refresh", 0, &o, &p->err);

	if (code != CMD_OK)
		return code;
	json_decref(o);
	for (;;) {
		code = cmd_ping_once(p, &direct);
		/* While one way takes the other's place there is none. */
		if ((code != CMD_OK && code != CMD_OFFLINE) || direct)
			return code;
		if (cmd_now_ms() >= end_ms)
			break;
		if (!cmd_sleep_ms(CMD_PING_PAUSE_MS))
			return CMD_INTERRUPTED;
	}
	if (code == CMD_OK)
		code = CMD_NO_DIRECT;
	return code;
}

static int
cmd_ping_number(struct cmd_call *call, const char *option, unsigned fallback,
    unsigned max, unsigned *out)
{
	const char *text = options_value(&call->opt, option);
	char *end;
	unsigned long n;

	*out = fallback;
	if (text == NULL)
		return CMD_OK;
	n = strtoul(text, &end, 10);
	if (strcmp(option, "timeout") == 0 && strcmp(end, "s") == 0)
		end++;
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || n == 0 || n > max)
		return cmd_usage(call, "%s%s wants a number from 1 to %u",
		    strlen(option) == 1 ? "-" : "--", option, max);
	*out = (unsigned)n;
	return CMD_OK;
}

static json_t *
cmd_ping_json(const struct cmd_ping *p)
{
	const size_t count = json_array_size(p->list);
	const int64_t answered = (int64_t)(count - p->lost);
	json_t *o = cmd_object();

	json_object_set_new(o, "device", json_string(p->device));
	json_object_set(o, "pings", p->list);
	json_object_set_new(o, "lost", json_integer((json_int_t)p->lost));
	json_object_set_new(o, "min_us",
	    answered > 0 ? json_integer((json_int_t)p->min_us) : json_null());
	json_object_set_new(o, "avg_us",
	    answered > 0 ? json_integer((json_int_t)(p->sum_us / answered))
			 : json_null());
	json_object_set_new(o, "max_us",
	    answered > 0 ? json_integer((json_int_t)p->max_us) : json_null());
	return o;
}

int
cmd_path_ping(struct cmd_call *call)
{
	struct cmd_ping p = { .call = call,
		.device = call->opt.arg[0],
		.quiet = options_has(&call->opt, "json") };
	unsigned count, timeout_s;
	int code;

	code = cmd_ping_number(call, "c", CMD_PING_COUNT, 10000, &count);
	if (code == CMD_OK)
		code = cmd_ping_number(call, "timeout", CMD_PING_DIRECT_S,
		    86400, &timeout_s);
	if (code != CMD_OK)
		return code;
	p.list = json_array();
	cmd_catch_interrupt();
	code = options_has(&call->opt, "until-direct")
		   ? cmd_ping_until_direct(&p, timeout_s)
		   : cmd_ping_count(&p, count);
	if (p.quiet && json_array_size(p.list) > 0)
		code = cmd_print_json(cmd_ping_json(&p), code);
	else if (code == CMD_NO_DIRECT)
		cmd_fail_as(call, code,
		    arena_printf(&call->ar, "syncctl device diag %s", p.device),
		    "no direct way within %u s", timeout_s);
	else if (p.err.code != 0 && code != CMD_OK && code != CMD_INTERRUPTED)
		cmd_fail_try(call, code, &p.err);
	json_decref(p.list);
	return code;
}

/* --- whois, refresh --- */

int
cmd_path_whois(struct cmd_call *call)
{
	char *path = cmd_query(call, "/v1/whois", "who", call->opt.arg[0]);
	const json_t *item;
	json_t *o;
	size_t i;
	const int code = cmd_ask(call, "GET", path, &o);

	if (code != CMD_OK)
		return code;
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	json_array_foreach(json_object_get(o, "devices"), i, item)
		printf("%s  %s  %s\n",
		    print_safe(&call->ar, cmd_text(item, "device")),
		    cmd_text(item, "id"),
		    cmd_path_text(&call->ar, json_object_get(item, "path")));
	json_decref(o);
	return CMD_OK;
}

int
cmd_path_refresh(struct cmd_call *call)
{
	json_t *o;
	const int code = cmd_ask(call, "POST", "/v1/refresh", &o);

	if (code != CMD_OK)
		return code;
	json_decref(o);
	puts("Every address is being tried now.");
	return CMD_OK;
}

/* --- device diag --- */

static const char *
cmd_diag_result(struct arena *ar, const json_t *way, bool connected)
{
	const char *reason = cmd_text(way, "reason");
	const char *error = print_safe(ar, cmd_text(way, "error"));

	if (cmd_bool(way, "in_use"))
		return "in use";
	if (cmd_bool(way, "dialling"))
		return reason[0] == '\0'
			   ? "being tried"
			   : arena_printf(ar, "being tried; last: %s", reason);
	if (reason[0] != '\0')
		return arena_printf(ar, "%s: %s%s", reason, error,
		    connected ? ""
			      : arena_printf(ar, "; again in %lld s",
				    (long long)cmd_int(way, "retry_in_s")));
	return connected ? "not needed" : "not tried yet";
}

static void
cmd_diag_print_there(struct cmd_call *call, const json_t *d)
{
	const json_t *there = json_object_get(d, "there");
	struct arena *ar = &call->ar;

	if (cmd_bool(d, "refused"))
		puts("There: policy does not let this device ask.");
	if (!json_is_object(there))
		return;
	printf("There: this device is called \"%s\" and seen at %s; up for "
	       "%lld s.\n",
	    print_safe(ar, cmd_text(there, "name")),
	    print_safe(ar, cmd_text(there, "seen")),
	    (long long)cmd_int(there, "uptime_s"));
}

static void
cmd_diag_print(struct cmd_call *call, const json_t *d)
{
	const json_t *list = json_object_get(d, "addresses");
	const bool up = cmd_bool(d, "connected");
	const int64_t now = cmd_now_s();
	struct arena *ar = &call->ar;
	struct print_table t;
	const json_t *way;
	size_t i;

	printf("%s: %s", print_safe(ar, cmd_text(d, "name")),
	    cmd_path_text(ar, json_object_get(d, "path")));
	if (up && cmd_int(d, "rtt_us") > 0)
		printf(", %s", print_rtt(ar, cmd_int(d, "rtt_us")));
	if (!up)
		printf(", seen %s",
		    print_age(ar, cmd_time(cmd_text(d, "last_seen")), now));
	putchar('\n');
	if (!up && cmd_bool(d, "paused"))
		puts("It is paused:  syncctl device resume");
	if (!up && cmd_text(d, "last_error")[0] != '\0')
		printf("Last: %s\n", print_safe(ar, cmd_text(d, "last_error")));
	cmd_diag_print_there(call, d);
	if (json_array_size(list) == 0) {
		puts("No address of it is known, and none was announced.");
		return;
	}
	putchar('\n');
	print_table_init(&t, ar, 4, 0);
	print_cell(&t, "WAY");
	print_cell(&t, "FROM");
	print_cell(&t, "FAILED");
	print_cell(&t, "RESULT");
	json_array_foreach(list, i, way) {
		print_cell(&t, cmd_text(way, "address"));
		print_cell(&t, cmd_text(way, "source"));
		print_cell(&t,
		    cmd_text(way, "reason")[0] == '\0'
			? "–"
			: print_age(ar, cmd_time(cmd_text(way, "tried")), now));
		print_cell(&t, cmd_diag_result(ar, way, up));
	}
	print_table(&t, stdout);
}

/* What it says itself: of this device, or that policy lets it say nothing. */
static void
cmd_diag_ask(struct cmd_call *call, json_t *d)
{
	struct err err = { 0 };
	json_t *o = NULL;

	if (!cmd_bool(d, "connected") ||
	    cmd_ping_ask(call, cmd_text(d, "id"), CMD_PING_WAIT_S, &o, &err) !=
		CMD_OK)
		return;
	json_object_set(d, "refused", json_object_get(o, "refused"));
	json_object_set(d, "there", json_object_get(o, "there"));
	json_decref(o);
}

int
cmd_path_diag(struct cmd_call *call)
{
	char *path = cmd_query(call, "/v1/status", "device", call->opt.arg[0]);
	json_t *o, *d;
	int code = cmd_ask(call, "GET", path, &o);

	if (code != CMD_OK)
		return code;
	d = json_array_get(json_object_get(o, "devices"), 0);
	code = cmd_bool(d, "connected") ? CMD_OK : CMD_OFFLINE;
	cmd_diag_ask(call, d);
	if (options_has(&call->opt, "json")) {
		json_object_set_new(d, "schema", json_string("syncctl/1"));
		json_incref(d);
		json_decref(o);
		return cmd_print_json(d, code);
	}
	cmd_diag_print(call, d);
	json_decref(o);
	return code;
}
