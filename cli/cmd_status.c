/*
 * syncctl status: everything on one screen, problems last.
 *
 * Prints what GET /v1/status says and adds nothing but form; FEATURES.md E4.
 */
#include "cli/cmd.h"

#include <string.h>
#include <unistd.h>

#include "cli/print.h"

#define CMD_STATUS_WATCH_MS 1000
#define CMD_STATUS_PATH_WIDTH 60

/* What --watch remembers of a device, for its rates. */
struct cmd_status_sample {
	char id[64];
	int64_t in, out, at_ms;
};

struct cmd_status_watch {
	struct cmd_status_sample *sample;
	size_t count;
};

/* --- Folders --- */

/* "receiving  62 % · 4.1 GiB left · 88 MiB/s · about 48 s" */
static const char *
cmd_status_receiving(struct arena *ar, const json_t *f)
{
	const int64_t all = cmd_int(json_object_get(f, "global"), "bytes");
	const int64_t left = cmd_int(f, "bytes_left");
	const int64_t rate = cmd_int(f, "rate");
	const json_t *limit = json_object_get(f, "limit");
	int64_t done = all > 0 ? (all - left) * 100 / all : 0;
	const char *text;

	/* Something is missing: never claim all of it. */
	done = done < 0 ? 0 : done > 99 ? 99 : done;
	text = arena_printf(ar, "receiving  %lld %% · %s left", (long long)done,
	    print_size(ar, left));
	if (left == 0)
		text = arena_printf(ar, "receiving  %lld %% · %s items left",
		    (long long)done, print_count(ar, cmd_int(f, "need_items")));
	text = arena_printf(ar, "%s · %s/s", text, print_size(ar, rate));
	if (!json_is_null(json_object_get(f, "seconds_left")))
		text = arena_printf(ar, "%s · about %s", text,
		    print_span(ar, cmd_int(f, "seconds_left")));
	if (!json_is_object(limit))
		return text;
	return arena_printf(ar, "%s · limit: %s", text,
	    cmd_bool(limit, "here")
		? "this device"
		: print_safe(ar, cmd_text(limit, "device")));
}

static const char *
cmd_status_scanning(struct arena *ar, const json_t *f)
{
	const json_t *scan = json_object_get(f, "scan");

	return arena_printf(ar, "scanning  %s files, %s hashed",
	    print_count(ar, cmd_int(scan, "files")),
	    print_size(ar, cmd_int(scan, "hashed_bytes")));
}

static const char *
cmd_status_state(struct arena *ar, const json_t *f, enum print_style *style)
{
	const char *state = cmd_text(f, "state");
	const char *reason = cmd_text(f, "reason");

	*style = PRINT_PLAIN;
	if (strcmp(state, "in_sync") == 0) {
		*style = PRINT_GOOD;
		/* A folder that only receives, and a person wrote in it. */
		if (cmd_int(f, "changed_here") > 0)
			return arena_printf(ar, "in sync  %s changed here",
			    print_count(ar, cmd_int(f, "changed_here")));
		return "in sync";
	}
	if (strcmp(state, "receiving") == 0)
		return cmd_status_receiving(ar, f);
	if (strcmp(state, "scanning") == 0)
		return cmd_status_scanning(ar, f);
	if (strcmp(state, "halted") == 0) {
		*style = PRINT_BAD;
		return arena_printf(ar, "HALTED  %s", reason);
	}
	if (json_array_size(json_object_get(f, "held")) > 0 &&
	    strcmp(state, "waiting") == 0) {
		*style = PRINT_BAD;
		return arena_printf(ar, "HELD  %s · %s items", reason,
		    print_count(ar, cmd_int(f, "need_items")));
	}
	if (strcmp(state, "waiting") == 0)
		return arena_printf(ar, "waiting  %s · %s items · %s", reason,
		    print_count(ar, cmd_int(f, "need_items")),
		    print_size(ar, cmd_int(f, "need_bytes")));
	*style = PRINT_DIM;
	return arena_str(ar, slice_str(state));
}

static const char *
cmd_status_mode(const char *mode)
{
	if (strcmp(mode, "sendonly") == 0)
		return "send";
	return strcmp(mode, "receiveonly") == 0 ? "receive" : "rw";
}

static const char *
cmd_status_change(struct arena *ar, const json_t *f, int64_t now)
{
	const json_t *c = json_object_get(f, "last_change");

	if (!json_is_object(c))
		return "–";
	return arena_printf(ar, "%s  %s  %s",
	    print_age(ar, cmd_time(cmd_text(c, "time")), now),
	    print_safe(ar, cmd_text(c, "device")),
	    print_tail(ar, print_safe(ar, cmd_text(c, "path")),
		CMD_STATUS_PATH_WIDTH));
}

static void
cmd_status_folders(struct cmd_call *call, const json_t *o)
{
	static const char *const heads[] = { "FOLDER", "MODE", "STATE", "FILES",
		"SIZE", "COPIES", "LAST CHANGE" };
	const json_t *list = json_object_get(o, "folders");
	const int64_t now = cmd_time(cmd_text(o, "time"));
	struct arena *ar = &call->ar;
	struct print_table t;
	const json_t *f;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	putchar('\n');
	print_table_init(&t, ar, 7, 0);
	for (i = 0; i < 7; i++)
		print_cell(&t, heads[i]);
	json_array_foreach(list, i, f) {
		const json_t *local = json_object_get(f, "local");
		const json_t *copies = json_object_get(f, "copies");
		enum print_style style;
		const char *state = cmd_status_state(ar, f, &style);

		print_cell(&t, print_safe(ar, cmd_text(f, "name")));
		print_cell(&t, cmd_status_mode(cmd_text(f, "mode")));
		print_cell_styled(&t, state, style);
		print_cell(&t, print_count(ar, cmd_int(local, "files")));
		print_cell(&t, print_size(ar, cmd_int(local, "bytes")));
		print_cell(&t, arena_printf(ar, "%lld/%lld",
				   (long long)cmd_int(copies, "have"),
				   (long long)cmd_int(copies, "want")));
		print_cell(&t, cmd_status_change(ar, f, now));
	}
	print_table(&t, stdout);
}

/* Of a folder that was asked for by name. */
static void
cmd_status_trash(struct cmd_call *call, const json_t *o)
{
	const json_t *list = json_object_get(o, "folders");
	const json_t *f = json_array_get(list, 0);
	const json_t *trash = json_object_get(f, "trash");
	const int64_t files = cmd_int(trash, "files");

	if (call->opt.arg_count == 0 || json_array_size(list) != 1 ||
	    files == 0)
		return;
	printf("\nIn its trash can: %s %s, %s  (syncctl trash list %s)\n",
	    print_count(&call->ar, files), files == 1 ? "file" : "files",
	    print_size(&call->ar, cmd_int(trash, "bytes")),
	    print_safe(&call->ar, cmd_text(f, "id")));
}

/* --- Devices --- */

static struct cmd_status_sample *
cmd_status_sample_of(struct cmd_status_watch *w, const char *id,
    struct arena *ar)
{
	struct cmd_status_sample *all;

	for (size_t i = 0; i < w->count; i++)
		if (strcmp(w->sample[i].id, id) == 0)
			return &w->sample[i];
	all = arena_array(ar, w->count + 1, sizeof(*all));
	if (w->count > 0)
		memcpy(all, w->sample, w->count * sizeof(*all));
	w->sample = all;
	snprintf(all[w->count].id, sizeof(all[0].id), "%s", id);
	return &all[w->count++];
}

/* Bytes a second since the last look; without --watch, the bytes. */
static void
cmd_status_rates(struct cmd_call *call, const json_t *d,
    struct cmd_status_watch *w, struct arena *keep, const char **down,
    const char **up)
{
	const int64_t in = cmd_int(d, "bytes_in");
	const int64_t out = cmd_int(d, "bytes_out");
	const int64_t now = cmd_now_ms();
	struct cmd_status_sample *s;

	*down = *up = "–";
	if (w == NULL) {
		/* It was not here since syncd started. */
		if (in == 0 && out == 0 && !cmd_bool(d, "connected"))
			return;
		*down = print_size(&call->ar, in);
		*up = print_size(&call->ar, out);
		return;
	}
	s = cmd_status_sample_of(w, cmd_text(d, "id"), keep);
	if (s->at_ms > 0 && now > s->at_ms && in >= s->in && out >= s->out) {
		const int64_t ms = now - s->at_ms;

		*down = arena_printf(&call->ar, "%s/s",
		    print_size(&call->ar, (in - s->in) * 1000 / ms));
		*up = arena_printf(&call->ar, "%s/s",
		    print_size(&call->ar, (out - s->out) * 1000 / ms));
	}
	s->in = in;
	s->out = out;
	s->at_ms = now;
}

static const char *
cmd_status_path(struct arena *ar, const json_t *d)
{
	const json_t *path = json_object_get(d, "path");

	if (cmd_bool(d, "paused"))
		return "paused";
	if (strcmp(cmd_text(path, "kind"), "relay") == 0)
		return arena_printf(ar, "relay %s (%s)",
		    cmd_text(path, "address"), cmd_text(path, "why"));
	if (strcmp(cmd_text(path, "kind"), "asleep") == 0)
		return "asleep";
	if (strcmp(cmd_text(path, "kind"), "direct") != 0)
		return "–";
	/* TCP is what one expects. */
	return arena_printf(ar, "direct %s (%s%s)", cmd_text(path, "address"),
	    cmd_text(path, "network"),
	    strcmp(cmd_text(path, "transport"), "quic") == 0 ? ", quic" : "");
}

static const char *
cmd_status_behind(struct arena *ar, const json_t *d)
{
	const int64_t items = cmd_int(d, "behind_items");
	const int64_t bytes = cmd_int(d, "behind_bytes");

	if (items > 0)
		return arena_printf(ar, "%s, %s items", print_size(ar, bytes),
		    print_count(ar, items));
	return print_size(ar, bytes);
}

static void
cmd_status_devices(struct cmd_call *call, const json_t *o,
    struct cmd_status_watch *w, struct arena *keep)
{
	const json_t *list = json_object_get(o, "devices");
	const int64_t now = cmd_time(cmd_text(o, "time"));
	struct arena *ar = &call->ar;
	struct print_table t;
	const json_t *d;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	putchar('\n');
	print_table_init(&t, ar, 7, 0);
	print_cell(&t, "DEVICE");
	print_cell(&t, "PATH");
	print_cell(&t, "RTT");
	print_cell(&t, w == NULL ? "RECEIVED" : "DOWN");
	print_cell(&t, w == NULL ? "SENT" : "UP");
	print_cell(&t, "BEHIND");
	print_cell(&t, "SEEN");
	json_array_foreach(list, i, d) {
		const bool up = cmd_bool(d, "connected");
		const char *in, *out;

		cmd_status_rates(call, d, w, keep, &in, &out);
		print_cell(&t, print_safe(ar, cmd_text(d, "name")));
		print_cell_styled(&t, cmd_status_path(ar, d),
		    up ? PRINT_PLAIN : PRINT_DIM);
		print_cell(&t, json_is_null(json_object_get(d, "rtt_us"))
				   ? "–"
				   : print_rtt(ar, cmd_int(d, "rtt_us")));
		print_cell(&t, in);
		print_cell(&t, out);
		print_cell(&t, cmd_status_behind(ar, d));
		print_cell(&t,
		    print_age(ar, cmd_time(cmd_text(d, "last_seen")), now));
	}
	print_table(&t, stdout);
}

/* --- Problems and what waits for an answer --- */

/* Text from column 10 on, broken before column 79. */
static void
cmd_status_wrapped(struct cmd_call *call, const char *head, const char *text)
{
	const char *safe = print_safe(&call->ar, text);
	size_t column = 10;

	printf("  %-6s  ", head);
	while (*safe != '\0') {
		const size_t len = strcspn(safe, " ");
		char *word = arena_str(&call->ar, slice_of(safe, len));
		const size_t width = print_width(word);

		if (column > 10 && column + 1 + width > 79) {
			printf("\n          ");
			column = 10;
		} else if (column > 10) {
			putchar(' ');
			column++;
		}
		fputs(word, stdout);
		column += width;
		safe += len;
		/* Two spaces set a command apart. */
		if (safe[0] == ' ' && safe[1] == ' ') {
			putchar(' ');
			column++;
		}
		safe += strspn(safe, " ");
	}
	putchar('\n');
}

/* "watch-limit" as a heading: "WATCH LIMIT". */
static char *
cmd_status_loud(struct arena *ar, const char *code)
{
	char *out = arena_str(ar, slice_str(code));

	for (char *p = out; *p != '\0'; p++)
		if (*p == '-')
			*p = ' ';
		else if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	return out;
}

/*
 * "folder.disk-full" of a halted folder is "HALTED  disk-full"; what works but
 * wants a person is its own heading: "STALE".
 */
static void
cmd_status_problem_head(struct cmd_call *call, const json_t *p)
{
	const bool stopped = strcmp(cmd_text(p, "severity"), "stopped") == 0;
	const char *code = cmd_text(p, "code");
	const char *dot = strchr(code, '.');
	const char *name = dot == NULL ? code : dot + 1;
	const char *since = cmd_text(p, "since");
	const char *what = "HALTED";
	const char *left = "";

	if (!stopped)
		what = cmd_status_loud(&call->ar, name);
	else if (strcmp(code, "folder.mass-change") == 0)
		what = "HELD";
	if (stopped)
		left = arena_printf(&call->ar, "  %s", name);
	fputs(print_safe(&call->ar, cmd_text(p, "subject")), stdout);
	fputs("  ", stdout);
	print_styled(stdout, stopped ? PRINT_BAD : PRINT_WARN, what);
	printf("%s", left);
	if (since[0] != '\0') {
		const char *when = arena_printf(&call->ar, "since %s",
		    cmd_when(&call->ar, cmd_time(since)));
		const size_t used = print_width(cmd_text(p, "subject")) + 2 +
				    strlen(what) + print_width(left);
		const size_t wide = 79 - print_width(when);

		printf("%*s%s", used + 2 < wide ? (int)(wide - used) : 2, "",
		    when);
	}
	putchar('\n');
}

static void
cmd_status_problem(struct cmd_call *call, const json_t *p)
{
	const json_t *next = json_object_get(p, "next");
	const char *effect = cmd_text(json_object_get(p, "effect"), "text");
	const json_t *item;
	size_t i;

	cmd_status_problem_head(call, p);
	cmd_status_wrapped(call, "What", cmd_text(p, "what"));
	if (effect[0] != '\0')
		cmd_status_wrapped(call, "Effect", effect);
	json_array_foreach(next, i, item)
		cmd_status_wrapped(call, i == 0 ? "Do" : "",
		    json_string_value(item));
}

/* How many problems have this severity? */
static size_t
cmd_status_count(const json_t *o, const char *severity)
{
	const json_t *list = json_object_get(o, "problems");
	const json_t *p;
	size_t n = 0, i;

	json_array_foreach(list, i, p)
		n += strcmp(cmd_text(p, "severity"), severity) == 0;
	return n;
}

static size_t
cmd_status_in_sync(const json_t *o)
{
	const json_t *list = json_object_get(o, "folders");
	const json_t *f;
	size_t n = 0, i;

	json_array_foreach(list, i, f)
		n += strcmp(cmd_text(f, "state"), "in_sync") == 0;
	return n;
}

static void
cmd_status_sum(const json_t *o)
{
	const size_t stopped = cmd_status_count(o, "stopped");
	const size_t warned = cmd_status_count(o, "warning");
	const size_t good = cmd_status_in_sync(o);
	const size_t all = json_array_size(json_object_get(o, "folders"));

	if (stopped > 0)
		printf("%zu problem%s", stopped, stopped == 1 ? "" : "s");
	if (warned > 0)
		printf("%s%zu warning%s", stopped > 0 ? ", " : "", warned,
		    warned == 1 ? "" : "s");
	if (stopped == 0 && good > 1 && good == all)
		puts(". All folders are in sync.");
	else
		printf(". %zu %sfolder%s in sync.\n", good,
		    stopped > 0 ? "other " : "", good == 1 ? " is" : "s are");
}

/* Worst first would scroll away: warnings, then what is stopped. */
static void
cmd_status_problems(struct cmd_call *call, const json_t *o)
{
	static const char *const order[] = { "warning", "stopped" };
	const json_t *list = json_object_get(o, "problems");
	const json_t *p;
	size_t i;

	if (json_array_size(list) == 0) {
		puts("No problems.");
		return;
	}
	for (size_t s = 0; s < 2; s++)
		json_array_foreach(list, i, p)
			if (strcmp(cmd_text(p, "severity"), order[s]) == 0)
				cmd_status_problem(call, p);
	cmd_status_sum(o);
}

static void
cmd_status_pending(struct cmd_call *call, const json_t *o)
{
	const json_t *pending = json_object_get(o, "pending");
	const json_t *p;
	size_t i;
	struct arena *ar = &call->ar;

	json_array_foreach(json_object_get(pending, "devices"), i, p)
		printf("\n%s wants to connect, from %s\n  syncctl device add "
		       "%s --name NAME\n",
		    print_safe(ar, cmd_text(p, "name")),
		    print_safe(ar, cmd_text(p, "address")), cmd_text(p, "id"));
	json_array_foreach(json_object_get(pending, "folders"), i, p) {
		const char *id = print_safe(ar, cmd_text(p, "id"));
		const char *device = print_safe(ar, cmd_text(p, "device"));

		printf("\n%s offers the folder \"%s\"\n", device,
		    print_safe(ar, cmd_text(p, "label")));
		if (cmd_bool(p, "known"))
			printf("  syncctl folder share %s %s\n", id, device);
		else
			printf("  syncctl folder add PATH --id %s --share %s\n",
			    id, device);
	}
}

/* --- The command --- */

static void
cmd_status_print(struct cmd_call *call, const json_t *o,
    struct cmd_status_watch *w, struct arena *keep)
{
	if (options_has(&call->opt, "x")) {
		cmd_status_problems(call, o);
		return;
	}
	printf("%s · syncd %s · up %s · %s\n",
	    print_safe(&call->ar, cmd_text(o, "node")), cmd_text(o, "version"),
	    print_span(&call->ar, cmd_int(o, "uptime_s")),
	    cmd_text(o, "health"));
	cmd_status_folders(call, o);
	cmd_status_trash(call, o);
	cmd_status_devices(call, o, w, keep);
	cmd_status_pending(call, o);
	putchar('\n');
	cmd_status_problems(call, o);
}

static int
cmd_status_watch(struct cmd_call *call, const char *path)
{
	struct cmd_status_watch watch = { 0 };
	const bool tty = isatty(STDOUT_FILENO) == 1;
	struct arena keep = { 0 };
	json_t *o;
	int code;

	cmd_catch_interrupt();
	do {
		const struct arena_mark mark = arena_mark(&call->ar);

		code = cmd_ask(call, "GET", path, &o);
		if (code != CMD_OK)
			break;
		if (options_has(&call->opt, "json")) {
			json_dumpf(o, stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			if (tty)
				fputs("\033[H\033[2J", stdout);
			cmd_status_print(call, o, &watch, &keep);
			if (!tty)
				putchar('\n');
		}
		json_decref(o);
		arena_reset(&call->ar, mark);
		code = CMD_INTERRUPTED;
	} while (cmd_sleep_ms(CMD_STATUS_WATCH_MS));
	arena_fini(&keep);
	return cmd_is_interrupted() ? CMD_INTERRUPTED : code;
}

int
cmd_status(struct cmd_call *call)
{
	const char *path = "/v1/status";
	json_t *o;
	int code;

	call->quiet = options_has(&call->opt, "q");
	if (call->opt.arg_count > 0)
		path = cmd_query(call, path, "subject", call->opt.arg[0]);
	if (options_has(&call->opt, "watch"))
		return cmd_status_watch(call, path);
	code = cmd_ask(call, "GET", path, &o);
	if (code != CMD_OK)
		return code;
	code = (int)cmd_int(o, "exit");
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, code);
	if (!options_has(&call->opt, "q"))
		cmd_status_print(call, o, NULL, NULL);
	json_decref(o);
	return code;
}
