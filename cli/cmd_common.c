/* What commands share; see cmd.h. */
#include "cli/cmd.h"

#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/names.h"
#include "cli/print.h"
#include "engine/base/mem.h"

void
cmd_say(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("syncctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

bool
cmd_agreed(struct cmd_call *call, int *code)
{
	*code = CMD_OK;
	if (options_has(&call->opt, "dry-run"))
		return false;
	if (options_has(&call->opt, "yes"))
		return true;
	cmd_say("nothing was done; add --yes to do it");
	*code = CMD_REFUSED;
	return false;
}

/* --- Failures --- */

/* "syncctl: REASON", and what its document says to type next. */
static void
cmd_tell_failure(struct cmd_call *call)
{
	const json_t *item;
	size_t i;

	if (call->quiet)
		return;
	cmd_say("%s", print_safe(&call->ar, cmd_text(call->failure, "reason")));
	json_array_foreach(json_object_get(call->failure, "next"), i, item)
		fprintf(stderr, "  %-6s %s\n", i == 0 ? "next:" : "",
		    print_safe(&call->ar, json_string_value(item)));
}

/* As the local API's failures are: api.h.  `next` may be NULL. */
static json_t *
cmd_failure(const char *code, const char *reason, const char *next)
{
	json_t *o = cmd_object();
	json_t *list = json_array();

	json_object_set_new(o, "code", json_string(code));
	json_object_set_new(o, "reason", json_string(reason));
	if (next != NULL)
		json_array_append_new(list, json_string(next));
	json_object_set_new(o, "next", list);
	return o;
}

/* Takes `failure`. */
static int
cmd_fail_with(struct cmd_call *call, int code, json_t *failure)
{
	json_decref(call->failure);
	call->failure = failure;
	cmd_tell_failure(call);
	return code;
}

/* A name for an exit code, where there is no better one. */
static const char *
cmd_fail_code(int code)
{
	switch (code) {
	case CMD_USAGE:
		return "usage";
	case CMD_NO_DAEMON:
		return "no-daemon";
	case CMD_TIMEOUT:
		return "timeout";
	case CMD_REFUSED:
		return "refused";
	case CMD_NOT_FOUND:
		return "not-found";
	case CMD_PARTLY:
		return "partly";
	case CMD_OFFLINE:
		return "offline";
	default:
		return "failed";
	}
}

int
cmd_fail_as(struct cmd_call *call, int code, const char *next, const char *fmt,
    ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return cmd_fail_with(call, code,
	    cmd_failure(cmd_fail_code(code), print_safe(&call->ar, text),
		next));
}

int
cmd_fail(struct cmd_call *call, const struct err *err)
{
	int code = CMD_FAILED;

	if (err->code == ERR_CLOSED)
		code = CMD_NO_DAEMON;
	else if (err->code == ERR_NOT_FOUND)
		code = CMD_NOT_FOUND;
	else if (err->code == ERR_DENIED || err->code == ERR_EXISTS)
		code = CMD_REFUSED;
	return cmd_fail_with(call, code,
	    cmd_failure(err_name(err->code), print_safe(&call->ar, err->text),
		NULL));
}

int
cmd_fail_try(struct cmd_call *call, int code, const struct err *err)
{
	json_t *refusal = call->refusal;

	call->refusal = NULL;
	return cmd_fail_with(call, code,
	    refusal != NULL ? refusal
			    : cmd_failure(cmd_fail_code(code),
				  print_safe(&call->ar, err->text), NULL));
}

void
cmd_print_failure(const struct cmd_call *call, int code)
{
	const bool lines = options_has(&call->opt, "jsonl");

	if (code == CMD_OK || call->failure == NULL ||
	    (!lines && !options_has(&call->opt, "json")))
		return;
	json_object_set_new(call->failure, "exit", json_integer(code));
	json_dumpf(call->failure, stdout,
	    lines ? JSON_COMPACT : JSON_INDENT(2));
	putchar('\n');
}

/* --- The daemon --- */

/* It gave no answer: what to type depends on whether it is there. */
static json_t *
cmd_unanswered(struct cmd_call *call, int code, const struct err *err)
{
	const struct home *home = &call->home;
	json_t *o = cmd_failure(cmd_fail_code(code),
	    print_safe(&call->ar, err->text), NULL);
	json_t *next = json_object_get(o, "next");

	if (code == CMD_REFUSED) {
		json_array_append_new(next,
		    json_string("run syncctl as the user of syncd"));
	} else if (code == CMD_FAILED || client_is_up(call->client)) {
		json_array_append_new(next, json_string("syncctl doctor"));
	} else if (strcmp(home->config_dir, home->state_dir) == 0) {
		/* --home was given, so the units are not meant. */
		json_array_append_new(next,
		    json_string(arena_printf(&call->ar, "syncd --home %s",
			print_safe(&call->ar, home->state_dir))));
	} else {
		json_array_append_new(next,
		    json_string("systemctl --user start syncd"));
		json_array_append_new(next, json_string("syncd"));
	}
	return o;
}

int
cmd_try(struct cmd_call *call, const char *method, const char *path,
    unsigned timeout_s, json_t **out, struct err *err)
{
	int status = 0;
	json_t *o;
	int rc;
	int code;

	*out = NULL;
	json_decref(call->refusal);
	call->refusal = NULL;
	rc = client_call(call->client, method, path, timeout_s, &status, &o,
	    err);
	if (rc < 0) {
		code = CMD_FAILED;
		if (rc == ERR_CLOSED)
			code = CMD_NO_DAEMON;
		else if (rc == ERR_DENIED)
			code = CMD_REFUSED;
		call->refusal = cmd_unanswered(call, code, err);
		return code;
	}
	if (status == 200) {
		*out = o;
		return CMD_OK;
	}
	err_set(err, ERR_INVALID, "%s", cmd_text(o, "reason"));
	code = (int)cmd_int(o, "exit");
	call->refusal = o;
	return code == 0 ? CMD_FAILED : code;
}

int
cmd_ask(struct cmd_call *call, const char *method, const char *path,
    json_t **out)
{
	struct err err = { 0 };
	const int code = cmd_try(call, method, path, 0, out, &err);

	return code == CMD_OK ? code : cmd_fail_try(call, code, &err);
}

char *
cmd_query(struct cmd_call *call, const char *path, const char *name,
    const char *value)
{
	return arena_printf(&call->ar, "%s%c%s=%s", path,
	    strchr(path, '?') == NULL ? '?' : '&', name,
	    client_escape(call->client, value, &call->ar));
}

/* --- The configuration --- */

void
cmd_tell_mistakes(const struct config_mistake *list, size_t count)
{
	fflush(stdout);
	for (size_t i = 0; i < count; i++)
		fprintf(stderr, "%.*s\n", SLICE_FMT(list[i].text));
}

int
cmd_config(struct cmd_call *call, struct config *out)
{
	const struct config_mistake *list;
	size_t count;
	struct err err = { 0 };

	if (config_file_load(&call->home, &call->ar, out, &list, &count,
		&err) == 0)
		return CMD_OK;
	cmd_tell_mistakes(list, count);
	if (err.code == ERR_DENIED)
		return cmd_fail_as(call, CMD_REFUSED,
		    "run syncctl as the user of syncd",
		    "the configuration cannot be read");
	return cmd_fail_as(call, CMD_FAILED, "syncctl config edit",
	    "the configuration has %zu mistake%s", count,
	    count == 1 ? "" : "s");
}

/* By its private address, which the daemon knows: its ID, or NULL. */
static const char *
cmd_find_private(struct cmd_call *call, const char *text)
{
	struct err err = { 0 };
	const char *id = NULL;
	const json_t *item, *at;
	json_t *answer;
	size_t i;

	if (text[strspn(text, "0123456789abcdefABCDEF.:")] != '\0' ||
	    cmd_try(call, "GET", "/v1/devices", 5, &answer, &err) != CMD_OK)
		return NULL;
	json_array_foreach(json_object_get(answer, "devices"), i, item) {
		at = json_object_get(item, "private");
		if (strcmp(cmd_text(at, "v4"), text) == 0 ||
		    strcasecmp(cmd_text(at, "v6"), text) == 0)
			id = arena_str(&call->ar,
			    slice_str(cmd_text(item, "id")));
	}
	json_decref(answer);
	return id;
}

int
cmd_find_device(struct cmd_call *call, const struct config *cfg,
    const char *text, uint32_t *out)
{
	const uint32_t count = cfg->setup.device_count;
	struct names_item *item = arena_array(&call->ar, count, sizeof(*item));
	struct err err = { 0 };
	size_t i = 0;
	int rc;

	for (uint32_t n = 0; n < count; n++) {
		char *id = arena_alloc(&call->ar, DEVID_TEXT_LEN + 1);

		devid_text(&cfg->setup.device[n].id, id);
		item[n].name = cfg->setup.device[n].name;
		item[n].other = slice_str(id);
	}
	rc = names_find(item, count, "device", slice_str(text), &i, &err);
	if (rc == ERR_NOT_FOUND) {
		const char *id = cmd_find_private(call, text);

		if (id != NULL)
			rc = names_find(item, count, "device", slice_str(id),
			    &i, &err);
	}
	if (rc < 0)
		return cmd_fail_as(call,
		    err.code == ERR_NOT_FOUND ? CMD_NOT_FOUND : CMD_USAGE,
		    "syncctl device list", "%s", err.text);
	*out = (uint32_t)i;
	return CMD_OK;
}

int
cmd_find_folder(struct cmd_call *call, const struct config *cfg,
    const char *text, uint32_t *out)
{
	const uint32_t count = cfg->setup.folder_count;
	struct names_item *item = arena_array(&call->ar, count, sizeof(*item));
	struct err err = { 0 };
	size_t i = 0;

	for (uint32_t n = 0; n < count; n++) {
		item[n].name = cfg->setup.folder[n].id;
		item[n].other = cfg->setup.folder[n].label;
	}
	if (names_find(item, count, "folder", slice_str(text), &i, &err) < 0)
		return cmd_fail_as(call,
		    err.code == ERR_NOT_FOUND ? CMD_NOT_FOUND : CMD_USAGE,
		    "syncctl folder list", "%s", err.text);
	*out = (uint32_t)i;
	return CMD_OK;
}

int
cmd_edit(struct cmd_call *call, struct config_file **out)
{
	struct err err = { 0 };

	if (config_file_edit(out, &call->home, &err) < 0)
		return cmd_fail(call, &err);
	return CMD_OK;
}

int
cmd_set(struct config_file *cf, const char *key, const char *value,
    struct err *err)
{
	const struct slice v = slice_str(value);

	return config_file_set(cf, key, &v, 1, err);
}

int
cmd_edit_end(struct cmd_call *call, struct config_file *cf, int rc,
    struct err *err)
{
	const struct config_mistake *list;
	size_t count;
	json_t *answer;
	int code;

	if (rc < 0) {
		config_file_drop(cf);
		return cmd_fail(call, err);
	}
	rc = config_file_save(cf, &call->ar, &list, &count, err);
	if (rc < 0 && count > 0) {
		cmd_tell_mistakes(list, count);
		return cmd_fail_as(call, CMD_REFUSED, NULL,
		    "that would be a mistake; nothing was changed");
	}
	if (rc < 0) {
		err_wrap(err, "nothing was changed");
		return cmd_fail(call, err);
	}
	if (!client_is_up(call->client))
		return CMD_OK;
	code = cmd_ask(call, "POST", "/v1/reload", &answer);
	if (code != CMD_OK)
		cmd_say("the file was written, but syncd did not take it");
	json_decref(answer);
	return code;
}

/* --- Paths --- */

char *
cmd_absolute(struct cmd_call *call, const char *path)
{
	char real[PATH_MAX];
	char *copy = arena_str(&call->ar, slice_str(path));
	char *slash;
	const char *dir = ".";
	const char *base = copy;
	size_t len = strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	if (strcmp(copy, ".") == 0 || strcmp(copy, "..") == 0 ||
	    strcmp(copy, "/") == 0)
		return arena_str(&call->ar,
		    slice_str(realpath(copy, real) == NULL ? copy : real));
	if (slash != NULL) {
		*slash = '\0';
		dir = slash == copy ? "/" : copy;
		base = slash + 1;
	}
	/* A directory that is gone cannot be resolved: as it was typed. */
	if (realpath(dir, real) == NULL) {
		if (path[0] == '/' || getcwd(real, sizeof(real)) == NULL)
			return arena_str(&call->ar, slice_str(path));
		return arena_printf(&call->ar, "%s/%s", real, path);
	}
	return arena_printf(&call->ar, "%s/%s",
	    strcmp(real, "/") == 0 ? "" : real, base);
}

/* --- Tables --- */

int
cmd_print_table(struct cmd_call *call, struct print_table *t)
{
	const char *columns = options_value(&call->opt, "columns");
	const char *all = t->cell[0];

	if (columns != NULL && !print_table_pick(t, columns)) {
		for (size_t i = 1; i < t->columns; i++)
			all =
			    arena_printf(&call->ar, "%s, %s", all, t->cell[i]);
		return cmd_usage(call, "--columns \"%s\": there are %s",
		    columns, all);
	}
	print_table(t, stdout);
	return CMD_OK;
}

/* --- JSON --- */

json_t *
cmd_object(void)
{
	json_t *o = json_object();

	json_object_set_new(o, "schema", json_string(API_SCHEMA));
	return o;
}

int
cmd_print_json(json_t *o, int exit_code)
{
	json_dumpf(o, stdout, JSON_INDENT(2));
	fputc('\n', stdout);
	json_decref(o);
	return exit_code;
}

void
cmd_print_line(const json_t *item)
{
	json_t *o = cmd_object();

	json_object_update(o, (json_t *)(uintptr_t)item);
	json_dumpf(o, stdout, JSON_COMPACT);
	fputc('\n', stdout);
	json_decref(o);
}

int
cmd_print_jsonl(json_t *o, const char *key, int exit_code)
{
	const json_t *list = json_object_get(o, key);
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		cmd_print_line(item);
	json_decref(o);
	return exit_code;
}

const char *
cmd_text(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text == NULL ? "" : text;
}

int64_t
cmd_int(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

bool
cmd_bool(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

const json_t *
cmd_find(const json_t *list, const char *id)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		if (strcmp(cmd_text(item, "id"), id) == 0)
			return item;
	}
	return NULL;
}

const char *
cmd_words(struct arena *ar, const json_t *list, const char *none)
{
	const char *out = NULL;
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *word = print_safe(ar, json_string_value(item));

		out =
		    out == NULL ? word : arena_printf(ar, "%s, %s", out, word);
	}
	return out == NULL ? none : out;
}

/* --- Time --- */

int64_t
cmd_time(const char *text)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (end == NULL)
		return 0;
	return (int64_t)timegm(&tm);
}

int64_t
cmd_now_s(void)
{
	return (int64_t)time(NULL);
}

int64_t
cmd_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

char *
cmd_when(struct arena *ar, int64_t then_s)
{
	const time_t then = (time_t)then_s;
	const time_t now = time(NULL);
	struct tm a, b;
	char text[32];

	localtime_r(&then, &a);
	localtime_r(&now, &b);
	if (a.tm_yday == b.tm_yday && a.tm_year == b.tm_year)
		strftime(text, sizeof(text), "%H:%M", &a);
	else if (a.tm_year == b.tm_year)
		strftime(text, sizeof(text), "%e %b", &a);
	else
		strftime(text, sizeof(text), "%e %b %Y", &a);
	return arena_str(ar, slice_str(text + (text[0] == ' ')));
}

static volatile sig_atomic_t cmd_interrupted;

static void
cmd_on_interrupt(int sig)
{
	(void)sig;
	cmd_interrupted = 1;
}

void
cmd_catch_interrupt(void)
{
	const struct sigaction sa = { .sa_handler = cmd_on_interrupt };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

bool
cmd_is_interrupted(void)
{
	return cmd_interrupted != 0;
}

bool
cmd_sleep_ms(unsigned ms)
{
	const struct timespec ts = { .tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	fflush(stdout);
	if (!cmd_is_interrupted())
		nanosleep(&ts, NULL);
	return !cmd_is_interrupted();
}
