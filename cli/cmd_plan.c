/*
 * syncctl plan, and the decision about what the brake holds.
 */
#include "cli/cmd.h"

#include <string.h>

#include "cli/print.h"

/* Of the entries that were told, by what is done. */
struct cmd_plan_sums {
	int64_t shown, held;
};

static json_t *
cmd_plan_page(struct cmd_call *call, const char *after, int *code)
{
	char *path = cmd_query(call, "/v1/plan", "folder", call->opt.arg[0]);
	json_t *o = NULL;

	if (after[0] != '\0')
		path = cmd_query(call, path, "after", after);
	if (options_has(&call->opt, "held"))
		path = cmd_query(call, path, "held", "1");
	*code = cmd_ask(call, "GET", path, &o);
	return o;
}

static void
cmd_plan_print(struct cmd_call *call, const json_t *list,
    struct cmd_plan_sums *sums)
{
	const json_t *e;
	size_t i;

	json_array_foreach(list, i, e) {
		const bool held = cmd_bool(e, "held");
		const char *device = cmd_text(e, "device");

		sums->shown++;
		sums->held += held;
		if (options_has(&call->opt, "jsonl")) {
			cmd_print_line(e);
			continue;
		}
		printf("%-8s  %-4s  %-12s  %s%s\n", cmd_text(e, "action"),
		    held ? "HELD" : "",
		    print_safe(&call->ar, device[0] == '\0' ? "?" : device),
		    print_safe(&call->ar, cmd_text(e, "path")),
		    strcmp(cmd_text(e, "type"), "directory") == 0 ? "/" : "");
	}
}

static void
cmd_plan_print_held(struct cmd_call *call, const json_t *o)
{
	struct arena *ar = &call->ar;
	const json_t *h;
	size_t i;

	json_array_foreach(json_object_get(o, "held"), i, h)
		printf("%s wants to delete %s and rewrite %s of %s files.  It "
		       "waits for "
		       "you:\n  syncctl folder confirm %s    to let it\n"
		       "  syncctl folder reject %s     to make it take what is "
		       "here\n",
		    print_safe(ar, cmd_text(h, "device")),
		    print_count(ar, cmd_int(h, "deletes")),
		    print_count(ar, cmd_int(h, "rewrites")),
		    print_count(ar, cmd_int(h, "files")),
		    print_safe(ar, cmd_text(o, "folder")),
		    print_safe(ar, cmd_text(o, "folder")));
}

/* All pages as one document. */
static int
cmd_plan_json(struct cmd_call *call, json_t *o)
{
	json_t *all = json_object_get(o, "entries");
	int code = CMD_OK;

	while (cmd_text(o, "next")[0] != '\0') {
		json_t *page = cmd_plan_page(call, cmd_text(o, "next"), &code);

		if (code != CMD_OK) {
			json_decref(o);
			return code;
		}
		json_array_extend(all, json_object_get(page, "entries"));
		json_object_set(o, "next", json_object_get(page, "next"));
		json_decref(page);
	}
	json_object_del(o, "next");
	return cmd_print_json(o, CMD_OK);
}

int
cmd_plan(struct cmd_call *call)
{
	struct cmd_plan_sums sums = { 0 };
	json_t *o;
	int code;

	o = cmd_plan_page(call, "", &code);
	if (code != CMD_OK)
		return code;
	if (options_has(&call->opt, "json"))
		return cmd_plan_json(call, o);
	for (;;) {
		json_t *page;

		cmd_plan_print(call, json_object_get(o, "entries"), &sums);
		if (cmd_text(o, "next")[0] == '\0')
			break;
		page = cmd_plan_page(call, cmd_text(o, "next"), &code);
		json_decref(o);
		if (code != CMD_OK)
			return code;
		o = page;
	}
	if (!options_has(&call->opt, "jsonl")) {
		if (sums.shown == 0)
			puts("Nothing is to be done.");
		cmd_plan_print_held(call, o);
	}
	json_decref(o);
	return CMD_OK;
}

/* --- Deciding --- */

static int
cmd_plan_decide(struct cmd_call *call, const char *act, const char *would)
{
	int64_t losses = 0;
	const json_t *held, *h;
	json_t *o = NULL;
	size_t i;
	int code;

	code = cmd_ask(call, "GET",
	    cmd_query(call, "/v1/status", "subject", call->opt.arg[0]), &o);
	if (code != CMD_OK)
		return code;
	held = json_object_get(json_array_get(json_object_get(o, "folders"), 0),
	    "held");
	if (json_array_size(held) == 0) {
		printf("%s: nothing is held.\n",
		    print_safe(&call->ar, call->opt.arg[0]));
		json_decref(o);
		return CMD_OK;
	}
	json_array_foreach(held, i, h)
		losses += cmd_int(h, "deletes") + cmd_int(h, "rewrites");
	printf("%s: %s files that others deleted or rewrote %s.\n",
	    print_safe(&call->ar, call->opt.arg[0]),
	    print_count(&call->ar, losses), would);
	json_decref(o);
	if (!cmd_agreed(call, &code))
		return code;
	code = cmd_ask(call, "POST",
	    arena_printf(&call->ar, "/v1/folders/%s/%s",
		client_escape(call->client, call->opt.arg[0], &call->ar), act),
	    &o);
	json_decref(o);
	return code;
}

int
cmd_plan_confirm(struct cmd_call *call)
{
	return cmd_plan_decide(call, "confirm",
	    "are deleted or rewritten here, too");
}

int
cmd_plan_reject(struct cmd_call *call)
{
	return cmd_plan_decide(call, "reject",
	    "become again what they are here, on every device");
}
