/*
 * The commands of syncctl: a table, a row and a function each.
 *
 * A command gets its parsed words and answers with an exit code (cmd_exit.h);
 * what it asks goes to standard output, what went wrong to standard error.
 */
#ifndef HOLDFAST_CLI_CMD_H
#define HOLDFAST_CLI_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

#include "cli/client.h"
#include "cli/cmd_exit.h"
#include "cli/config_file.h"
#include "cli/home.h"
#include "cli/options.h"
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

struct cmd;
struct print_table;

/* One call of a command. */
struct cmd_call {
	const struct cmd *cmd;
	struct home home;
	struct options opt;
	struct client *client;
	bool quiet; /* nothing is said: the exit code is all */
	json_t
	    *refusal; /* the daemon's last answer that was no success; owned */
	json_t *failure; /* what was said to have gone wrong, as JSON; owned */
	struct arena ar; /* everything of this call */
};

typedef int cmd_fn(struct cmd_call *call);

struct cmd {
	const char *name;    /* "device add" */
	const char *args;    /* as the usage line shows them */
	size_t min, max;     /* words that are no options */
	const char *options; /* see options.h */
	cmd_fn *run;
	const char *help;
};

/* The table; ends with a NULL name. */
const struct cmd *cmd_table(void);
/* How many of the words are this command's name; 0: it is another one. */
size_t cmd_matches(const struct cmd *cmd, size_t argc, const char *const *argv);
/* Does the command's name begin with these words? */
bool cmd_is_within(const struct cmd *cmd, size_t argc, const char *const *argv);
/* The whole program. */
int cmd_main(int argc, const char *const *argv);

/* --- What there is to type: cmd_help.c --- */

/* What an option is for. */
struct cmd_option {
	const char *cmd; /* NULL: of every command that has it */
	const char *name;
	const char *value; /* what kind it takes: "DEVICE"; NULL: none */
	const char *help;
};

/* NULL: nothing is known of it. */
const struct cmd_option *cmd_option_find(const struct cmd *cmd,
    struct slice name);
/* Goes through cmd->options; false at the end. */
bool cmd_option_next(const char **spec, struct slice *name, bool *takes_value);
/* A word of cmd->args that is no option: "[FOLDER]..." */
struct cmd_arg {
	struct slice word; /* "FOLDER" */
	bool optional, repeats;
};

/* Goes through cmd->args; false at the end. */
bool cmd_arg_next(const char **args, struct cmd_arg *out);
/* Commands that begin with these words; false when there are none. */
bool cmd_print_list(FILE *f, size_t argc, const char *const *argv);
/* Commands that a mistyped one may mean, or where all are. */
void cmd_print_near(FILE *f, const char *typed);
/* The usage line and what it does; with all options; all commands. */
void cmd_print_usage(FILE *f, const struct cmd *cmd);
void cmd_print_help(FILE *f, const struct cmd *cmd);
void cmd_print_all(FILE *f);

/* --- What commands share: cmd_common.c --- */

/* "syncctl: ..." on standard error. */
void cmd_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/*
 * What went wrong, and with `next` what to type then (NULL: nothing helps).
 * With --json it is the command's document, unless that prints another; gives
 * `code` back.
 */
int cmd_fail_as(struct cmd_call *call, int code, const char *next,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The same from an error; the exit code that fits it. */
int cmd_fail(struct cmd_call *call, const struct err *err);
/* The same from what cmd_try() gave: the daemon says what to do next. */
int cmd_fail_try(struct cmd_call *call, int code, const struct err *err);
/* The document of a command that failed, when --json asks for it. */
void cmd_print_failure(const struct cmd_call *call, int code);
/*
 * What can not be undone was told: shall it be done?  With --yes.  Else `code`
 * is what the command ends with: 0 after --dry-run, refused without either.
 */
bool cmd_agreed(struct cmd_call *call, int *code);
int cmd_usage(struct cmd_call *call, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Ask the daemon.  0 and the answer (200); else an exit code, with the failure
 * said on standard error.
 */
int cmd_ask(struct cmd_call *call, const char *method, const char *path,
    json_t **out);
/* The same with a time-out and without a word: the caller judges. */
int cmd_try(struct cmd_call *call, const char *method, const char *path,
    unsigned timeout_s, json_t **out, struct err *err);
/* Add "?name=value" or "&name=value", encoded. */
char *cmd_query(struct cmd_call *call, const char *path, const char *name,
    const char *value);

/* The configuration from the file; an exit code, mistakes told. */
int cmd_config(struct cmd_call *call, struct config *out);
void cmd_tell_mistakes(const struct config_mistake *list, size_t count);
/* "direct quic 192.168.1.23:22000 (lan)", "relay ... (no-direct-way)". */
char *cmd_path_text(struct arena *ar, const json_t *path);

/* What a person means, by name or beginning; exit code, said. */
int cmd_find_device(struct cmd_call *call, const struct config *cfg,
    const char *text, uint32_t *out);
int cmd_find_folder(struct cmd_call *call, const struct config *cfg,
    const char *text, uint32_t *out);

/* Begin an edit of the configuration; an exit code. */
int cmd_edit(struct cmd_call *call, struct config_file **out);
/*
 * Save it and have the daemon take it, when it is up; exit code.  `rc` is what
 * the edits gave: when it is an error, the draft is dropped and `err` told.
 */
int cmd_edit_end(struct cmd_call *call, struct config_file *cf, int rc,
    struct err *err);
/* config_file_set() of one value. */
int cmd_set(struct config_file *cf, const char *key, const char *value,
    struct err *err);

/*
 * The absolute path of what a person named: links resolved in its directory,
 * but not in its last part, which may be a link that is synced itself.
 */
char *cmd_absolute(struct cmd_call *call, const char *path);

/* The table of a list, with the columns of --columns; an exit code. */
int cmd_print_table(struct cmd_call *call, struct print_table *t);
/* JSON of an answer, for --json; takes it.  Exit code as given. */
int cmd_print_json(json_t *o, int exit_code);
/* An item on a line of its own, for --jsonl: each has the schema. */
void cmd_print_line(const json_t *item);
/* One line for each item of the list `key`; takes `o`. */
int cmd_print_jsonl(json_t *o, const char *key, int exit_code);
/* {"schema":"syncctl/1"} */
json_t *cmd_object(void);

/* Members of an object; "" and 0 and false when they are not there. */
const char *cmd_text(const json_t *o, const char *key);
int64_t cmd_int(const json_t *o, const char *key);
bool cmd_bool(const json_t *o, const char *key);
/* The item of a list of objects whose "id" is `id`; NULL without.  Borrowed. */
const json_t *cmd_find(const json_t *list, const char *id);
/* "a, b" of a list of texts, safe to print; `none` for an empty one. */
const char *cmd_words(struct arena *ar, const json_t *list, const char *none);
/* Seconds since 1970 of "2026-11-06T10:00:00Z"; 0 when it is none. */
int64_t cmd_time(const char *text);
int64_t cmd_now_s(void);
int64_t cmd_now_ms(void);
/* "14:02" today, "6 Nov" else, local time. */
char *cmd_when(struct arena *ar, int64_t then_s);
/* Sleep; false when a person pressed Ctrl-C (cmd_catch_interrupt() before). */
bool cmd_sleep_ms(unsigned ms);
void cmd_catch_interrupt(void);
bool cmd_is_interrupted(void);

/* --- The commands --- */

cmd_fn cmd_id, cmd_version, cmd_completion, cmd_help;
cmd_fn cmd_config_get, cmd_config_set, cmd_config_unset, cmd_config_list,
    cmd_config_check, cmd_config_edit;
cmd_fn cmd_device_add, cmd_device_list, cmd_device_show, cmd_device_rename,
    cmd_device_remove, cmd_device_pause, cmd_device_resume;
cmd_fn cmd_path_ping, cmd_path_whois, cmd_path_refresh, cmd_path_diag;
cmd_fn cmd_forward;
cmd_fn cmd_folder_add, cmd_folder_list, cmd_folder_show, cmd_folder_remove,
    cmd_folder_share, cmd_folder_unshare, cmd_folder_pause, cmd_folder_resume,
    cmd_folder_scan, cmd_folder_override, cmd_folder_revert, cmd_folder_adopt,
    cmd_folder_ignore_list, cmd_folder_ignore_test;
cmd_fn cmd_coord_status, cmd_coord_audit;
cmd_fn cmd_domain_invite, cmd_domain_join, cmd_domain_approve,
    cmd_domain_refuse, cmd_domain_revoke, cmd_domain_allow, cmd_domain_forbid,
    cmd_domain_recover, cmd_domain_status, cmd_domain_log;
cmd_fn cmd_domain_sign, cmd_domain_reject, cmd_domain_quorum,
    cmd_domain_owner_add, cmd_domain_owner_remove;
cmd_fn cmd_key_show, cmd_key_rotate, cmd_key_new, cmd_key_rotate_device;
/* POST; says which signatures are missing, if any are. */
int cmd_domain_post(struct cmd_call *call, const char *path);
/* It was signed here, and more owners have to: what there is to type. */
void cmd_domain_print_waits(const json_t *waits);
/* `device rename` of a member: an entry of the domain's log. */
int cmd_domain_rename(struct cmd_call *call, const char *device,
    const char *to);
cmd_fn cmd_plan, cmd_plan_confirm, cmd_plan_reject;
cmd_fn cmd_trash_list, cmd_trash_restore, cmd_trash_empty;
cmd_fn cmd_status, cmd_wait, cmd_explain, cmd_conflict_list, cmd_events,
    cmd_import, cmd_doctor, cmd_netcheck;

#endif
