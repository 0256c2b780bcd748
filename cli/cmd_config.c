/* syncctl config: the configuration file, value by value. */
#include "cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"

/* The option and canonical key that a person typed; an exit code. */
static int
cmd_config_key(struct cmd_call *call, const char *typed,
    const struct config_option **opt, char **key)
{
	struct err err = { 0 };
	struct slice name;

	*opt = config_option(slice_str(typed), &name, &err);
	if (*opt == NULL)
		return cmd_fail_as(call, CMD_USAGE, "syncctl config list --all",
		    "%s: %s", typed, err.text);
	*key = config_key(&call->ar, *opt, name);
	return CMD_OK;
}

static int
cmd_config_items(struct cmd_call *call, const struct config_item **item,
    size_t *count)
{
	struct err err = { 0 };

	if (config_file_read(call->home.config, &call->ar, item, count, &err) <
	    0)
		return cmd_fail(call, &err);
	return CMD_OK;
}

/* The item's key as the table writes it; as it is when it is unknown. */
static const char *
cmd_config_canonical(struct cmd_call *call, struct slice key)
{
	struct slice name;
	const struct config_option *opt = config_option(key, &name, NULL);

	return opt == NULL ? arena_str(&call->ar, key)
			   : config_key(&call->ar, opt, name);
}

/* Is the device or folder of this key in the file? */
static bool
cmd_config_has_part(const char *key, const struct config_item *item,
    size_t count)
{
	const char *dot = strrchr(key, '.');
	const struct slice part = slice_of(key, (size_t)(dot - key) + 1);

	if (strchr(key, '.') == dot)
		return true; /* node., log., mesh., relay. are always there */
	for (size_t i = 0; i < count; i++)
		if (slice_has_prefix(item[i].key, part) &&
		    slice_find(slice_from(item[i].key, part.len), '.') ==
			SIZE_MAX)
			return true;
	return false;
}

int
cmd_config_get(struct cmd_call *call)
{
	const struct config_option *opt;
	const struct config_item *item;
	json_t *list, *o;
	struct slice rest = SLICE_EMPTY;
	size_t count;
	char *key;
	int code;

	code = cmd_config_key(call, call->opt.arg[0], &opt, &key);
	if (code == CMD_OK)
		code = cmd_config_items(call, &item, &count);
	if (code != CMD_OK)
		return code;
	if (!cmd_config_has_part(key, item, count))
		return cmd_fail_as(call, CMD_NOT_FOUND, "syncctl config list",
		    "%s: there is no such %s", key,
		    config_section_name(opt->section));
	list = json_array();
	for (size_t i = 0; i < count; i++)
		if (strcmp(cmd_config_canonical(call, item[i].key), key) == 0)
			json_array_append_new(list,
			    json_string((const char *)item[i].value.ptr));
	if (json_array_size(list) == 0 && opt->fallback != NULL)
		rest = slice_str(opt->fallback);
	while (rest.len > 0) {
		const struct slice word = config_next_word(&rest);

		json_array_append_new(list,
		    json_stringn((const char *)word.ptr, word.len));
	}
	code = json_array_size(list) == 0 ? CMD_NOT_FOUND : CMD_OK;
	if (options_has(&call->opt, "json")) {
		o = cmd_object();
		json_object_set_new(o, "key", json_string(key));
		json_object_set_new(o, "values", list);
		return cmd_print_json(o, code);
	}
	if (code != CMD_OK)
		code = cmd_fail_as(call, code, NULL, "%s is not set", key);
	for (size_t i = 0; i < json_array_size(list); i++)
		puts(json_string_value(json_array_get(list, i)));
	json_decref(list);
	return code;
}

/* "mesh.listen: "x": must be ...": said; an exit code. */
static int
cmd_config_check_one(struct cmd_call *call, const char *key,
    const struct config_option *opt, const char *value)
{
	struct err err = { 0 };

	if (config_check_value(opt, slice_str(value), &err) == 0)
		return CMD_OK;
	return cmd_fail_as(call, CMD_USAGE, NULL, "%s: \"%s\": %s", key, value,
	    err.text);
}

int
cmd_config_set(struct cmd_call *call)
{
	const size_t count = call->opt.arg_count - 1;
	struct slice *value = arena_array(&call->ar, count, sizeof(*value));
	const struct config_option *opt;
	struct config_file *cf;
	struct err err = { 0 };
	char *key;
	int rc = 0;
	int code;

	code = cmd_config_key(call, call->opt.arg[0], &opt, &key);
	for (size_t i = 0; code == CMD_OK && i < count; i++) {
		code =
		    cmd_config_check_one(call, key, opt, call->opt.arg[i + 1]);
		value[i] = slice_str(call->opt.arg[i + 1]);
	}
	if (code != CMD_OK)
		return code;
	if (!opt->repeats && (count > 1 || options_has(&call->opt, "add")))
		return cmd_usage(call, "%s takes one value", key);
	code = cmd_edit(call, &cf);
	if (code != CMD_OK)
		return code;
	if (options_has(&call->opt, "add"))
		for (size_t i = 0; rc == 0 && i < count; i++)
			rc = config_file_add(cf, key, value[i], &err);
	else
		rc = config_file_set(cf, key, value, count, &err);
	return cmd_edit_end(call, cf, rc, &err);
}

int
cmd_config_unset(struct cmd_call *call)
{
	const struct config_option *opt;
	const struct config_item *item;
	struct config_file *cf;
	struct err err = { 0 };
	struct slice name;
	const char *key = call->opt.arg[0];
	char *unused = NULL;
	bool has = false;
	size_t count;
	int code, rc;

	/* Also what is no option: that is how a mistake is mended. */
	opt = config_option(slice_str(key), &name, NULL);
	if (opt != NULL)
		key = config_key(&call->ar, opt, name);
	code = cmd_config_items(call, &item, &count);
	if (code != CMD_OK)
		return code;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(cmd_config_canonical(call, item[i].key), key) != 0)
			continue;
		has = true;
		key = (const char *)item[i].key.ptr; /* as it is written */
		break;
	}
	if (!has && opt == NULL)
		return cmd_config_key(call, key, &opt, &unused);
	if (!has)
		return CMD_OK; /* it has its default already */
	code = cmd_edit(call, &cf);
	if (code != CMD_OK)
		return code;
	rc = call->opt.arg_count > 1
		 ? config_file_take(cf, key, slice_str(call->opt.arg[1]), &err)
		 : config_file_set(cf, key, NULL, 0, &err);
	return cmd_edit_end(call, cf, rc, &err);
}

/* One line a value, as it would be written. */
static void
cmd_config_print_default(struct cmd_call *call, const char *key,
    const struct config_option *opt)
{
	struct slice rest =
	    slice_str(opt->fallback != NULL ? opt->fallback : "");

	do {
		const struct slice word =
		    opt->repeats ? config_next_word(&rest) : rest;

		printf("# %s=%.*s    # %s; %s\n", key, SLICE_FMT(word),
		    config_allowed(&call->ar, opt), opt->help);
	} while (opt->repeats && rest.len > 0);
}

/* What is not in the file, as comments a person could take out. */
static void
cmd_config_print_defaults(const struct config_item *item, size_t count,
    struct cmd_call *call)
{
	size_t options;
	const struct config_option *opt = config_options(&options);

	for (size_t i = 0; i < options; i++) {
		bool is_set = false;
		const char *key = config_key(&call->ar, &opt[i],
		    opt[i].section == CONFIG_IN_DEVICE ? SLICE_LIT("NAME")
						       : SLICE_LIT("ID"));

		for (size_t n = 0; n < count; n++)
			if (strcmp(cmd_config_canonical(call, item[n].key),
				key) == 0)
				is_set = true;
		if (!is_set)
			cmd_config_print_default(call, key, &opt[i]);
	}
}

int
cmd_config_list(struct cmd_call *call)
{
	const struct config_item *item;
	json_t *o, *list;
	size_t count;
	int code;

	code = cmd_config_items(call, &item, &count);
	if (code != CMD_OK)
		return code;
	if (options_has(&call->opt, "json") ||
	    options_has(&call->opt, "jsonl")) {
		list = json_array();
		for (size_t i = 0; i < count; i++)
			json_array_append_new(list,
			    json_pack("{s:s,s:s,s:i}", "key",
				cmd_config_canonical(call, item[i].key),
				"value", (const char *)item[i].value.ptr,
				"line", (int)item[i].line));
		o = cmd_object();
		json_object_set_new(o, "file", json_string(call->home.config));
		json_object_set_new(o, "values", list);
		return options_has(&call->opt, "jsonl")
			   ? cmd_print_jsonl(o, "values", CMD_OK)
			   : cmd_print_json(o, CMD_OK);
	}
	for (size_t i = 0; i < count; i++)
		printf("%s=%s\n", cmd_config_canonical(call, item[i].key),
		    (const char *)item[i].value.ptr);
	if (options_has(&call->opt, "all"))
		cmd_config_print_defaults(item, count, call);
	return CMD_OK;
}

int
cmd_config_check(struct cmd_call *call)
{
	const char *file =
	    call->opt.arg_count > 0 ? call->opt.arg[0] : call->home.config;
	const struct config_mistake *list;
	struct config cfg;
	json_t *o, *mistakes;
	size_t count;
	int rc;

	if (call->opt.arg_count > 0 && access(file, R_OK) < 0)
		return cmd_fail_as(call,
		    errno == EACCES ? CMD_REFUSED : CMD_NOT_FOUND, NULL,
		    "%s: %s", file, strerror(errno));
	rc = config_file_load_from(&call->home, file, &call->ar, &cfg, &list,
	    &count, NULL);
	if (options_has(&call->opt, "json")) {
		mistakes = json_array();
		for (size_t i = 0; i < count; i++)
			json_array_append_new(mistakes,
			    json_pack("{s:i,s:s%,s:s%}", "line",
				(int)list[i].line, "key",
				list[i].key.ptr == NULL
				    ? ""
				    : (const char *)list[i].key.ptr,
				list[i].key.len, "text",
				(const char *)list[i].text.ptr,
				list[i].text.len));
		o = cmd_object();
		json_object_set_new(o, "file", json_string(file));
		json_object_set_new(o, "mistakes", mistakes);
		return cmd_print_json(o, rc < 0 ? CMD_FAILED : CMD_OK);
	}
	cmd_tell_mistakes(list, count);
	if (rc < 0)
		return CMD_FAILED;
	printf("%s: in order: %u devices, %u folders\n", file,
	    cfg.setup.device_count, cfg.setup.folder_count);
	return CMD_OK;
}

/* --- config edit --- */

/* Run "$EDITOR FILE"; true when it ended well. */
static bool
cmd_config_run_editor(struct cmd_call *call, const char *file)
{
	const char *editor = getenv("VISUAL");
	int status = 0;
	pid_t pid;

	if (editor == NULL || editor[0] == '\0')
		editor = getenv("EDITOR");
	if (editor == NULL || editor[0] == '\0')
		editor = access("/usr/bin/editor", X_OK) == 0 ? "editor" : "vi";
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		/* The variable may hold options: the shell splits it. */
		execl("/bin/sh", "sh", "-c",
		    arena_printf(&call->ar, "exec %s \"$1\"", editor), editor,
		    file, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	cmd_say("%s failed; nothing was changed", editor);
	return false;
}

static bool
cmd_config_slurp(const char *file, struct buf *out)
{
	FILE *f = fopen(file, "r");
	size_t n;

	if (f == NULL)
		return false;
	do {
		uint8_t *at = buf_extend(out, 4096);

		n = fread(at, 1, 4096, f);
		out->len -= 4096 - n;
	} while (n > 0 && out->len < 4 * MIB);
	fclose(f);
	return true;
}

static bool
cmd_config_spill(const char *file, struct slice text)
{
	const int fd =
	    open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const bool done =
	    fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len;

	if (fd >= 0)
		close(fd);
	return done;
}

/* What a new file begins with. */
static const char cmd_config_new[] =
    "# Holdfast; man holdfast-config says what can stand here.\n";

/*
 * The person edits a copy, without a lock: that may take a day.  Only the
 * saving locks, and refuses when the file changed meanwhile.
 */
int
cmd_config_edit(struct cmd_call *call)
{
	const char *copy =
	    arena_printf(&call->ar, "%s.edit", call->home.config);
	struct buf before = { 0 }, now = { 0 }, text = { 0 };
	struct config_file *cf;
	struct err err = { 0 };
	int code = CMD_FAILED;

	if (home_make(&call->home, &err) < 0)
		return cmd_fail(call, &err);
	if (!cmd_config_slurp(call->home.config, &before))
		buf_put(&before, slice_str(cmd_config_new));
	if (!cmd_config_spill(copy, buf_slice(&before))) {
		cmd_say("%s: %s", copy, strerror(errno));
		goto out;
	}
	if (!cmd_config_run_editor(call, copy) ||
	    !cmd_config_slurp(copy, &text))
		goto out;
	if (slice_equal(buf_slice(&before), buf_slice(&text))) {
		code = CMD_OK;
		goto out;
	}
	cmd_config_slurp(call->home.config, &now);
	if (now.len > 0 && !slice_equal(buf_slice(&before), buf_slice(&now))) {
		cmd_say("%s was changed meanwhile; your text is in %s",
		    call->home.config, copy);
		copy = NULL;
		goto out;
	}
	code = cmd_edit(call, &cf);
	if (code == CMD_OK) {
		const int rc = config_file_replace(cf, buf_slice(&text), &err);

		code = cmd_edit_end(call, cf, rc, &err);
	}
	if (code != CMD_OK) {
		cmd_say("your text is in %s", copy);
		copy = NULL;
	}
out:
	if (copy != NULL)
		unlink(copy);
	buf_fini(&before);
	buf_fini(&now);
	buf_fini(&text);
	return code;
}
