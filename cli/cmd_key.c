/* syncctl key, device rotate: what this device signs and is known by. */
#include "cli/cmd.h"

#include "cli/print.h"
#include "engine/base/clock.h"

#define CMD_KEY_GRACE_MIN_NS (10 * CLOCK_S)

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
		json_object_set(out, "successor",
		    json_object_get(o, "successor"));
		json_object_set(out, "successor_signed",
		    json_object_get(o, "successor_signed"));
		json_decref(o);
		return cmd_print_json(out, CMD_OK);
	}
	key = cmd_text(o, "key");
	printf("%-9s %s\n", "device", cmd_text(o, "self"));
	if (cmd_text(o, "successor")[0] != '\0')
		printf("%-9s %s  (%s)\n", "successor", cmd_text(o, "successor"),
		    cmd_bool(o, "successor_signed")
			? "signed; until somebody else has heard of it"
			: "has to be signed where an owner's key is");
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

/* --- Another ID for a device --- */

/* Peers by the configuration alone: they read no log. */
static json_t *
cmd_key_left_behind(const struct config *cfg)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < cfg->setup.device_count; i++) {
		const struct slice name = cfg->setup.device[i].name;

		if (!cfg->device[i].member)
			json_array_append_new(list,
			    json_stringn((const char *)name.ptr, name.len));
	}
	return list;
}

static void
cmd_key_tell_left(struct cmd_call *call, const json_t *left)
{
	const json_t *name;
	size_t i;

	if (json_array_size(left) == 0)
		return;
	puts("No members of the domain, so they cannot follow.  Each of them "
	     "has to be told the\nnew ID by hand:");
	json_array_foreach(left, i, name)
		printf("    %s\n",
		    print_safe(&call->ar, json_string_value(name)));
}

/* What the domain calls this device. */
static const char *
cmd_key_own_name(struct cmd_call *call)
{
	const char *name = "NAME";
	const json_t *m;
	json_t *o;
	size_t i;

	if (cmd_ask(call, "GET", "/v1/domain", &o) != CMD_OK)
		return name;
	json_array_foreach(json_object_get(o, "members"), i, m)
		if (cmd_bool(m, "self"))
			name = print_safe(&call->ar, cmd_text(m, "name"));
	name = arena_str(&call->ar, slice_str(name));
	json_decref(o);
	return name;
}

/* What came of it; an exit code. */
static int
cmd_key_tell_rotated(struct cmd_call *call, json_t *answer, json_t *left)
{
	const json_t *waits = json_object_get(answer, "waits");
	const bool is_signed = cmd_bool(answer, "signed");
	const char *id = cmd_text(answer, "id");
	const int code =
	    is_signed || call->opt.arg_count > 0 ? CMD_OK : CMD_ATTENTION;
	json_t *o;

	if (options_has(&call->opt, "json")) {
		o = cmd_object();
		json_object_update(o, answer);
		json_object_set(o, "left_behind", left);
		return cmd_print_json(o, waits != NULL ? CMD_ATTENTION : code);
	}
	if (waits != NULL) {
		cmd_domain_print_waits(waits);
		return CMD_ATTENTION;
	}
	if (call->opt.arg_count > 0)
		puts("Signed.  It takes that ID as soon as it hears of it; the "
		     "other members follow.");
	else if (is_signed)
		printf("This device is going to be\n    %s\nas soon as another "
		       "member, or a coordinator elsewhere, has heard of "
		       "it.\n",
		    id);
	else
		printf("The new key is here, and no owner's key that counts.  "
		       "Where there is one:\n    syncctl device rotate '%s' "
		       "%s\n",
		    cmd_key_own_name(call), id);
	return code;
}

static int
cmd_key_ask_rotation(struct cmd_call *call, uint64_t grace_ns, json_t *left)
{
	char *path =
	    arena_printf(&call->ar, "/v1/domain/rotate-device?grace=%llu",
		(unsigned long long)(grace_ns / CLOCK_S));
	json_t *answer;
	int code;

	if (call->opt.arg_count > 0) {
		path = cmd_query(call, path, "device", call->opt.arg[0]);
		path = cmd_query(call, path, "id", call->opt.arg[1]);
	}
	code = cmd_ask(call, "POST", path, &answer);
	if (code != CMD_OK)
		return code;
	code = cmd_key_tell_rotated(call, answer, left);
	json_decref(answer);
	return code;
}

/* What would be, for --dry-run and before --yes was said; an exit code. */
static int
cmd_key_tell_plan(struct cmd_call *call, json_t *left)
{
	json_t *o;

	if (options_has(&call->opt, "json") &&
	    options_has(&call->opt, "dry-run")) {
		o = cmd_object();
		json_object_set(o, "left_behind", left);
		return cmd_print_json(o, CMD_OK);
	}
	if (options_has(&call->opt, "json"))
		return CMD_OK;
	if (options_has(&call->opt, "dry-run"))
		puts(call->opt.arg_count > 0
			 ? "Its new ID would be signed; members would follow."
			 : "This device would get a new key, and so a new ID; "
			   "members would follow.");
	cmd_key_tell_left(call, left);
	return CMD_OK;
}

int
cmd_key_rotate_device(struct cmd_call *call)
{
	const char *grace = options_value(&call->opt, "grace");
	struct err err = { 0 };
	uint64_t ns = 0;
	struct devid id;
	struct config cfg;
	json_t *left;
	int code;

	if (call->opt.arg_count == 1)
		return cmd_usage(call,
		    "its new ID is missing: `device rotate` there shows it");
	if (call->opt.arg_count > 1 &&
	    devid_parse(&id, slice_str(call->opt.arg[1]), &err) < 0)
		return cmd_usage(call, "%s", err.text);
	if (grace != NULL &&
	    (config_parse_duration(slice_str(grace), &ns, &err) < 0 ||
		ns < CMD_KEY_GRACE_MIN_NS))
		return cmd_usage(call,
		    "--grace takes a time such as 7d, and 10s at least");
	code = cmd_config(call, &cfg);
	if (code != CMD_OK)
		return code;
	/* Of another device only that one knows whom it leaves behind. */
	left =
	    call->opt.arg_count > 0 ? json_array() : cmd_key_left_behind(&cfg);
	code = cmd_key_tell_plan(call, left);
	if (options_has(&call->opt, "dry-run") ||
	    (json_array_size(left) > 0 && !cmd_agreed(call, &code))) {
		json_decref(left);
		return code;
	}
	code = cmd_key_ask_rotation(call, ns, left);
	json_decref(left);
	return code;
}
