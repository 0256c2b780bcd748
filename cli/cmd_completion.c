/*
 * syncctl completion: what may stand at the end of a half-typed line.
 *
 * The scripts of the shells know nothing: they hand over the words and show
 * what `syncctl completion words` answers, so all that is known is here, and
 * no name is ever seen by a shell that would expand it.  The first line says
 * how to take the others: "words", "part" (no blank comes after them) or
 * "files" (files fit, too).
 */
#include "cli/cmd.h"

#include <string.h>

#include "cli/events.h"
#include "engine/base/buf.h"

struct completion {
	struct cmd_call *call;
	const char *const *word; /* plain */
	size_t last;             /* the one that is half typed */
	const char *begin;       /* of it: what candidates begin with */
	const char *before;      /* stands before them: "--mode=" */
	const char *how;
	struct buf out;    /* a line end, then a line each */
	struct config cfg; /* empty when it cannot be read */
};

/* --- Candidates --- */

static void
completion_put(struct completion *c, struct slice text)
{
	const char *line;

	if (!slice_has_prefix(text, slice_str(c->begin)))
		return;
	line = arena_printf(&c->call->ar, "\n%s%.*s\n", c->before,
	    SLICE_FMT(text));
	if (memmem(c->out.ptr, c->out.len, line, strlen(line)) == NULL)
		buf_put(&c->out, slice_str(line + 1));
}

/* Words with `end` between them: "a|b|c". */
static void
completion_put_all(struct completion *c, const char *list, char end)
{
	struct slice rest = slice_str(list);

	while (rest.len > 0) {
		const size_t at = slice_find(rest, (uint8_t)end);

		completion_put(c,
		    slice_to(rest, at == SIZE_MAX ? rest.len : at));
		rest = slice_from(rest, at == SIZE_MAX ? rest.len : at + 1);
	}
}

static void
completion_put_folders(struct completion *c)
{
	for (uint32_t i = 0; i < c->cfg.setup.folder_count; i++)
		completion_put(c, c->cfg.setup.folder[i].id);
}

static void
completion_put_devices(struct completion *c)
{
	for (uint32_t i = 0; i < c->cfg.setup.device_count; i++)
		completion_put(c, c->cfg.setup.device[i].name);
}

/* Every key there is, those of devices and folders by their names. */
static void
completion_put_keys(struct completion *c)
{
	const struct setup *s = &c->cfg.setup;
	struct arena *ar = &c->call->ar;
	size_t count;
	const struct config_option *opt = config_options(&count);

	for (size_t i = 0; i < count; i++) {
		const struct config_option *o = &opt[i];
		const bool is_device = o->section == CONFIG_IN_DEVICE;

		if (!is_device && o->section != CONFIG_IN_FOLDER) {
			completion_put(c,
			    slice_str(config_key(ar, o, SLICE_EMPTY)));
			continue;
		}
		for (uint32_t n = 0;
		     n < (is_device ? s->device_count : s->folder_count); n++)
			completion_put(c, slice_str(config_key(ar, o,
					      is_device ? s->device[n].name
							: s->folder[n].id)));
	}
}

/* What this key of the configuration takes. */
static void
completion_put_values(struct completion *c, const char *key)
{
	struct slice name;
	const struct config_option *opt =
	    config_option(slice_str(key), &name, NULL);

	if (opt == NULL)
		return;
	if (opt->choices != NULL)
		completion_put_all(c, opt->choices, '|');
	else if (opt->type == CONFIG_BOOL)
		completion_put_all(c, "true|false", '|');
	else if (opt->type == CONFIG_DEVICE)
		completion_put_devices(c);
	else if (opt->type == CONFIG_PATH)
		c->how = "files";
}

/* Types of events, one after another: "change,folder.st". */
static void
completion_put_types(struct completion *c)
{
	const char *comma = strrchr(c->begin, ',');

	if (comma != NULL) {
		c->before = arena_printf(&c->call->ar, "%s%.*s", c->before,
		    (int)(comma + 1 - c->begin), c->begin);
		c->begin = comma + 1;
	}
	for (int t = 0; t < EVENTS_TYPE_COUNT; t++)
		completion_put(c,
		    slice_str(events_type_name((enum events_type)t)));
}

/* What the help calls `kind`; `key` is the word before it. */
static void
completion_put_kind(struct completion *c, struct slice kind, const char *key)
{
	static const char addresses[] = "tcp://|quic://|relay://|dynamic";
	const char *word = arena_printf(&c->call->ar, "%.*s", SLICE_FMT(kind));

	if (strcmp(word, "FOLDER") == 0)
		completion_put_folders(c);
	else if (strcmp(word, "DEVICE") == 0 || strcmp(word, "FROM") == 0 ||
		 strcmp(word, "TO") == 0)
		completion_put_devices(c);
	else if (strcmp(word, "PATH") == 0 || strcmp(word, "DIR") == 0 ||
		 strcmp(word, "FILE") == 0)
		c->how = "files";
	else if (strcmp(word, "MODE") == 0)
		completion_put_values(c, "folder.x.mode");
	else if (strcmp(word, "KEY") == 0)
		completion_put_keys(c);
	else if (strcmp(word, "VALUE") == 0)
		completion_put_values(c, key);
	else if (strcmp(word, "SERVICE") == 0)
		completion_put_all(c, "sync|drop|diag|forward|all", '|');
	else if (strcmp(word, "TYPE,...") == 0)
		completion_put_types(c);
	else if (strcmp(word, "ADDRESS") == 0) {
		completion_put_all(c, addresses, '|');
		c->how = "part";
	} else if (word[0] >= 'a' && word[0] <= 'z') {
		completion_put(c, kind);
	}
}

/* --- The line --- */

static void
completion_put_options(struct completion *c, const struct cmd *cmd)
{
	const char *spec = cmd->options;
	struct slice name;
	bool takes_value;

	while (cmd_option_next(&spec, &name, &takes_value))
		completion_put(c,
		    slice_str(arena_printf(&c->call->ar, "%s%.*s",
			name.len == 1 ? "-" : "--", SLICE_FMT(name))));
	completion_put(c, SLICE_LIT("--help"));
}

/* The value of an option of `cmd`. */
static void
completion_put_option_value(struct completion *c, const struct cmd *cmd,
    struct slice name)
{
	const struct cmd_option *o = cmd_option_find(cmd, name);

	if (o != NULL && o->value != NULL)
		completion_put_kind(c, slice_str(o->value), "");
}

/* Does the option take a value?  `word` as typed, up to "=" or its end. */
static bool
completion_takes_value(const struct cmd *cmd, const char *word,
    struct slice *name)
{
	const char *spec = cmd->options;
	const size_t dashes = strncmp(word, "--", 2) == 0 ? 2 : 1;
	const struct slice typed =
	    slice_of(word + dashes, strcspn(word + dashes, "="));
	bool takes_value;

	while (cmd_option_next(&spec, name, &takes_value))
		if (slice_equal(*name, typed))
			return takes_value;
	return false;
}

/* The word number `at` that is no option, and what may follow an optional. */
static void
completion_put_arg(struct completion *c, const struct cmd *cmd, size_t at,
    const char *key)
{
	const char *args = cmd->args;
	bool after_folder = false;
	struct cmd_arg arg;

	for (size_t i = 0; cmd_arg_next(&args, &arg); i++) {
		const bool is_path = slice_equal(arg.word, SLICE_LIT("PATH"));

		if (i == at || (i < at && arg.repeats)) {
			struct slice rest = arg.word;

			/* In a folder's trash can, not where the shell is. */
			while (rest.len > 0 && !(is_path && after_folder)) {
				const size_t bar = slice_find(rest, '|');
				const size_t n =
				    bar == SIZE_MAX ? rest.len : bar;

				completion_put_kind(c, slice_to(rest, n), key);
				rest =
				    slice_from(rest, n == rest.len ? n : n + 1);
			}
			if (!arg.optional)
				return;
			at = i + 1;
		}
		after_folder =
		    !arg.optional && slice_equal(arg.word, SLICE_LIT("FOLDER"));
	}
}

/* Behind the name of `cmd`, whose first own word is number `i`. */
static void
completion_in(struct completion *c, const struct cmd *cmd, size_t i)
{
	const char *key = "";
	struct slice name;
	size_t args = 0;

	for (; i < c->last; i++) {
		const char *word = c->word[i];

		if (word[0] != '-' || word[1] == '\0') {
			key = args++ == 0 ? word : key;
			continue;
		}
		if (!completion_takes_value(cmd, word, &name) ||
		    strchr(word, '=') != NULL)
			continue;
		/* bash makes three words of --mode=sendonly. */
		if (strcmp(c->word[i + 1], "=") == 0 && i + 1 < c->last)
			i++;
		if (++i < c->last)
			continue;
		if (strcmp(c->begin, "=") == 0)
			c->begin = "";
		completion_put_option_value(c, cmd, name);
		return;
	}
	if (c->begin[0] == '-' && strchr(c->begin, '=') != NULL) {
		const char *value = strchr(c->begin, '=') + 1;

		if (!completion_takes_value(cmd, c->begin, &name))
			return;
		c->before = arena_printf(&c->call->ar, "%.*s",
		    (int)(value - c->begin), c->begin);
		c->begin = value;
		completion_put_option_value(c, cmd, name);
	} else if (c->begin[0] == '-') {
		completion_put_options(c, cmd);
	} else {
		completion_put_arg(c, cmd, args, key);
	}
}

/* The next words of the commands that begin with those from `i` on. */
static void
completion_put_commands(struct completion *c, size_t i)
{
	for (const struct cmd *cmd = cmd_table(); cmd->name != NULL; cmd++) {
		const char *next = cmd->name;
		struct slice word;

		if (!cmd_is_within(cmd, c->last - i, c->word + i))
			continue;
		for (size_t n = i; n < c->last; n++) {
			next += strcspn(next, " ");
			next += *next == ' ';
		}
		word = slice_of(next, strcspn(next, " "));
		if (word.len > 0)
			completion_put(c, word);
	}
}

/* The command's options before its name: --home DIR; the first word behind. */
static size_t
completion_skip_home(struct completion *c, const char **home)
{
	size_t i = 0;

	while (i < c->last && c->word[i][0] == '-') {
		if (strncmp(c->word[i], "--home=", 7) == 0) {
			*home = c->word[i] + 7;
		} else if (strcmp(c->word[i], "--home") == 0) {
			i +=
			    strcmp(c->word[i + 1], "=") == 0 && i + 1 < c->last;
			if (++i < c->last)
				*home = c->word[i];
		}
		i++;
	}
	return i;
}

static void
completion_line(struct completion *c)
{
	const struct cmd *best = NULL;
	const char *home = NULL;
	struct err err = { 0 };
	size_t words = 0, i = completion_skip_home(c, &home);

	if (home != NULL) {
		home_fini(&c->call->home);
		if (home_init(&c->call->home, home, &err) < 0)
			return;
	}
	if (config_file_load(&c->call->home, &c->call->ar, &c->cfg, NULL, NULL,
		&err) < 0)
		memset(&c->cfg, 0, sizeof(c->cfg));
	if (i > c->last) {
		c->how = "files"; /* of --home */
		return;
	}
	for (const struct cmd *cmd = cmd_table(); cmd->name != NULL; cmd++) {
		const size_t n = cmd_matches(cmd, c->last - i, c->word + i);

		if (n > words) {
			words = n;
			best = cmd;
		}
	}
	if (best != NULL && strcmp(best->name, "help") != 0)
		completion_in(c, best, i + words);
	else if (best == NULL && i == c->last && c->begin[0] == '-')
		completion_put_all(c, "--home|--help|--version", '|');
	else
		completion_put_commands(c, i + words);
}

/* What the shell would make of a word: without quotes and backslashes. */
static const char *
completion_plain(struct cmd_call *call, const char *typed)
{
	char *out, *to, quote = '\0';

	if (strncmp(typed, "~/", 2) == 0)
		typed = arena_printf(&call->ar, "%s%s", call->home.user_home,
		    typed + 1);
	out = to = arena_str(&call->ar, slice_str(typed));
	for (; *typed != '\0'; typed++) {
		if (*typed == quote) {
			quote = '\0';
		} else if (quote == '\0' && (*typed == '\'' || *typed == '"')) {
			quote = *typed;
		} else {
			if (*typed == '\\' && quote != '\'' && typed[1] != '\0')
				typed++;
			*to++ = *typed;
		}
	}
	*to = '\0';
	return out;
}

static int
completion_words(struct cmd_call *call)
{
	const size_t count = call->opt.arg_count - 1;
	const char **word = arena_array(&call->ar, count + 1, sizeof(*word));
	struct completion c = { .call = call,
		.word = word,
		.last = count == 0 ? 0 : count - 1,
		.before = "",
		.how = "words" };

	word[0] = "";
	for (size_t i = 0; i < count; i++)
		word[i] = completion_plain(call, call->opt.arg[i + 1]);
	c.begin = word[c.last];
	buf_put_u8(&c.out, '\n');
	completion_line(&c);
	printf("%s%.*s", c.how, (int)c.out.len, (const char *)c.out.ptr);
	buf_fini(&c.out);
	return CMD_OK;
}

/* --- The scripts --- */

static const char completion_bash[] =
    "# bash completion of syncctl; made by `syncctl completion bash`.\n"
    "_syncctl()\n"
    "{\n"
    "\tlocal how='' word\n"
    "\tCOMPREPLY=()\n"
    "\t{\n"
    "\t\tIFS= read -r how\n"
    "\t\twhile IFS= read -r word; do\n"
    "\t\t\tcase ${COMP_WORDS[COMP_CWORD]} in\n"
    "\t\t\t[\\'\\\"]*) ;;\n"
    "\t\t\t*) printf -v word %q \"$word\" ;;\n"
    "\t\t\tesac\n"
    "\t\t\tCOMPREPLY+=(\"$word\")\n"
    "\t\tdone\n"
    "\t} < <(\"${1/#\\~\\//$HOME/}\" completion words -- \\\n"
    "\t\t\"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "\tcase $how in\n"
    "\tfiles) compopt -o default 2>/dev/null ;;\n"
    "\tpart) compopt -o nospace 2>/dev/null ;;\n"
    "\tesac\n"
    "}\n"
    "complete -F _syncctl syncctl\n";

static const char completion_zsh[] =
    "#compdef syncctl\n"
    "# zsh completion of syncctl; made by `syncctl completion zsh`.\n"
    "_syncctl()\n"
    "{\n"
    "\tlocal how\n"
    "\tlocal -a found\n"
    "\tfound=(\"${(@f)$(\"${(Q)words[1]}\" completion words -- \\\n"
    "\t\t\"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
    "\thow=$found[1]\n"
    "\tshift found\n"
    "\tcase $how in\n"
    "\tfiles) _files ;;\n"
    "\tpart) compadd -S '' -a found; return ;;\n"
    "\tesac\n"
    "\tcompadd -a found\n"
    "}\n"
    "_syncctl \"$@\"\n";

int
cmd_completion(struct cmd_call *call)
{
	const char *what = call->opt.arg[0];

	if (strcmp(what, "words") == 0)
		return completion_words(call);
	if (call->opt.arg_count > 1)
		return cmd_usage(call, "\"%s\" is one word too many",
		    call->opt.arg[1]);
	if (strcmp(what, "bash") == 0)
		fputs(completion_bash, stdout);
	else if (strcmp(what, "zsh") == 0)
		fputs(completion_zsh, stdout);
	else
		return cmd_usage(call, "no completion for %s; bash or zsh",
		    what);
	return CMD_OK;
}
