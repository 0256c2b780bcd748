/* syncctl folder scan, adopt, override, revert, ignore: what the daemon does.
 */
#include "cli/cmd.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/print.h"

static char *
cmd_folder_route(struct cmd_call *call, const char *act)
{
	return arena_printf(&call->ar, "/v1/folders/%s/%s",
	    client_escape(call->client, call->opt.arg[0], &call->ar), act);
}

int
cmd_folder_scan(struct cmd_call *call)
{
	char *path = cmd_folder_route(call, "scan");
	json_t *o;
	int code;

	if (call->opt.arg_count > 1)
		path = cmd_query(call, path, "path", call->opt.arg[1]);
	code = cmd_ask(call, "POST", path, &o);
	json_decref(o);
	return code;
}

int
cmd_folder_adopt(struct cmd_call *call)
{
	json_t *o;
	const int code =
	    cmd_ask(call, "POST", cmd_folder_route(call, "adopt"), &o);

	json_decref(o);
	return code;
}

/* Say what would be done; go on only with --yes. */
static int
cmd_folder_confirm(struct cmd_call *call, const char *act, const char *plan,
    int64_t count)
{
	json_t *o;
	int code;

	printf("%s\n", plan);
	if (count == 0)
		return CMD_OK;
	if (!cmd_agreed(call, &code))
		return code;
	code = cmd_ask(call, "POST", cmd_folder_route(call, act), &o);
	json_decref(o);
	return code;
}

/* The folder in status; an exit code.  `*o` is the answer, to be freed. */
static int
cmd_folder_status(struct cmd_call *call, json_t **o, const json_t **f)
{
	const int code = cmd_ask(call, "GET",
	    cmd_query(call, "/v1/status", "subject", call->opt.arg[0]), o);

	*f = json_array_get(json_object_get(*o, "folders"), 0);
	if (code == CMD_OK && *f == NULL)
		return cmd_fail_as(call, CMD_NOT_FOUND, "syncctl folder list",
		    "no folder \"%s\"", call->opt.arg[0]);
	return code;
}

static int
cmd_folder_wrong_mode(struct cmd_call *call, const json_t *f, const char *want)
{
	return cmd_fail_as(call, CMD_REFUSED, NULL,
	    "folder %s has mode %s; this is for folders of mode %s",
	    cmd_text(f, "id"), cmd_text(f, "mode"), want);
}

/*
 * Do `act` in a folder of this mode, when the person agrees to what comes of
 * it: `says` follows the number of items that the status has as `key`.
 */
static int
cmd_folder_undo(struct cmd_call *call, const char *act, const char *mode,
    const char *key, const char *says)
{
	const json_t *f;
	json_t *o = NULL;
	int64_t count;
	int code;

	code = cmd_folder_status(call, &o, &f);
	if (code == CMD_OK && strcmp(cmd_text(f, "mode"), mode) != 0)
		code = cmd_folder_wrong_mode(call, f, mode);
	if (code == CMD_OK) {
		count = cmd_int(f, key);
		code = cmd_folder_confirm(call, act,
		    arena_printf(&call->ar, "%s: %s items %s",
			cmd_text(f, "id"), print_count(&call->ar, count), says),
		    count);
	}
	json_decref(o);
	return code;
}

int
cmd_folder_override(struct cmd_call *call)
{
	return cmd_folder_undo(call, "override", "sendonly", "need_items",
	    "that other devices changed become again what they are here, on "
	    "every device.");
}

int
cmd_folder_revert(struct cmd_call *call)
{
	return cmd_folder_undo(call, "revert", "receiveonly", "changed_here",
	    "changed here become what the other devices have; those made here "
	    "are deleted.");
}

/* --- Ignore rules --- */

/* Print a file of rules with line numbers; false when it cannot be read. */
static bool
cmd_folder_print_rules(struct cmd_call *call, const char *file)
{
	FILE *f = fopen(file, "r");
	char *line = NULL;
	size_t cap = 0;
	unsigned number = 0;

	if (f == NULL)
		return false;
	while (getline(&line, &cap, f) >= 0) {
		line[strcspn(line, "\r\n")] = '\0';
		printf("%4u  %s\n", ++number, print_safe(&call->ar, line));
	}
	free(line);
	fclose(f);
	return true;
}

/* The rules as the daemon has read them: those of included files, too. */
static void
cmd_folder_print_list(struct cmd_call *call, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *rule = json_array_get(list, i);

		printf("%s:%lld  %s\n",
		    print_safe(&call->ar, cmd_text(rule, "file")),
		    (long long)cmd_int(rule, "line"),
		    print_safe(&call->ar, cmd_text(rule, "pattern")));
	}
}

int
cmd_folder_ignore_list(struct cmd_call *call)
{
	struct config cfg;
	struct err err = { 0 };
	const json_t *list;
	json_t *o = NULL;
	const char *file;
	uint32_t i;
	int code;

	code = cmd_config(call, &cfg);
	if (code == CMD_OK)
		code = cmd_find_folder(call, &cfg, call->opt.arg[0], &i);
	if (code != CMD_OK)
		return code;
	file = arena_printf(&call->ar, "%.*s/.stignore",
	    SLICE_FMT(cfg.setup.folder[i].path));
	code = cmd_try(call, "GET",
	    cmd_query(call, "/v1/ignores", "folder",
		(const char *)cfg.setup.folder[i].id.ptr),
	    5, &o, &err);
	/* Lines of a file are no rules: those only the daemon has. */
	if (options_has(&call->opt, "json"))
		return code != CMD_OK ? cmd_fail_try(call, code, &err)
				      : cmd_print_json(o, CMD_OK);
	if (options_has(&call->opt, "jsonl"))
		return code != CMD_OK ? cmd_fail_try(call, code, &err)
				      : cmd_print_jsonl(o, "list", CMD_OK);
	code = CMD_OK;
	printf("%s\n", file);
	list = json_object_get(o, "list");
	if (json_array_size(list) > 0) {
		cmd_folder_print_list(call, list);
	} else if (!cmd_folder_print_rules(call, file)) {
		if (errno != ENOENT) {
			cmd_say("%s: %s", file, strerror(errno));
			code = CMD_FAILED;
		} else {
			puts("no rules");
		}
	}
	if (cmd_text(o, "error")[0] != '\0') {
		cmd_say("%s", print_safe(&call->ar, cmd_text(o, "error")));
		code = CMD_STOPPED;
	}
	json_decref(o);
	return code;
}

int
cmd_folder_ignore_test(struct cmd_call *call)
{
	const size_t last = call->opt.arg_count - 1;
	const json_t *rule;
	char *path;
	json_t *o;
	int code;

	if (last == 1) {
		path = cmd_query(call, "/v1/ignore-test", "folder",
		    call->opt.arg[0]);
		path = cmd_query(call, path, "path", call->opt.arg[1]);
	} else {
		path = cmd_query(call, "/v1/ignore-test", "path",
		    cmd_absolute(call, call->opt.arg[0]));
	}
	code = cmd_ask(call, "GET", path, &o);
	if (code != CMD_OK)
		return code;
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	rule = json_object_get(o, "rule");
	printf("%s: %s", print_safe(&call->ar, cmd_text(o, "path")),
	    cmd_bool(o, "ignored") ? "ignored" : "not ignored");
	if (json_is_object(rule))
		printf(", by %s:%lld: %s\n",
		    print_safe(&call->ar, cmd_text(rule, "file")),
		    (long long)cmd_int(rule, "line"),
		    print_safe(&call->ar, cmd_text(rule, "pattern")));
	else
		puts(cmd_bool(o, "ignored") ? ", as every internal name"
					    : ", no rule hits it");
	json_decref(o);
	return CMD_OK;
}
