/* syncctl folder: which directories are kept in sync, with whom. */
#include "cli/cmd.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/print.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/store_lmdb.h"

static char *
cmd_folder_key(struct cmd_call *call, struct slice id, const char *option)
{
	return arena_printf(&call->ar, "folder.%.*s.%s", SLICE_FMT(id), option);
}

/* --- folder add --- */

/* The parent directories of `path`, made as mkdir -p makes them. */
static bool
cmd_folder_make_parents(struct cmd_call *call, const char *path)
{
	char *copy = arena_str(&call->ar, slice_str(path));

	for (char *p = copy + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0777) < 0 && errno != EEXIST)
			return false;
		*p = '/';
	}
	return true;
}

/* Make the directory if it is missing; its real, absolute path, or NULL with
 * the failure said. */
static char *
cmd_folder_make(struct cmd_call *call, const char *path, bool *made)
{
	char real[PATH_MAX];
	struct stat st;

	if (strncmp(path, "~/", 2) == 0)
		path = arena_printf(&call->ar, "%s%s", call->home.user_home,
		    path + 1);
	*made = false;
	if (stat(path, &st) < 0) {
		if (!cmd_folder_make_parents(call, path) ||
		    (mkdir(path, 0777) < 0 && errno != EEXIST)) {
			cmd_fail_as(call, CMD_FAILED, NULL,
			    "%s: cannot be made: %s", path, strerror(errno));
			return NULL;
		}
		*made = true;
	} else if (!S_ISDIR(st.st_mode)) {
		cmd_fail_as(call, CMD_FAILED, NULL, "%s is no directory", path);
		return NULL;
	}
	if (realpath(path, real) == NULL) {
		cmd_fail_as(call, CMD_FAILED, NULL, "%s: %s", path,
		    strerror(errno));
		return NULL;
	}
	return arena_str(&call->ar, slice_str(real));
}

/* What the words alone can have wrong; an exit code. */
static int
cmd_folder_check_words(struct cmd_call *call)
{
	const char *id = options_value(&call->opt, "id");
	const char *name = options_value(&call->opt, "name");
	const char *mode = options_value(&call->opt, "mode");
	struct err err = { 0 };
	struct slice unused;

	if (id == NULL)
		return cmd_usage(call, "--id is missing");
	if (config_check_text(slice_str(id), 1, CONFIG_ID_MAX, &err) < 0)
		return cmd_usage(call, "--id %s", err.text);
	if (mode != NULL &&
	    config_check_value(
		config_option(SLICE_LIT("folder.x.mode"), &unused, NULL),
		slice_str(mode), &err) < 0)
		return cmd_usage(call, "--mode \"%s\": %s", mode, err.text);
	if (name != NULL &&
	    config_check_text(slice_str(name), 0, 200, &err) < 0)
		return cmd_usage(call, "--name %s", err.text);
	return CMD_OK;
}

/* Whole names of the devices given as --share; an exit code. */
static int
cmd_folder_shares(struct cmd_call *call, const struct config *cfg,
    struct slice **out, size_t *count)
{
	const char **text =
	    options_values(&call->opt, "share", count, &call->ar);

	*out = arena_array(&call->ar, *count, sizeof(**out));
	for (size_t i = 0; i < *count; i++) {
		uint32_t dev;
		const int code = cmd_find_device(call, cfg, text[i], &dev);

		if (code != CMD_OK)
			return code;
		(*out)[i] = cfg->setup.device[dev].name;
	}
	return CMD_OK;
}

int
cmd_folder_add(struct cmd_call *call)
{
	const char *name = options_value(&call->opt, "name");
	const char *mode = options_value(&call->opt, "mode");
	struct slice id, *share;
	struct config_file *cf;
	struct config cfg;
	struct err err = { 0 };
	bool made = false;
	size_t shares;
	char *path;
	int code, rc;

	code = cmd_folder_check_words(call);
	if (code == CMD_OK)
		code = cmd_config(call, &cfg);
	if (code == CMD_OK)
		code = cmd_folder_shares(call, &cfg, &share, &shares);
	if (code != CMD_OK)
		return code;
	id = slice_str(options_value(&call->opt, "id"));
	if (config_find_folder(&cfg, id) >= 0)
		return cmd_fail_as(call, CMD_REFUSED,
		    arena_printf(&call->ar, "syncctl folder show '%.*s'",
			SLICE_FMT(id)),
		    "there is a folder \"%.*s\" already", SLICE_FMT(id));
	path = cmd_folder_make(call, call->opt.arg[0], &made);
	if (path == NULL)
		return CMD_FAILED;
	code = cmd_edit(call, &cf);
	if (code != CMD_OK)
		return code;
	rc = cmd_set(cf, cmd_folder_key(call, id, "path"), path, &err);
	if (rc == 0 && name != NULL && name[0] != '\0')
		rc = cmd_set(cf, cmd_folder_key(call, id, "label"), name, &err);
	if (rc == 0 && mode != NULL)
		rc = cmd_set(cf, cmd_folder_key(call, id, "mode"), mode, &err);
	if (rc == 0 && shares > 0)
		rc = config_file_set(cf, cmd_folder_key(call, id, "share"),
		    share, shares, &err);
	code = cmd_edit_end(call, cf, rc, &err);
	if (code != CMD_OK && made)
		rmdir(path);
	return code;
}

/* --- Other changes --- */

/* The configuration, the folder that the first word means, and a draft. */
static int
cmd_folder_edit(struct cmd_call *call, struct config *cfg,
    const struct setup_folder **f, struct config_file **cf)
{
	uint32_t i;
	int code;

	code = cmd_config(call, cfg);
	if (code == CMD_OK)
		code = cmd_find_folder(call, cfg, call->opt.arg[0], &i);
	if (code != CMD_OK)
		return code;
	*f = &cfg->setup.folder[i];
	return cmd_edit(call, cf);
}

int
cmd_folder_remove(struct cmd_call *call)
{
	const struct setup_folder *f;
	struct config_file *cf;
	struct err err = { 0 };
	struct config cfg;
	int code, rc;

	code = cmd_folder_edit(call, &cfg, &f, &cf);
	if (code != CMD_OK)
		return code;
	if (options_has(&call->opt, "dry-run")) {
		config_file_drop(cf);
		printf("%s would be synced no longer; the files stay in %s.\n",
		    print_safe(&call->ar, (const char *)f->id.ptr),
		    print_safe(&call->ar, (const char *)f->path.ptr));
		return CMD_OK;
	}
	rc = config_file_remove(cf, "folder", f->id, &err);
	code = cmd_edit_end(call, cf, rc, &err);
	if (code == CMD_OK && !client_is_up(call->client)) {
		/* The daemon does it itself; it may not be started before the
		 * folder is added again. */
		char *dir = home_index_of(&call->home, (const char *)f->id.ptr);

		(void)store_lmdb_destroy(dir, NULL);
		mem_free(dir);
	}
	if (code == CMD_OK)
		printf("The files stay in %.*s.\n", SLICE_FMT(f->path));
	return code;
}

static int
cmd_folder_set_share(struct cmd_call *call, bool on)
{
	const struct setup_folder *f;
	struct config_file *cf;
	struct err err = { 0 };
	struct config cfg;
	uint32_t dev = 0;
	char *key;
	int code, rc;

	code = cmd_folder_edit(call, &cfg, &f, &cf);
	if (code != CMD_OK)
		return code;
	code = cmd_find_device(call, &cfg, call->opt.arg[1], &dev);
	if (code != CMD_OK) {
		config_file_drop(cf);
		return code;
	}
	key = cmd_folder_key(call, f->id, "share");
	rc = on ? config_file_add(cf, key, cfg.setup.device[dev].name, &err)
		: config_file_take(cf, key, cfg.setup.device[dev].name, &err);
	if (rc == ERR_NOT_FOUND)
		err_set(&err, ERR_NOT_FOUND,
		    "folder \"%.*s\" is not shared with \"%.*s\"",
		    SLICE_FMT(f->id), SLICE_FMT(cfg.setup.device[dev].name));
	return cmd_edit_end(call, cf, rc, &err);
}

int
cmd_folder_share(struct cmd_call *call)
{
	return cmd_folder_set_share(call, true);
}

int
cmd_folder_unshare(struct cmd_call *call)
{
	return cmd_folder_set_share(call, false);
}

static int
cmd_folder_set_paused(struct cmd_call *call, bool on)
{
	const struct setup_folder *f;
	struct config_file *cf;
	struct err err = { 0 };
	struct config cfg;
	char *key;
	int code, rc;

	code = cmd_folder_edit(call, &cfg, &f, &cf);
	if (code != CMD_OK)
		return code;
	key = cmd_folder_key(call, f->id, "paused");
	rc = on ? cmd_set(cf, key, "true", &err)
		: config_file_set(cf, key, NULL, 0, &err);
	return cmd_edit_end(call, cf, rc, &err);
}

int
cmd_folder_pause(struct cmd_call *call)
{
	return cmd_folder_set_paused(call, true);
}

int
cmd_folder_resume(struct cmd_call *call)
{
	return cmd_folder_set_paused(call, false);
}

/* --- Questions --- */

static const char *
cmd_folder_device_name(const struct config *cfg, const struct devid *id)
{
	for (uint32_t i = 0; i < cfg->setup.device_count; i++)
		if (devid_equal(&cfg->setup.device[i].id, id))
			return (const char *)cfg->setup.device[i].name.ptr;
	return "";
}

/* The folder as configured, and as it is when the daemon is up. */
static json_t *
cmd_folder_json(const struct config *cfg, uint32_t i, const json_t *answer)
{
	const struct setup_folder *f = &cfg->setup.folder[i];
	const char *id = (const char *)f->id.ptr;
	const json_t *live = cmd_find(json_object_get(answer, "folders"), id);
	json_t *o = live == NULL ? json_object() : json_deep_copy(live);
	json_t *shared = json_array();

	for (uint32_t n = 0; n < f->device_count; n++)
		json_array_append_new(shared,
		    json_string(cmd_folder_device_name(cfg, &f->device[n])));
	json_object_set_new(o, "id", json_string(id));
	json_object_set_new(o, "name", json_string(id));
	json_object_set_new(o, "label",
	    json_string((const char *)f->label.ptr));
	json_object_set_new(o, "path", json_string((const char *)f->path.ptr));
	json_object_set_new(o, "mode", json_string(config_mode_name(f->mode)));
	json_object_set_new(o, "paused", json_boolean(f->paused));
	json_object_set_new(o, "shared_with", shared);
	json_object_set_new(o, "rescan_s",
	    json_integer((json_int_t)(f->rescan_ns / CLOCK_S)));
	json_object_set_new(o, "watched", json_boolean(cfg->folder[i].watch));
	json_object_set_new(o, "ignore_perms", json_boolean(f->ignore_perms));
	return o;
}

/* "in_sync" is for programs. */
static const char *
cmd_folder_state(const json_t *o)
{
	const char *state = cmd_text(o, "state");

	if (cmd_bool(o, "paused"))
		return "paused";
	if (strcmp(state, "in_sync") == 0)
		return "in sync";
	return state[0] == '\0' ? "–" : state;
}

static int
cmd_folder_print(struct cmd_call *call, const json_t *list)
{
	struct print_table t;
	const json_t *o;
	size_t i;

	print_table_init(&t, &call->ar, 6, 0);
	print_cell(&t, "FOLDER");
	print_cell(&t, "STATE");
	print_cell(&t, "MODE");
	print_cell(&t, "SHARED WITH");
	print_cell(&t, "LABEL");
	print_cell(&t, "PATH");
	json_array_foreach(list, i, o) {
		print_cell(&t, print_safe(&call->ar, cmd_text(o, "id")));
		print_cell(&t, cmd_folder_state(o));
		print_cell(&t, cmd_text(o, "mode"));
		print_cell(&t, cmd_words(&call->ar,
				   json_object_get(o, "shared_with"), "–"));
		print_cell(&t, print_safe(&call->ar, cmd_text(o, "label")));
		print_cell(&t, print_safe(&call->ar, cmd_text(o, "path")));
	}
	return cmd_print_table(call, &t);
}

int
cmd_folder_list(struct cmd_call *call)
{
	struct config cfg;
	struct err err = { 0 };
	json_t *answer, *o, *list;
	int code;

	code = cmd_config(call, &cfg);
	if (code != CMD_OK)
		return code;
	cmd_try(call, "GET", "/v1/folders", 5, &answer, &err);
	list = json_array();
	for (uint32_t i = 0; i < cfg.setup.folder_count; i++)
		json_array_append_new(list, cmd_folder_json(&cfg, i, answer));
	json_decref(answer);
	o = cmd_object();
	json_object_set_new(o, "folders", list);
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	if (options_has(&call->opt, "jsonl"))
		return cmd_print_jsonl(o, "folders", CMD_OK);
	if (options_has(&call->opt, "q"))
		for (uint32_t i = 0; i < cfg.setup.folder_count; i++)
			puts((const char *)cfg.setup.folder[i].id.ptr);
	else if (cfg.setup.folder_count == 0)
		puts("No folders.  Add one:  syncctl folder add PATH --id ID");
	else
		code = cmd_folder_print(call, list);
	json_decref(o);
	return code;
}

static void
cmd_folder_show_live(struct cmd_call *call, const json_t *o)
{
	const json_t *local = json_object_get(o, "local");
	const json_t *scan = json_object_get(o, "scan");
	const int64_t now = cmd_now_s();
	const json_t *p;
	size_t i;

	if (local == NULL) {
		if (!cmd_bool(o, "paused"))
			puts("state        unknown: syncd is not running");
		return;
	}
	printf("state        %s", cmd_folder_state(o));
	if (cmd_text(o, "reason")[0] != '\0')
		printf(" (%s)", cmd_text(o, "reason"));
	printf("\nhere         %s files, %s directories, %s\n",
	    print_count(&call->ar, cmd_int(local, "files")),
	    print_count(&call->ar, cmd_int(local, "dirs")),
	    print_size(&call->ar, cmd_int(local, "bytes")));
	printf("needed       %s items, %s\n",
	    print_count(&call->ar, cmd_int(o, "need_items")),
	    print_size(&call->ar, cmd_int(o, "need_bytes")));
	if (cmd_int(o, "changed_here") > 0)
		printf("changed here %s items\n",
		    print_count(&call->ar, cmd_int(o, "changed_here")));
	printf("watched      %s\n", cmd_text(o, "watch"));
	printf("last scan    %s\n",
	    print_age(&call->ar, cmd_time(cmd_text(scan, "last_end")), now));
	printf("ignore rules %s\n",
	    print_count(&call->ar, cmd_int(o, "ignore_rules")));
	printf("conflicts    %s\n",
	    print_count(&call->ar, cmd_int(o, "conflicts")));
	json_array_foreach(json_object_get(o, "errors"), i, p)
		printf("error        %s: %s %s\n",
		    print_safe(&call->ar, cmd_text(p, "path")),
		    cmd_text(p, "reason"),
		    print_safe(&call->ar, cmd_text(p, "text")));
}

int
cmd_folder_show(struct cmd_call *call)
{
	struct config cfg;
	struct err err = { 0 };
	json_t *answer, *o;
	uint32_t i;
	int code;

	code = cmd_config(call, &cfg);
	if (code == CMD_OK)
		code = cmd_find_folder(call, &cfg, call->opt.arg[0], &i);
	if (code != CMD_OK)
		return code;
	cmd_try(call, "GET", "/v1/folders", 5, &answer, &err);
	o = cmd_folder_json(&cfg, i, answer);
	json_decref(answer);
	json_object_set_new(o, "schema", json_string("syncctl/1"));
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	printf("id           %s\n", print_safe(&call->ar, cmd_text(o, "id")));
	printf("label        %s\n",
	    print_safe(&call->ar, cmd_text(o, "label")));
	printf("path         %s\n", print_safe(&call->ar, cmd_text(o, "path")));
	printf("mode         %s\n", cmd_text(o, "mode"));
	printf("shared with  %s\n",
	    cmd_words(&call->ar, json_object_get(o, "shared_with"), "–"));
	if (cmd_bool(o, "paused"))
		puts("state        paused");
	else
		cmd_folder_show_live(call, o);
	json_decref(o);
	return CMD_OK;
}
