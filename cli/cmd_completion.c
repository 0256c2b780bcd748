/*
 * syncctl completion: scripts for shells, made from the table of commands, so
 * that they know what this program knows.
 */
#include "cli/cmd.h"

#include <string.h>

/* The words that may follow these: for each command its next word. */
static void
cmd_completion_words(const char *prefix)
{
	const size_t len = strlen(prefix);
	char last[64] = "";

	for (const struct cmd *c = cmd_table(); c->name != NULL; c++) {
		char word[64];
		const char *rest = c->name + len;

		if (strncmp(c->name, prefix, len) != 0 ||
		    (len > 0 && *rest != ' '))
			continue;
		rest += len > 0;
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(rest, " "),
		    rest);
		/* The table has them together. */
		if (strcmp(word, last) == 0)
			continue;
		printf("%s%s", last[0] == '\0' ? "" : " ", word);
		snprintf(last, sizeof(last), "%s", word);
	}
}

static void
cmd_completion_options(const struct cmd *c)
{
	const char *spec = c->options;

	while (*spec != '\0') {
		const size_t n = strcspn(spec, ",=*");

		printf(" %s%.*s", n == 1 ? "-" : "--", (int)n, spec);
		spec += strcspn(spec, ",");
		spec += *spec == ',';
	}
}

/* What names can stand here. */
static const char *
cmd_completion_kind(const struct cmd *c)
{
	if (strstr(c->args, "PATH") != NULL)
		return "path";
	if (strncmp(c->args, "[FOLDER|DEVICE]", 15) == 0)
		return "both";
	if (strncmp(c->args, "FOLDER DEVICE", 13) == 0)
		return "both";
	if (strstr(c->args, "FOLDER") != NULL)
		return "folder";
	if (strncmp(c->args, "DEVICE", 6) == 0)
		return "device";
	if (strncmp(c->args, "KEY", 3) == 0)
		return "key";
	if (strstr(c->args, "DIR") != NULL || strstr(c->args, "FILE") != NULL)
		return "path";
	return "none";
}

static void
cmd_completion_keys(void)
{
	size_t count;
	const struct config_option *opt = config_options(&count);

	for (size_t i = 0; i < count; i++)
		if (opt[i].section != CONFIG_IN_DEVICE &&
		    opt[i].section != CONFIG_IN_FOLDER)
			printf(" %s.%s", config_section_name(opt[i].section),
			    opt[i].name);
}

static const char cmd_completion_bash_head[] =
    "# bash completion of syncctl; made by `syncctl completion bash`.\n"
    "_syncctl()\n"
    "{\n"
    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} words=() home=() i=1 w\n"
    "\tlocal line='' list='' kind=none opts=''\n"
    "\tCOMPREPLY=()\n"
    "\twhile [ \"$i\" -lt \"$COMP_CWORD\" ]; do\n"
    "\t\tw=${COMP_WORDS[i]}\n"
    "\t\tif [ \"$w\" = --home ]; then\n"
    "\t\t\ti=$((i + 1))\n"
    "\t\t\thome=(--home \"${COMP_WORDS[i]}\")\n"
    "\t\telif [ \"${w#-}\" = \"$w\" ]; then\n"
    "\t\t\twords+=(\"$w\")\n"
    "\t\tfi\n"
    "\t\ti=$((i + 1))\n"
    "\tdone\n"
    "\tline=\"${words[*]}\"\n"
    "\tcase \"$line\" in\n";

static const char cmd_completion_bash_tail[] =
    "\tesac\n"
    "\tcase \"$kind\" in\n"
    "\tfolder|both)\n"
    "\t\tlist+=\" $(syncctl \"${home[@]}\" folder list -q 2>/dev/null)\" ;;\n"
    "\tesac\n"
    "\tcase \"$kind\" in\n"
    "\tdevice|both)\n"
    "\t\tlist+=\" $(syncctl \"${home[@]}\" device list -q 2>/dev/null)\" ;;\n"
    "\tpath)\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
    "\tesac\n"
    "\tcase \"$cur\" in\n"
    "\t-*) list=$opts ;;\n"
    "\tesac\n"
    "\tif [ -n \"$list\" ]; then\n"
    "\t\tmapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < \\\n"
    "\t\t\t<(compgen -W \"$list\" -- \"$cur\")\n"
    "\tfi\n"
    "}\n"
    "complete -o filenames -F _syncctl syncctl\n";

/* A pattern for each command, the longest first in the table's own order. */
static void
cmd_completion_bash(void)
{
	static const char *const groups[] = { "device", "folder ignore",
		"folder", "config", "conflict" };

	fputs(cmd_completion_bash_head, stdout);
	for (const struct cmd *c = cmd_table(); c->name != NULL; c++) {
		printf("\t\"%s\"|\"%s \"*)\n\t\tkind=%s\n\t\topts=\"", c->name,
		    c->name, cmd_completion_kind(c));
		cmd_completion_options(c);
		fputs("\"", stdout);
		if (strcmp(cmd_completion_kind(c), "key") == 0) {
			fputs("\n\t\tlist=\"", stdout);
			cmd_completion_keys();
			fputs("\"", stdout);
		}
		if (strcmp(c->name, "completion") == 0)
			fputs("\n\t\tlist=\"bash zsh\"", stdout);
		fputs(" ;;\n", stdout);
	}
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		printf("\t\"%s\")\n\t\tlist=\"", groups[i]);
		cmd_completion_words(groups[i]);
		fputs("\" ;;\n", stdout);
	}
	fputs("\t\"\")\n\t\tlist=\"", stdout);
	cmd_completion_words("");
	fputs("\"\n\t\topts=\"--home --help --version\" ;;\n", stdout);
	fputs(cmd_completion_bash_tail, stdout);
}

/* zsh runs the bash one through its own bridge. */
static void
cmd_completion_zsh(void)
{
	fputs("#compdef syncctl\n"
	      "# zsh completion of syncctl; made by `syncctl completion "
	      "zsh`.\n"
	      "_syncctl_list()\n"
	      "{\n"
	      "\tlocal -a list\n"
	      "\tlist=(${(f)\"$(syncctl $1 list -q 2>/dev/null)\"})\n"
	      "\tcompadd -a list\n"
	      "}\n"
	      "_syncctl()\n"
	      "{\n"
	      "\tlocal -a words_only\n"
	      "\tlocal line w\n"
	      "\tfor w in ${words[2,CURRENT-1]}; do\n"
	      "\t\t[[ $w == -* ]] || words_only+=($w)\n"
	      "\tdone\n"
	      "\tline=\"${words_only[*]}\"\n"
	      "\tcase \"$line\" in\n",
	    stdout);
	for (const struct cmd *c = cmd_table(); c->name != NULL; c++) {
		const char *kind = cmd_completion_kind(c);

		printf("\t\"%s\"|\"%s \"*)\n\t\tcompadd --", c->name, c->name);
		cmd_completion_options(c);
		if (strcmp(kind, "key") == 0)
			cmd_completion_keys();
		if (strcmp(c->name, "completion") == 0)
			fputs(" bash zsh", stdout);
		if (strcmp(kind, "folder") == 0 || strcmp(kind, "both") == 0)
			fputs("\n\t\t_syncctl_list folder", stdout);
		if (strcmp(kind, "device") == 0 || strcmp(kind, "both") == 0)
			fputs("\n\t\t_syncctl_list device", stdout);
		if (strcmp(kind, "path") == 0)
			fputs("\n\t\t_files", stdout);
		fputs(" ;;\n", stdout);
	}
	for (size_t i = 0; i < 5; i++) {
		static const char *const groups[] = { "device", "folder ignore",
			"folder", "config", "conflict" };

		printf("\t\"%s\") compadd -- ", groups[i]);
		cmd_completion_words(groups[i]);
		fputs(" ;;\n", stdout);
	}
	fputs("\t\"\") compadd -- --home --help --version ", stdout);
	cmd_completion_words("");
	fputs(" ;;\n\tesac\n}\n_syncctl \"$@\"\n", stdout);
}

int
cmd_completion(struct cmd_call *call)
{
	const char *shell = call->opt.arg[0];

	if (strcmp(shell, "bash") == 0)
		cmd_completion_bash();
	else if (strcmp(shell, "zsh") == 0)
		cmd_completion_zsh();
	else
		return cmd_usage(call, "no completion for %s; bash or zsh",
		    shell);
	return CMD_OK;
}
