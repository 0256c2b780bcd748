/* syncctl id, version: who and what this is. */
#include "cli/cmd.h"

#include "cli/print.h"
#include "mesh/identity.h"

int
cmd_id(struct cmd_call *call)
{
	struct identity *identity = NULL;
	struct err err = { 0 };
	char text[DEVID_TEXT_LEN + 1];
	json_t *o;

	if (home_make(&call->home, &err) < 0 ||
	    identity_open_or_make(&identity, call->home.state_dir, &err) < 0)
		return cmd_fail(call, &err);
	devid_text(identity_devid(identity), text);
	if (options_has(&call->opt, "json")) {
		o = cmd_object();
		json_object_set_new(o, "id", json_string(text));
		json_object_set_new(o, "key",
		    json_string(identity_key_text(identity)));
		cmd_print_json(o, CMD_OK);
	} else {
		puts(text);
	}
	if (options_has(&call->opt, "qr"))
		print_qr(stdout, text);
	identity_close(identity);
	return CMD_OK;
}

int
cmd_version(struct cmd_call *call)
{
	struct err err = { 0 };
	json_t *daemon = NULL;
	json_t *o;

	cmd_try(call, "GET", "/v1/version", 5, &daemon, &err);
	if (options_has(&call->opt, "json")) {
		o = cmd_object();
		json_object_set_new(o, "syncctl",
		    json_string(HOLDFAST_VERSION));
		json_object_set_new(o, "syncd",
		    daemon == NULL ? json_null()
				   : json_string(cmd_text(daemon, "version")));
		cmd_print_json(o, CMD_OK);
	} else {
		puts("syncctl " HOLDFAST_VERSION);
		if (daemon != NULL)
			printf("syncd %s (running)\n",
			    cmd_text(daemon, "version"));
	}
	json_decref(daemon);
	return CMD_OK;
}
