/*
 * The table of commands, and the way from a command line to one of them.
 */
#include "cli/cmd.h"

#include <stdarg.h>
#include <string.h>

static const struct cmd cmds[] = {
	{ "status", "[FOLDER|DEVICE]", 0, 1, "x,q,watch,json", cmd_status,
	    "what is in sync and what is not" },
	{ "wait", "[FOLDER]... [--with DEVICE]... [--timeout TIME]", 0, 64,
	    "with=*,timeout=,json,q", cmd_wait,
	    "scan, then block until in sync" },
	{ "explain", "PATH", 1, 1, "json", cmd_explain,
	    "why a file is as it is" },
	{ "plan", "FOLDER", 1, 1, "held,json,jsonl", cmd_plan,
	    "what would be done here next" },
	{ "events", "[--follow] [--since TIME] [--type TYPE,...]", 0, 0,
	    "follow,since=,type=,json,jsonl", cmd_events, "what happened" },
	{ "conflict list", "[FOLDER]", 0, 1, "columns=,json,jsonl",
	    cmd_conflict_list,
	    "files that were changed on two devices at once" },

	{ "device add", "ID --name NAME [--addr ADDRESS]...", 1, 1,
	    "name=,addr=*,introducer,auto-accept", cmd_device_add,
	    "trust a device" },
	{ "device list", "", 0, 0, "columns=,json,jsonl,q", cmd_device_list,
	    "the devices this one knows" },
	{ "device show", "DEVICE", 1, 1, "json", cmd_device_show,
	    "all about a device" },
	{ "device rename", "DEVICE NAME", 2, 2, "", cmd_device_rename,
	    "give it another name" },
	{ "device remove", "DEVICE", 1, 1, "yes,dry-run", cmd_device_remove,
	    "trust it no longer" },
	{ "device diag", "DEVICE", 1, 1, "json", cmd_path_diag,
	    "every way to it that was tried, and how it went" },
	{ "device pause", "DEVICE", 1, 1, "", cmd_device_pause,
	    "disconnect it" },
	{ "device resume", "DEVICE", 1, 1, "", cmd_device_resume,
	    "connect with it again" },

	{ "ping", "DEVICE", 1, 1, "c=,until-direct,timeout=,json",
	    cmd_path_ping, "how far away it is, and by which way" },
	{ "whois", "IP[:PORT]|DEVICE|ID", 1, 1, "json", cmd_path_whois,
	    "which device is at the other end" },
	{ "forward", "[BIND:]PORT DEVICE:PORT", 1, 2, "stdio,json", cmd_forward,
	    "a port here that leads to one of a device's own loopback" },
	{ "refresh", "", 0, 0, "", cmd_path_refresh, "try every address now" },

	{ "device invite", "[--expires 15m] [--approve]", 0, 0,
	    "expires=,approve,wait,qr,json", cmd_domain_invite,
	    "a code, with which one device may join this one's domain" },
	{ "device approve", "DEVICE", 1, 1, "", cmd_domain_approve,
	    "let in who joined and waits for it" },
	{ "device deny", "DEVICE", 1, 1, "", cmd_domain_refuse,
	    "forget who joined and waits" },
	{ "device revoke", "DEVICE", 1, 1, "yes", cmd_domain_revoke,
	    "out of the domain, on every device, at once" },
	{ "device rotate", "[DEVICE ID] [--grace 7d]", 0, 2,
	    "grace=,yes,dry-run,json", cmd_key_rotate_device,
	    "a new key, and so a new ID, for this device; members follow" },
	{ "join", "CODE [--coordinator URL] [--name NAME]", 1, 1,
	    "coordinator=,name=,json", cmd_domain_join,
	    "join the domain of the device that made the code" },
	{ "domain status", "", 0, 0, "json", cmd_domain_status,
	    "the devices that are one person's, and who waits" },
	{ "domain log", "", 0, 0, "json,jsonl", cmd_domain_log,
	    "all that was ever signed in it" },
	{ "domain allow", "FROM TO [SERVICE]", 2, 3, "", cmd_domain_allow,
	    "FROM may use it of TO: sync, drop, diag, forward or all; any: "
	    "everybody" },
	{ "domain forbid", "FROM TO [SERVICE]", 2, 3, "", cmd_domain_forbid,
	    "FROM may not" },
	{ "domain recover", "", 0, 0, "", cmd_domain_recover,
	    "own it again, with the recovery key from standard input" },
	{ "domain sign", "ID|DEVICE", 1, 1, "", cmd_domain_sign,
	    "add this owner's signature to what waits for it" },
	{ "domain reject", "ID|DEVICE", 1, 1, "", cmd_domain_reject,
	    "this owner will not sign it" },
	{ "domain quorum", "K", 1, 1, "", cmd_domain_quorum,
	    "so many owners must sign each change" },
	{ "domain owner add", "OWNER-KEY", 1, 1, "", cmd_domain_owner_add,
	    "one more owner: the key that `key new` showed there" },
	{ "domain owner remove", "OWNER-KEY", 1, 1, "", cmd_domain_owner_remove,
	    "one owner less" },
	{ "key new", "", 0, 0, "q", cmd_key_new,
	    "a key for an owner on this device" },
	{ "key show", "", 0, 0, "json", cmd_key_show,
	    "this device's ID, and its owner's key" },
	{ "key rotate", "", 0, 0, "", cmd_key_rotate,
	    "a new owner's key; the old one is worth nothing then" },

	{ "folder add",
	    "PATH --id ID [--name LABEL] [--mode MODE] [--share DEVICE]...", 1,
	    1, "id=,name=,mode=,share=*", cmd_folder_add,
	    "keep a directory in sync" },
	{ "folder list", "", 0, 0, "columns=,json,jsonl,q", cmd_folder_list,
	    "the folders of this device" },
	{ "folder show", "FOLDER", 1, 1, "json", cmd_folder_show,
	    "all about a folder" },
	{ "folder remove", "FOLDER", 1, 1, "yes,dry-run", cmd_folder_remove,
	    "sync it no longer; the files stay" },
	{ "folder share", "FOLDER DEVICE", 2, 2, "", cmd_folder_share,
	    "share it with a device" },
	{ "folder unshare", "FOLDER DEVICE", 2, 2, "", cmd_folder_unshare,
	    "share it with a device no longer" },
	{ "folder pause", "FOLDER", 1, 1, "", cmd_folder_pause,
	    "send and receive nothing" },
	{ "folder resume", "FOLDER", 1, 1, "", cmd_folder_resume, "go on" },
	{ "folder scan", "FOLDER [SUBPATH]", 1, 2, "", cmd_folder_scan,
	    "look for changes now" },
	{ "folder adopt", "FOLDER", 1, 1, "", cmd_folder_adopt,
	    "take the directory as it is now: another disk, or emptied" },
	{ "folder override", "FOLDER", 1, 1, "yes,dry-run", cmd_folder_override,
	    "send-only: this device's state wins" },
	{ "folder revert", "FOLDER", 1, 1, "yes,dry-run", cmd_folder_revert,
	    "receive-only: undo what was changed here" },
	{ "folder confirm", "FOLDER", 1, 1, "yes,dry-run", cmd_plan_confirm,
	    "let the mass change that is held be done" },
	{ "folder reject", "FOLDER", 1, 1, "yes,dry-run", cmd_plan_reject,
	    "answer it with what is here" },
	{ "folder ignore list", "FOLDER", 1, 1, "json,jsonl",
	    cmd_folder_ignore_list, "the ignore rules" },
	{ "folder ignore test", "[FOLDER] PATH", 1, 2, "json",
	    cmd_folder_ignore_test, "which rule hits a path" },

	{ "trash list", "FOLDER [PATH]", 1, 2, "columns=,json,jsonl",
	    cmd_trash_list, "what other devices deleted or replaced here" },
	{ "trash restore", "FOLDER PATH [--to FILE]", 2, 2,
	    "to=", cmd_trash_restore, "copy it back to its place" },
	{ "trash empty", "FOLDER", 1, 1, "yes,dry-run", cmd_trash_empty,
	    "delete all of it for good" },

	{ "netcheck", "", 0, 0, "json", cmd_netcheck,
	    "what is between this device and the net" },

	{ "config get", "KEY", 1, 1, "json", cmd_config_get,
	    "a value of the configuration" },
	{ "config set", "KEY VALUE...", 2, 64, "add", cmd_config_set,
	    "change it; --add keeps the values it has" },
	{ "config unset", "KEY [VALUE]", 1, 2, "", cmd_config_unset,
	    "back to the default" },
	{ "config list", "", 0, 0, "all,json,jsonl", cmd_config_list,
	    "what is set; --all: the defaults too" },
	{ "config check", "[FILE]", 0, 1, "json", cmd_config_check,
	    "find mistakes" },
	{ "config edit", "", 0, 0, "", cmd_config_edit,
	    "in $EDITOR, checked before it is saved" },

	{ "coord status", "", 0, 0, "json", cmd_coord_status,
	    "this node's own coordinator" },
	{ "coord audit", "[--verify]", 0, 0, "verify,json,jsonl",
	    cmd_coord_audit, "what it wrote down; is that whole?" },

	{ "id", "", 0, 0, "qr,json", cmd_id,
	    "this device's ID; makes the identity if there is none" },
	{ "doctor", "", 0, 0, "x,q,json", cmd_doctor,
	    "is everything around it as it should be?" },
	{ "import-syncthing", "[DIR]", 0, 1, "force,dry-run", cmd_import,
	    "take over a Syncthing: identity, devices, folders" },
	{ "completion", "bash|zsh", 1, SIZE_MAX, "", cmd_completion,
	    "a completion script" },
	{ "version", "", 0, 0, "json", cmd_version, "the version" },
	{ "help", "[COMMAND]...", 0, 3, "", cmd_help, "this" },
	{ NULL, NULL, 0, 0, NULL, NULL, NULL },
};

const struct cmd *
cmd_table(void)
{
	return cmds;
}

size_t
cmd_matches(const struct cmd *cmd, size_t argc, const char *const *argv)
{
	const char *name = cmd->name;
	size_t n = 0;

	for (;;) {
		const size_t len = strcspn(name, " ");

		if (n == argc || strlen(argv[n]) != len ||
		    memcmp(argv[n], name, len) != 0)
			return 0;
		n++;
		if (name[len] == '\0')
			return n;
		name += len + 1;
	}
}

static int
cmd_unknown(size_t argc, const char *const *argv)
{
	size_t known = 0;

	/* What of it is right so far? */
	for (const struct cmd *cmd = cmds; cmd->name != NULL; cmd++)
		while (known < argc && cmd_is_within(cmd, known + 1, argv))
			known++;
	if (known == argc) {
		cmd_say("one word is missing: which of these?");
	} else if (known > 0) {
		cmd_say("no command %s%s%s %s", argv[0], known > 1 ? " " : "",
		    known > 1 ? argv[1] : "", argv[known]);
	} else {
		cmd_say("no command \"%s\"", argv[0]);
		cmd_print_near(stderr, argv[0]);
		return CMD_USAGE;
	}
	cmd_print_list(stderr, known, argv);
	return CMD_USAGE;
}

static bool
cmd_wants_help(int argc, const char *const *argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 ||
		    strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

/* Too few words, and which is missing, or too many, and which is too much. */
static int
cmd_wrong_count(struct cmd_call *call)
{
	const size_t count = call->opt.arg_count;
	const char *args = call->cmd->args;
	struct cmd_arg arg;

	if (count > call->cmd->max)
		return cmd_usage(call, "\"%s\" is one word too many",
		    call->opt.arg[call->cmd->max]);
	for (size_t i = 0; cmd_arg_next(&args, &arg); i++)
		if (i == count || arg.repeats)
			return cmd_usage(call, "%.*s is missing",
			    SLICE_FMT(arg.word));
	return cmd_usage(call, "something is missing");
}

static int
cmd_run(const struct cmd *cmd, const char *home_dir, int argc,
    const char *const *argv)
{
	struct cmd_call call = { .cmd = cmd };
	struct err err = { 0 };
	int code;

	if (cmd_wants_help(argc, argv)) {
		cmd_print_help(stdout, cmd);
		return CMD_OK;
	}
	if (options_parse(&call.opt, cmd->options, argc, argv, &call.ar, &err) <
	    0) {
		code = cmd_usage(&call, "%s", err.text);
		goto out;
	}
	if (call.opt.arg_count < cmd->min || call.opt.arg_count > cmd->max) {
		code = cmd_wrong_count(&call);
		goto out;
	}
	if (home_init(&call.home, home_dir, &err) < 0) {
		code = cmd_fail(&call, &err);
		goto out;
	}
	call.client = client_new(&call.home);
	code = cmd->run(&call);
	client_free(call.client);
	home_fini(&call.home);
out:
	cmd_print_failure(&call, code);
	json_decref(call.refusal);
	json_decref(call.failure);
	arena_fini(&call.ar);
	return code;
}

int
cmd_usage(struct cmd_call *call, const char *fmt, ...)
{
	va_list ap;
	char text[480];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cmd_fail_as(call, CMD_USAGE, NULL, "%s", text);
	cmd_print_usage(stderr, call->cmd);
	return CMD_USAGE;
}

int
cmd_main(int argc, const char *const *argv)
{
	const char *home_dir = NULL;
	size_t words = 0;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--home") == 0 && i + 1 < argc) {
			home_dir = argv[++i];
		} else if (strncmp(argv[i], "--home=", 7) == 0) {
			home_dir = argv[i] + 7;
		} else if (strcmp(argv[i], "--help") == 0 ||
			   strcmp(argv[i], "-h") == 0) {
			cmd_print_all(stdout);
			return CMD_OK;
		} else if (strcmp(argv[i], "--version") == 0) {
			puts("syncctl " HOLDFAST_VERSION);
			return CMD_OK;
		} else {
			cmd_say(strcmp(argv[i], "--home") == 0
				    ? "option %s wants a directory"
				    : "no option %s; syncctl help has all",
			    argv[i]);
			return CMD_USAGE;
		}
	}
	if (i == argc) {
		cmd_print_all(stderr);
		return CMD_USAGE;
	}
	for (const struct cmd *cmd = cmds; cmd->name != NULL; cmd++) {
		const size_t n = cmd_matches(cmd, (size_t)(argc - i), argv + i);

		if (n > 0)
			return cmd_run(cmd, home_dir, argc - i - (int)n,
			    argv + i + n);
	}
	/* The words up to the first option are what was meant. */
	while (i + (int)words < argc && argv[i + (int)words][0] != '-')
		words++;
	if (cmd_wants_help(argc - i, argv + i) &&
	    cmd_print_list(stdout, words, argv + i))
		return CMD_OK;
	return cmd_unknown(words, argv + i);
}
