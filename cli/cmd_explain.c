/* syncctl explain, conflict list: one path, and why it is as it is. */
#include "cli/cmd.h"

#include <string.h>

#include "cli/print.h"

/* The first line: what it comes to. */
static const char *
cmd_explain_sum(struct cmd_call *call, const json_t *o)
{
	const char *code = cmd_text(json_object_get(o, "reason"), "code");

	if (strcmp(code, "ignored") == 0)
		return "ignored";
	if (!cmd_bool(o, "known") && code[0] == '\0')
		return "unknown: no device has it, and it was not seen here";
	if (cmd_bool(o, "in_sync") && cmd_bool(o, "everywhere"))
		return code[0] == '\0'
			   ? "in sync"
			   : arena_printf(&call->ar, "in sync, %s", code);
	if (cmd_bool(o, "in_sync"))
		return "in sync here, not everywhere yet";
	return arena_printf(&call->ar, "not in sync: %s",
	    code[0] == '\0' ? "no reason is known" : code);
}

static void
cmd_explain_reason(struct cmd_call *call, const json_t *o)
{
	const json_t *r = json_object_get(o, "reason");
	const json_t *rule = json_object_get(o, "rule");
	const json_t *progress = json_object_get(o, "progress");

	if (json_is_object(r)) {
		printf("  What     %s\n", cmd_text(r, "what"));
		if (cmd_text(o, "text")[0] != '\0')
			printf("           %s\n",
			    print_safe(&call->ar, cmd_text(o, "text")));
		printf("  Effect   %s\n", cmd_text(r, "effect"));
		if (cmd_text(r, "do")[0] != '\0')
			printf("  Do       %s\n",
			    print_safe(&call->ar, cmd_text(r, "do")));
	}
	if (cmd_text(o, "blocked_by")[0] != '\0')
		printf("  Blocked  by %s\n",
		    print_safe(&call->ar, cmd_text(o, "blocked_by")));
	if (json_is_object(rule))
		printf("  Rule     %s:%lld: %s\n",
		    print_safe(&call->ar, cmd_text(rule, "file")),
		    (long long)cmd_int(rule, "line"),
		    print_safe(&call->ar, cmd_text(rule, "pattern")));
	if (cmd_int(progress, "total") > 0)
		printf("  Progress %s of %s\n",
		    print_size(&call->ar, cmd_int(progress, "done")),
		    print_size(&call->ar, cmd_int(progress, "total")));
}

static void
cmd_explain_versions(struct cmd_call *call, const json_t *list)
{
	struct arena *ar = &call->ar;
	const int64_t now = cmd_now_s();
	struct print_table t;
	const json_t *v;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	print_table_init(&t, ar, 6, 0);
	print_cell(&t, "  VERSION");
	print_cell(&t, "TYPE");
	print_cell(&t, "SIZE");
	print_cell(&t, "CHANGED");
	print_cell(&t, "BY");
	print_cell(&t, "HELD BY");
	json_array_foreach(list, i, v) {
		const bool here = cmd_bool(v, "here");
		const bool latest = cmd_bool(v, "latest");
		const char *which = "older";

		if (here && latest)
			which = "latest, here";
		else if (latest)
			which = "latest";
		else if (here)
			which = "here";
		print_cell(&t, arena_printf(ar, "  %s", which));
		print_cell(&t,
		    cmd_bool(v, "deleted") ? "deleted" : cmd_text(v, "type"));
		print_cell(&t, print_size(ar, cmd_int(v, "size")));
		/* Links have no time of their own on the wire. */
		print_cell(&t,
		    strcmp(cmd_text(v, "type"), "link") == 0
			? "–"
			: print_age(ar, cmd_time(cmd_text(v, "modified")),
			      now));
		print_cell(&t, print_safe(ar, cmd_text(v, "modified_by")));
		print_cell(&t,
		    cmd_words(ar, json_object_get(v, "held_by"), "nobody"));
	}
	print_table(&t, stdout);
}

int
cmd_explain(struct cmd_call *call)
{
	const json_t *item;
	json_t *o;
	size_t i;
	int code;

	code = cmd_ask(call, "GET",
	    cmd_query(call, "/v1/explain", "path",
		cmd_absolute(call, call->opt.arg[0])),
	    &o);
	if (code != CMD_OK)
		return code;
	code = (int)cmd_int(o, "exit");
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, code);
	printf("%s  %s  %s\n", print_safe(&call->ar, cmd_text(o, "folder")),
	    print_safe(&call->ar, cmd_text(o, "path")),
	    cmd_explain_sum(call, o));
	cmd_explain_reason(call, o);
	cmd_explain_versions(call, json_object_get(o, "versions"));
	json_array_foreach(json_object_get(o, "conflicts"), i, item)
		printf("  Conflict %s\n",
		    print_safe(&call->ar, json_string_value(item)));
	json_decref(o);
	return code;
}

int
cmd_conflict_list(struct cmd_call *call)
{
	struct arena *ar = &call->ar;
	const int64_t now = cmd_now_s();
	const char *path = "/v1/conflicts";
	const json_t *list, *c;
	struct print_table t;
	json_t *o;
	size_t i;
	int code;

	if (call->opt.arg_count > 0)
		path = cmd_query(call, path, "folder", call->opt.arg[0]);
	code = cmd_ask(call, "GET", path, &o);
	if (code != CMD_OK)
		return code;
	list = json_object_get(o, "conflicts");
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	if (options_has(&call->opt, "jsonl"))
		return cmd_print_jsonl(o, "conflicts", CMD_OK);
	if (json_array_size(list) == 0) {
		puts("No conflicts.");
		json_decref(o);
		return CMD_OK;
	}
	print_table_init(&t, ar, 5, 0);
	print_cell(&t, "FOLDER");
	print_cell(&t, "SIZE");
	print_cell(&t, "CHANGED");
	print_cell(&t, "BY");
	print_cell(&t, "COPY");
	json_array_foreach(list, i, c) {
		print_cell(&t, print_safe(ar, cmd_text(c, "folder")));
		print_cell(&t, print_size(ar, cmd_int(c, "size")));
		print_cell(&t,
		    print_age(ar, cmd_time(cmd_text(c, "modified")), now));
		print_cell(&t, print_safe(ar, cmd_text(c, "modified_by")));
		print_cell(&t, print_safe(ar, cmd_text(c, "path")));
	}
	code = cmd_print_table(call, &t);
	if (!options_has(&call->opt, "columns"))
		puts("Keep what you want under the first name and delete the "
		     "copy.");
	json_decref(o);
	return code;
}
