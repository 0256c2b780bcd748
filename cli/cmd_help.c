/*
 * syncctl help, --help: what there is to type.
 *
 * Commands come from the table of cmd.c, their options from the one here; the
 * completions know the values of options from it, too.
 */
#include "cli/cmd.h"

#include <string.h>

#include "engine/base/slice.h"

/* The first that fits: those of one command before those of all. */
static const struct cmd_option cmd_help_options[] = {
	{ "status", "x", NULL, "only problems" },
	{ "status", "watch", NULL, "again every second, until Ctrl-C" },
	{ "wait", "with", "DEVICE",
	    "only for this one; default: all that share the folders" },
	{ "wait", "timeout", "TIME",
	    "give up after so long, such as 60s; then exit code 7" },
	{ "plan", "held", NULL, "only what waits for a person" },
	{ "events", "follow", NULL, "go on with what happens, until Ctrl-C" },
	{ "events", "since", "TIME",
	    "10m, 14:02, 2026-11-06, 2026-11-06T10:00:00Z or an event's "
	    "number" },
	{ "events", "type", "TYPE,...",
	    "only these, such as change or folder.state" },
	{ "device add", "name", "NAME", "what it is called here" },
	{ "device add", "addr", "ADDRESS",
	    "tcp://HOST:PORT, quic://HOST:PORT, relay://HOST:PORT/?id=ID, or "
	    "dynamic (to be found: the default)" },
	{ "device add", "introducer", NULL,
	    "add the devices it shares our folders with, too" },
	{ "device add", "auto-accept", NULL,
	    "take every folder it offers, below ~/Sync" },
	{ "device list", "q", NULL, "only the names" },
	{ "device remove", "yes", NULL, "may be given; it is not asked for" },
	{ "device revoke", "yes", NULL, "may be given; it is not asked for" },
	{ "device rotate", "grace", "TIME",
	    "how long the old key is heard still; default: 7d" },
	{ "device rotate", "yes", NULL,
	    "leave behind who is no member and cannot follow" },
	{ "ping", "c", "N", "so many times; default: 4" },
	{ "ping", "until-direct", NULL,
	    "try all addresses and end with the first direct way" },
	{ "ping", "timeout", "N", "seconds to try so; default: 30" },
	{ "forward", "stdio", NULL,
	    "standard input and output instead of a port, as for ssh's "
	    "ProxyCommand" },
	{ "forward", "json", NULL, "an event a line, each as JSON" },
	{ "device invite", "expires", "TIME",
	    "how long the code is good; default: 15m" },
	{ "device invite", "approve", NULL,
	    "nobody is in before `device approve`" },
	{ "device invite", "wait", NULL, "wait until somebody has joined" },
	{ "join", "coordinator", "URL",
	    "tcp://HOST:PORT?id=ID; default: as configured, or in the code" },
	{ "join", "name", "NAME", "what this device is called then" },
	{ "folder add", "id", "ID", "the same on all devices" },
	{ "folder add", "name", "LABEL", "what people call it; default: ID" },
	{ "folder add", "mode", "MODE",
	    "sendreceive (the default), sendonly or receiveonly" },
	{ "folder add", "share", "DEVICE", "with whom" },
	{ "folder list", "q", NULL, "only the IDs" },
	{ "key new", "q", NULL, "only the key" },
	{ "folder remove", "yes", NULL, "may be given; it is not asked for" },
	{ "trash restore", "to", "FILE", "another place, for one file" },
	{ "config set", "add", NULL, "keep the values it has" },
	{ "config list", "all", NULL, "the defaults too, as comments" },
	{ "coord audit", "verify", NULL, "was a line changed or taken out?" },
	{ "doctor", "x", NULL, "only what is not well" },
	{ "import-syncthing", "force", NULL,
	    "move this home's identity aside, add to its configuration" },
	{ NULL, "columns", "NAME,...",
	    "only these columns, in this order, such as path,size" },
	{ NULL, "json", NULL, "as one JSON document" },
	{ NULL, "jsonl", NULL, "as one JSON object a line" },
	{ NULL, "q", NULL, "say nothing; the exit code tells" },
	{ NULL, "qr", NULL, "as a QR code, too" },
	{ NULL, "yes", NULL, "do it; without, it is only told" },
	{ NULL, "dry-run", NULL, "only tell what would be done" },
};

#define CMD_HELP_OPTIONS                                                       \
	(sizeof(cmd_help_options) / sizeof(cmd_help_options[0]))

const struct cmd_option *
cmd_option_find(const struct cmd *cmd, struct slice name)
{
	for (size_t i = 0; i < CMD_HELP_OPTIONS; i++) {
		const struct cmd_option *o = &cmd_help_options[i];

		if (slice_equal(slice_str(o->name), name) &&
		    (o->cmd == NULL || strcmp(o->cmd, cmd->name) == 0))
			return o;
	}
	return NULL;
}

bool
cmd_option_next(const char **spec, struct slice *name, bool *takes_value)
{
	const size_t n = strcspn(*spec, ",=*");

	if (**spec == '\0')
		return false;
	*name = slice_of(*spec, n);
	*takes_value = (*spec)[n] == '=';
	*spec += strcspn(*spec, ",");
	*spec += **spec == ',';
	return true;
}

bool
cmd_arg_next(const char **args, struct cmd_arg *out)
{
	const char *at = *args;
	struct slice word;

	/* Options and their values: "--name NAME", "[--addr ADDRESS]...". */
	for (at += strspn(at, " "); at[0] == '-' || strncmp(at, "[--", 3) == 0;
	     at += strspn(at, " ")) {
		if (at[0] == '-') {
			at += strcspn(at, " ");
			at += strspn(at, " ");
		} else {
			at += strcspn(at, "]");
		}
		at += strcspn(at, " ");
	}
	if (*at == '\0')
		return false;
	word = slice_of(at, strcspn(at, " "));
	*args = at + word.len;
	out->repeats =
	    word.len > 3 && memcmp(word.ptr + word.len - 3, "...", 3) == 0;
	if (out->repeats)
		word.len -= 3;
	out->optional = word.ptr[0] == '[';
	if (out->optional)
		word = slice_of(word.ptr + 1, word.len - 2);
	out->word = word;
	return true;
}

/* "--name NAME", "-c N", "--json". */
static void
cmd_help_word(const struct cmd *cmd, struct slice name, bool takes_value,
    char *out, size_t cap)
{
	const struct cmd_option *o = cmd_option_find(cmd, name);
	const char *value = o == NULL || o->value == NULL ? "VALUE" : o->value;

	snprintf(out, cap, "%s%.*s%s%s", name.len == 1 ? "-" : "--",
	    SLICE_FMT(name), takes_value ? " " : "", takes_value ? value : "");
}

bool
cmd_is_within(const struct cmd *cmd, size_t argc, const char *const *argv)
{
	const char *name = cmd->name;

	for (size_t i = 0; i < argc; i++) {
		const size_t len = strcspn(name, " ");

		if (strlen(argv[i]) != len || memcmp(argv[i], name, len) != 0)
			return false;
		name += name[len] == '\0' ? len : len + 1;
	}
	return true;
}

bool
cmd_print_list(FILE *f, size_t argc, const char *const *argv)
{
	bool any = false;

	for (const struct cmd *cmd = cmd_table(); cmd->name != NULL; cmd++) {
		if (!cmd_is_within(cmd, argc, argv))
			continue;
		fprintf(f, "  %-20s %s\n", cmd->name, cmd->help);
		any = true;
	}
	return any;
}

/* One letter wrong, missing, too many or two swapped, or a beginning. */
static bool
cmd_help_is_near(struct slice name, struct slice typed)
{
	size_t head = 0, tail = 0, a, b;

	if (slice_has_prefix(name, typed))
		return typed.len >= 2;
	while (head < name.len && head < typed.len &&
	       name.ptr[head] == typed.ptr[head])
		head++;
	while (tail < name.len - head && tail < typed.len - head &&
	       name.ptr[name.len - 1 - tail] == typed.ptr[typed.len - 1 - tail])
		tail++;
	a = name.len - head - tail;
	b = typed.len - head - tail;
	if (a <= 1 && b <= 1)
		return name.len > 2;
	return a == 2 && b == 2 && name.ptr[head] == typed.ptr[head + 1] &&
	       name.ptr[head + 1] == typed.ptr[head];
}

void
cmd_print_near(FILE *f, const char *typed)
{
	bool any = false;

	for (const struct cmd *cmd = cmd_table(); cmd->name != NULL; cmd++) {
		const struct slice name =
		    slice_of(cmd->name, strcspn(cmd->name, " "));

		if (!cmd_help_is_near(name, slice_str(typed)))
			continue;
		fprintf(f, "  %-20s %s\n", cmd->name, cmd->help);
		any = true;
	}
	if (!any)
		fputs("  next:  syncctl help\n", f);
}

void
cmd_print_usage(FILE *f, const struct cmd *cmd)
{
	const char *spec = cmd->options;
	struct slice name;
	bool takes_value;
	char word[64];

	fprintf(f, "usage: syncctl %s%s%s", cmd->name,
	    cmd->args[0] == '\0' ? "" : " ", cmd->args);
	while (cmd_option_next(&spec, &name, &takes_value)) {
		/* Those that the arguments show are shown. */
		snprintf(word, sizeof(word), "--%.*s", SLICE_FMT(name));
		if (strstr(cmd->args, word) != NULL)
			continue;
		cmd_help_word(cmd, name, takes_value, word, sizeof(word));
		fprintf(f, " [%s]", word);
	}
	fprintf(f, "\n  %s\n", cmd->help);
}

void
cmd_print_help(FILE *f, const struct cmd *cmd)
{
	const char *spec = cmd->options;
	struct slice name;
	bool takes_value;
	char word[64];

	cmd_print_usage(f, cmd);
	if (*spec != '\0')
		fputc('\n', f);
	while (cmd_option_next(&spec, &name, &takes_value)) {
		const struct cmd_option *o = cmd_option_find(cmd, name);

		cmd_help_word(cmd, name, takes_value, word, sizeof(word));
		fprintf(f, "  %-18s %s\n", word, o == NULL ? "" : o->help);
	}
}

void
cmd_print_all(FILE *f)
{
	fputs("usage: syncctl [--home DIR] COMMAND ...\n\n", f);
	cmd_print_list(f, 0, NULL);
	fputs(
	    "\n  --home DIR           where configuration, keys and state are; "
	    "default: as\n                       XDG says, see man syncd\n"
	    "\nsyncctl COMMAND --help says more; man syncctl says all.\n",
	    f);
}

int
cmd_help(struct cmd_call *call)
{
	const size_t argc = call->opt.arg_count;

	for (const struct cmd *cmd = cmd_table(); cmd->name != NULL; cmd++) {
		if (argc > 0 && cmd_matches(cmd, argc, call->opt.arg) == argc) {
			cmd_print_help(stdout, cmd);
			return CMD_OK;
		}
	}
	if (argc == 0)
		cmd_print_all(stdout);
	else if (!cmd_print_list(stdout, argc, call->opt.arg))
		return cmd_fail_as(call, CMD_USAGE, "syncctl help",
		    "no command %s", call->opt.arg[0]);
	return CMD_OK;
}
