/* syncctl key: what this device signs and is known by. */
#include "cli/cmd.h"

#include "cli/print.h"

int
cmd_key_show(struct cmd_call *call)
{
	json_t *o, *out;
	const int code = cmd_ask(call, "GET", "/v1/domain", &o);
	const char *key;

	if (code != CMD_OK)
		return code;
	if (options_has(&call->opt, "json")) {
		out = cmd_object();
		json_object_set(out, "device", json_object_get(o, "self"));
		json_object_set(out, "owner", json_object_get(o, "key"));
		json_object_set(out, "counts", json_object_get(o, "owner"));
		json_object_set(out, "next", json_object_get(o, "next"));
		json_decref(o);
		return cmd_print_json(out, CMD_OK);
	}
	key = cmd_text(o, "key");
	printf("%-9s %s\n", "device", cmd_text(o, "self"));
	printf("%-9s %s%s\n", "owner", key[0] == '\0' ? "none here" : key,
	    key[0] == '\0' || cmd_bool(o, "owner") ? ""
						   : "  (is none's any more)");
	if (cmd_text(o, "next")[0] != '\0')
		printf("%-9s %s  (waits to be an owner's)\n", "next",
		    cmd_text(o, "next"));
	json_decref(o);
	return CMD_OK;
}

int
cmd_key_rotate(struct cmd_call *call)
{
	const int code = cmd_domain_post(call, "/v1/domain/rotate");

	if (code == CMD_OK)
		puts("This device has a new owner's key; the one before is "
		     "worth nothing any more.");
	return code;
}

int
cmd_key_new(struct cmd_call *call)
{
	json_t *o;
	const char *key;
	int code = cmd_domain_post(call, "/v1/domain/new-key");

	if (code == CMD_OK)
		code = cmd_ask(call, "GET", "/v1/domain", &o);
	if (code != CMD_OK)
		return code;
	key = cmd_text(o, cmd_bool(o, "owner") ? "key" : "next");
	if (options_has(&call->opt, "q"))
		puts(key);
	else
		printf("Where there is an owner's key:\n    syncctl domain "
		       "owner add %s\n",
		    key);
	json_decref(o);
	return CMD_OK;
}
