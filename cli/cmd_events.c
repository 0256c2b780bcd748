/* syncctl events: what happened, and what happens. */
#include "cli/cmd.h"

#include <string.h>
#include <time.h>

#include "cli/print.h"

#define CMD_EVENTS_POLL_S 55
#define CMD_EVENTS_TAIL 20 /* older ones that --follow begins with */

/* Where to begin: by number or by time. */
struct cmd_events_from {
	int64_t since;
	int64_t wall_ns;
};

/*
 * "--since 42" is a number, "--since 10m" so long ago, and what looks like a
 * date is one: 2026-11-06, 2026-11-06T10:00:00Z, 10:00 (local time; of today,
 * or of yesterday when that is still to come).
 */
static bool
cmd_events_since(const char *text, struct cmd_events_from *out)
{
	time_t now = time(NULL);
	struct tm tm = { 0 };
	const char *end;
	uint64_t ns;

	if (text[0] != '\0' && strspn(text, "0123456789") == strlen(text) &&
	    strlen(text) < 18)
		return config_parse_int(slice_str(text), 0, INT64_MAX,
			   &out->since, NULL) == 0;
	if (config_parse_duration(slice_str(text), &ns, NULL) == 0) {
		out->wall_ns =
		    ((int64_t)now - (int64_t)(ns / 1000000000)) * 1000000000;
		return true;
	}
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (end != NULL && (*end == 'Z' || *end == '\0')) {
		out->wall_ns = (*end == 'Z' ? timegm(&tm) : mktime(&tm)) *
			       INT64_C(1000000000);
		return true;
	}
	localtime_r(&now, &tm);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	end = strptime(text, "%H:%M", &tm);
	if (end != NULL && *end == '\0' && mktime(&tm) > now) {
		tm.tm_mday--;
		tm.tm_isdst = -1;
	} else if (end == NULL || *end != '\0') {
		end = strptime(text, "%Y-%m-%d", &tm);
	}
	if (end == NULL || *end != '\0')
		return false;
	out->wall_ns = mktime(&tm) * INT64_C(1000000000);
	return true;
}

static void
cmd_events_print(struct cmd_call *call, const json_t *e)
{
	static const char *const words[] = { "folder", "path", "action", "name",
		"reason", "text" };
	const time_t at = (time_t)cmd_time(cmd_text(e, "time"));
	struct arena *ar = &call->ar;
	struct tm tm;
	char when[32];

	localtime_r(&at, &tm);
	strftime(when, sizeof(when), "%F %T", &tm);
	printf("%s  %-14s", when, cmd_text(e, "type"));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (cmd_text(e, words[i])[0] != '\0')
			printf("  %s", print_safe(ar, cmd_text(e, words[i])));
	if (cmd_text(e, "name")[0] == '\0' && cmd_text(e, "device")[0] != '\0')
		printf("  %.7s", cmd_text(e, "device"));
	if (cmd_int(e, "count") != 0)
		printf("  %s items", print_count(ar, cmd_int(e, "count")));
	if (cmd_int(e, "bytes") != 0)
		printf("  %s", print_size(ar, cmd_int(e, "bytes")));
	putchar('\n');
}

static void
cmd_events_show(struct cmd_call *call, const json_t *o, size_t skip)
{
	const bool lines =
	    options_has(&call->opt, "jsonl") || options_has(&call->opt, "json");
	const json_t *e;
	size_t i;

	json_array_foreach(json_object_get(o, "events"), i, e) {
		if (i < skip)
			continue;
		if (lines)
			cmd_print_line(e);
		else
			cmd_events_print(call, e);
		/* Who follows reads whole lines, not what fits a buffer. */
		if (options_has(&call->opt, "follow"))
			fflush(stdout);
	}
	fflush(stdout);
}

static char *
cmd_events_path(struct cmd_call *call, const struct cmd_events_from *from,
    unsigned timeout)
{
	const char *types = options_value(&call->opt, "type");
	char *path = arena_printf(&call->ar,
	    "/v1/events?since=%lld&from=%lld&timeout=%u",
	    (long long)from->since, (long long)from->wall_ns, timeout);

	return types == NULL ? path : cmd_query(call, path, "type", types);
}

/* Everything there is, page by page; an exit code. */
static int
cmd_events_past(struct cmd_call *call, struct cmd_events_from *from,
    json_t **all)
{
	json_t *o;

	*all = json_array();
	for (;;) {
		const int code =
		    cmd_ask(call, "GET", cmd_events_path(call, from, 0), &o);
		const bool more =
		    json_array_size(json_object_get(o, "events")) > 0;

		if (code != CMD_OK)
			return code;
		json_array_extend(*all, json_object_get(o, "events"));
		from->since = cmd_int(o, "last");
		json_decref(o);
		if (!more)
			return CMD_OK;
	}
}

/* Long polls, until a person has enough: Ctrl-C ends us by its signal. */
static int
cmd_events_follow(struct cmd_call *call, struct cmd_events_from *from)
{
	for (;;) {
		const struct arena_mark mark = arena_mark(&call->ar);
		struct err err = { 0 };
		json_t *o;
		const int code = cmd_try(call, "GET",
		    cmd_events_path(call, from, CMD_EVENTS_POLL_S),
		    CMD_EVENTS_POLL_S + 10, &o, &err);

		if (code != CMD_OK)
			return cmd_fail_try(call, code, &err);
		cmd_events_show(call, o, 0);
		from->since = cmd_int(o, "last");
		json_decref(o);
		arena_reset(&call->ar, mark);
	}
}

int
cmd_events(struct cmd_call *call)
{
	const char *since = options_value(&call->opt, "since");
	const bool follow = options_has(&call->opt, "follow");
	struct cmd_events_from from = { 0 };
	json_t *all = NULL;
	size_t skip = 0;
	json_t *o;
	int code;

	if (since != NULL && !cmd_events_since(since, &from))
		return cmd_usage(call,
		    "--since \"%s\": a time such as 10m, "
		    "10:00, 2026-11-06 or an event's number",
		    since);
	code = cmd_events_past(call, &from, &all);
	if (code != CMD_OK) {
		json_decref(all);
		return code;
	}
	if (options_has(&call->opt, "json") && !follow) {
		o = cmd_object();
		json_object_set_new(o, "events", all);
		json_object_set_new(o, "last", json_integer(from.since));
		return cmd_print_json(o, CMD_OK);
	}
	if (follow && since == NULL && json_array_size(all) > CMD_EVENTS_TAIL)
		skip = json_array_size(all) - CMD_EVENTS_TAIL;
	o = cmd_object();
	json_object_set_new(o, "events", all);
	cmd_events_show(call, o, skip);
	json_decref(o);
	return follow ? cmd_events_follow(call, &from) : CMD_OK;
}
