/* syncctl device: whom this device trusts. */
#include "cli/cmd.h"

#include <string.h>

#include "cli/print.h"
#include "engine/base/mem.h"
#include "mesh/identity.h"

/* --- Changes --- */

static char *
cmd_device_key(struct cmd_call *call, struct slice name, const char *option)
{
	return arena_printf(&call->ar, "device.%.*s.%s", SLICE_FMT(name),
	    option);
}

/* Is it this very device?  Then it is no peer. */
static bool
cmd_device_is_self(struct cmd_call *call, const struct devid *id)
{
	struct identity *identity = NULL;
	bool is_self = false;

	if (identity_open(&identity, call->home.state_dir, NULL) == 0) {
		is_self = devid_equal(identity_devid(identity), id);
		identity_close(identity);
	}
	return is_self;
}

/* All that can be wrong with a new device; an exit code. */
static int
cmd_device_check_new(struct cmd_call *call, struct devid *id)
{
	const char *name = options_value(&call->opt, "name");
	size_t addrs;
	const char **addr =
	    options_values(&call->opt, "addr", &addrs, &call->ar);
	const struct config_option *opt;
	struct err err = { 0 };
	struct slice unused;

	if (name == NULL)
		return cmd_usage(call, "--name is missing");
	if (config_check_text(slice_str(name), 1, CONFIG_NAME_MAX, &err) < 0)
		return cmd_usage(call, "--name %s", err.text);
	if (devid_parse(id, slice_str(call->opt.arg[0]), &err) < 0)
		return cmd_usage(call, "%s", err.text);
	opt = config_option(SLICE_LIT("device.x.address"), &unused, NULL);
	for (size_t i = 0; i < addrs; i++)
		if (config_check_value(opt, slice_str(addr[i]), &err) < 0)
			return cmd_usage(call, "--addr \"%s\": %s", addr[i],
			    err.text);
	return CMD_OK;
}

/* The device is unknown so far, and so is the name; an exit code. */
static int
cmd_device_check_free(struct cmd_call *call, const struct devid *id)
{
	const char *name = options_value(&call->opt, "name");
	struct config cfg;
	int code;

	if (cmd_device_is_self(call, id))
		return cmd_fail_as(call, CMD_REFUSED,
		    "syncctl id, on the other device",
		    "that is the ID of this very device");
	code = cmd_config(call, &cfg);
	if (code != CMD_OK)
		return code;
	for (uint32_t i = 0; i < cfg.setup.device_count; i++) {
		const struct setup_device *d = &cfg.setup.device[i];

		if (devid_equal(&d->id, id))
			return cmd_fail_as(call, CMD_REFUSED,
			    arena_printf(&call->ar,
				"syncctl device show '%.*s'",
				SLICE_FMT(d->name)),
			    "this device is known already, as \"%.*s\"",
			    SLICE_FMT(d->name));
		if (slice_equal(d->name, slice_str(name)))
			return cmd_fail_as(call, CMD_REFUSED,
			    "choose another --name",
			    "there is another device \"%s\" already", name);
	}
	return CMD_OK;
}

int
cmd_device_add(struct cmd_call *call)
{
	size_t addrs;
	const char **addr =
	    options_values(&call->opt, "addr", &addrs, &call->ar);
	struct slice name, *value;
	struct config_file *cf;
	struct err err = { 0 };
	char text[DEVID_TEXT_LEN + 1];
	struct devid id;
	int code, rc;

	code = cmd_device_check_new(call, &id);
	if (code == CMD_OK)
		code = cmd_device_check_free(call, &id);
	if (code == CMD_OK)
		code = cmd_edit(call, &cf);
	if (code != CMD_OK)
		return code;
	name = slice_str(options_value(&call->opt, "name"));
	value = arena_array(&call->ar, addrs, sizeof(*value));
	for (size_t i = 0; i < addrs; i++)
		value[i] = slice_str(addr[i]);
	devid_text(&id, text);
	rc = cmd_set(cf, cmd_device_key(call, name, "id"), text, &err);
	if (rc == 0 && addrs > 0)
		rc = config_file_set(cf, cmd_device_key(call, name, "address"),
		    value, addrs, &err);
	if (rc == 0 && options_has(&call->opt, "introducer"))
		rc = cmd_set(cf, cmd_device_key(call, name, "introducer"),
		    "true", &err);
	if (rc == 0 && options_has(&call->opt, "auto-accept"))
		rc = cmd_set(cf, cmd_device_key(call, name, "auto-accept"),
		    "true", &err);
	return cmd_edit_end(call, cf, rc, &err);
}

/* The configuration, the device that the first word means, and a draft. */
static int
cmd_device_edit(struct cmd_call *call, struct config *cfg,
    const struct setup_device **dev, struct config_file **cf)
{
	uint32_t i;
	int code;

	code = cmd_config(call, cfg);
	if (code == CMD_OK)
		code = cmd_find_device(call, cfg, call->opt.arg[0], &i);
	if (code != CMD_OK)
		return code;
	*dev = &cfg->setup.device[i];
	return cmd_edit(call, cf);
}

/* Those it introduced: by its new name, or by nobody any more. */
static int
cmd_device_replace_introducer(struct cmd_call *call, const struct config *cfg,
    const struct setup_device *dev, struct config_file *cf, const char *to,
    struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < cfg->setup.device_count; i++) {
		const struct setup_device *d = &cfg->setup.device[i];
		const char *key =
		    cmd_device_key(call, d->name, "introduced-by");

		if (!devid_equal(&d->introduced_by, &dev->id))
			continue;
		rc = to == NULL ? config_file_set(cf, key, NULL, 0, err)
				: cmd_set(cf, key, to, err);
	}
	return rc;
}

/* Take the device out of all folders, or put `to` in its place. */
static int
cmd_device_replace_shares(struct cmd_call *call, const struct config *cfg,
    const struct setup_device *dev, struct config_file *cf, const char *to,
    struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < cfg->setup.folder_count; i++) {
		const struct setup_folder *f = &cfg->setup.folder[i];
		const char *key = arena_printf(&call->ar, "folder.%.*s.share",
		    SLICE_FMT(f->id));

		for (uint32_t j = 0; rc == 0 && j < f->device_count; j++) {
			if (!devid_equal(&f->device[j], &dev->id))
				continue;
			rc = config_file_take(cf, key, dev->name, err);
			if (rc == 0 && to != NULL)
				rc = config_file_add(cf, key, slice_str(to),
				    err);
		}
	}
	return rc;
}

/* A peer because the domain's log says so, not only by the file. */
static bool
cmd_device_is_member(const struct config *cfg, const struct setup_device *dev)
{
	return cfg->device[dev - cfg->setup.device].member;
}

int
cmd_device_rename(struct cmd_call *call)
{
	const char *to = call->opt.arg[1];
	const struct setup_device *dev;
	struct config_file *cf;
	struct err err = { 0 };
	char id[DEVID_TEXT_LEN + 1];
	struct config cfg;
	int code, rc;

	if (config_check_text(slice_str(to), 1, CONFIG_NAME_MAX, &err) < 0)
		return cmd_usage(call, "the name %s", err.text);
	code = cmd_device_edit(call, &cfg, &dev, &cf);
	if (code != CMD_OK)
		return code;
	if (cmd_device_is_member(&cfg, dev)) {
		config_file_drop(cf);
		devid_text(&dev->id, id);
		return cmd_domain_rename(call, id, to);
	}
	if (slice_equal(dev->name, slice_str(to))) {
		config_file_drop(cf);
		return CMD_OK;
	}
	if (config_find_device(&cfg, slice_str(to)) >= 0)
		rc = err_set(&err, ERR_EXISTS,
		    "there is another device \"%s\" already", to);
	else
		rc = config_file_rename(cf, "device", dev->name, slice_str(to),
		    &err);
	if (rc == 0)
		rc = cmd_device_replace_shares(call, &cfg, dev, cf, to, &err);
	if (rc == 0)
		rc = cmd_device_replace_introducer(call, &cfg, dev, cf, to,
		    &err);
	return cmd_edit_end(call, cf, rc, &err);
}

/* For --dry-run. */
static void
cmd_device_tell_remove(struct cmd_call *call, const struct config *cfg,
    const struct setup_device *dev)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < cfg->setup.folder_count; i++)
		count += setup_is_shared(&cfg->setup.folder[i], &dev->id);
	printf("%s would be trusted no longer; %u folder%s shared with it.\n",
	    print_safe(&call->ar, (const char *)dev->name.ptr), count,
	    count == 1 ? " is" : "s are");
}

int
cmd_device_remove(struct cmd_call *call)
{
	const struct setup_device *dev;
	struct config_file *cf;
	struct err err = { 0 };
	struct config cfg;
	int code, rc;

	code = cmd_device_edit(call, &cfg, &dev, &cf);
	if (code != CMD_OK)
		return code;
	if (cmd_device_is_member(&cfg, dev)) {
		config_file_drop(cf);
		return cmd_fail_as(call, CMD_REFUSED,
		    arena_printf(&call->ar, "syncctl device revoke '%.*s'",
			SLICE_FMT(dev->name)),
		    "%.*s is a member of the domain; it can be put out on "
		    "every device",
		    SLICE_FMT(dev->name));
	}
	if (options_has(&call->opt, "dry-run")) {
		config_file_drop(cf);
		cmd_device_tell_remove(call, &cfg, dev);
		return CMD_OK;
	}
	rc = cmd_device_replace_shares(call, &cfg, dev, cf, NULL, &err);
	if (rc == 0)
		rc = cmd_device_replace_introducer(call, &cfg, dev, cf, NULL,
		    &err);
	if (rc == 0)
		rc = config_file_remove(cf, "device", dev->name, &err);
	return cmd_edit_end(call, cf, rc, &err);
}

static int
cmd_device_set_paused(struct cmd_call *call, bool on)
{
	const struct setup_device *dev;
	struct config_file *cf;
	struct err err = { 0 };
	struct config cfg;
	char *key;
	int code, rc;

	code = cmd_device_edit(call, &cfg, &dev, &cf);
	if (code != CMD_OK)
		return code;
	key = cmd_device_key(call, dev->name, "paused");
	rc = on ? cmd_set(cf, key, "true", &err)
		: config_file_set(cf, key, NULL, 0, &err);
	return cmd_edit_end(call, cf, rc, &err);
}

int
cmd_device_pause(struct cmd_call *call)
{
	return cmd_device_set_paused(call, true);
}

int
cmd_device_resume(struct cmd_call *call)
{
	return cmd_device_set_paused(call, false);
}

/* --- Questions --- */

/* The introducer's name, its ID when it is gone, null when there is none. */
static json_t *
cmd_device_introducer(const struct config *cfg, const struct devid *by)
{
	char id[DEVID_TEXT_LEN + 1];

	if (devid_is_none(by))
		return json_null();
	for (uint32_t i = 0; i < cfg->setup.device_count; i++)
		if (devid_equal(&cfg->setup.device[i].id, by))
			return json_string(
			    (const char *)cfg->setup.device[i].name.ptr);
	devid_text(by, id);
	return json_string(id);
}

/* The device as configured, and as it is when the daemon is up. */
static json_t *
cmd_device_json(const struct config *cfg, uint32_t i, const json_t *answer)
{
	const struct setup_device *d = &cfg->setup.device[i];
	json_t *addresses = json_array();
	json_t *folders = json_array();
	char id[DEVID_TEXT_LEN + 1];
	const json_t *live;
	json_t *o;

	devid_text(&d->id, id);
	live = cmd_find(json_object_get(answer, "devices"), id);
	o = live == NULL ? json_object() : json_deep_copy(live);
	for (uint32_t n = 0; n < d->address_count; n++)
		json_array_append_new(addresses,
		    json_string((const char *)d->address[n].ptr));
	for (uint32_t f = 0; f < cfg->setup.folder_count; f++)
		for (uint32_t n = 0; n < cfg->setup.folder[f].device_count; n++)
			if (devid_equal(&cfg->setup.folder[f].device[n],
				&d->id))
				json_array_append_new(folders,
				    json_string(
					(const char *)cfg->setup.folder[f]
					    .id.ptr));
	json_object_set_new(o, "name", json_string((const char *)d->name.ptr));
	json_object_set_new(o, "id", json_string(id));
	json_object_set_new(o, "configured", addresses);
	json_object_set_new(o, "source",
	    json_string(config_source_name(cfg, i)));
	json_object_set_new(o, "introduced_by",
	    cmd_device_introducer(cfg, &d->introduced_by));
	json_object_set_new(o, "denied", json_boolean(cfg->device[i].denied));
	json_object_set_new(o, "paused", json_boolean(d->paused));
	json_object_set_new(o, "introducer", json_boolean(d->introducer));
	json_object_set_new(o, "auto_accept", json_boolean(d->auto_accept));
	json_object_set_new(o, "folders", folders);
	return o;
}

static int
cmd_device_print(struct cmd_call *call, const json_t *list)
{
	struct print_table t;
	const json_t *o;
	size_t i;

	print_table_init(&t, &call->ar, 6, 0);
	print_cell(&t, "DEVICE");
	print_cell(&t, "STATE");
	print_cell(&t, "ID");
	print_cell(&t, "PRIVATE");
	print_cell(&t, "FOLDERS");
	print_cell(&t, "ADDRESSES");
	json_array_foreach(list, i, o) {
		const char *state = cmd_text(o, "state");
		const char *own = cmd_text(json_object_get(o, "private"), "v4");

		if (cmd_bool(o, "paused"))
			state = "paused";
		else if (strcmp(state, "in_sync") == 0)
			state = "in sync";
		print_cell(&t, print_safe(&call->ar, cmd_text(o, "name")));
		print_cell(&t, state[0] == '\0' ? "–" : state);
		print_cell(&t,
		    arena_printf(&call->ar, "%.7s…", cmd_text(o, "id")));
		print_cell(&t, own[0] == '\0' ? "–" : own);
		print_cell(&t,
		    cmd_words(&call->ar, json_object_get(o, "folders"), "–"));
		print_cell(&t, cmd_words(&call->ar,
				   json_object_get(o, "configured"), "–"));
	}
	return cmd_print_table(call, &t);
}

int
cmd_device_list(struct cmd_call *call)
{
	struct config cfg;
	struct err err = { 0 };
	json_t *answer, *o, *list;
	int code;

	code = cmd_config(call, &cfg);
	if (code != CMD_OK)
		return code;
	cmd_try(call, "GET", "/v1/devices", 5, &answer, &err);
	list = json_array();
	for (uint32_t i = 0; i < cfg.setup.device_count; i++)
		json_array_append_new(list, cmd_device_json(&cfg, i, answer));
	json_decref(answer);
	o = cmd_object();
	json_object_set_new(o, "devices", list);
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	if (options_has(&call->opt, "jsonl"))
		return cmd_print_jsonl(o, "devices", CMD_OK);
	if (options_has(&call->opt, "q"))
		for (uint32_t i = 0; i < cfg.setup.device_count; i++)
			puts((const char *)cfg.setup.device[i].name.ptr);
	else if (cfg.setup.device_count == 0)
		puts("No devices.  Add one:  syncctl device add ID --name "
		     "NAME");
	else
		code = cmd_device_print(call, list);
	json_decref(o);
	return code;
}

static void
cmd_device_show_live(struct cmd_call *call, const json_t *o)
{
	const json_t *path = json_object_get(o, "path");
	const int64_t now = cmd_now_s();
	const json_t *way;
	size_t i;

	if (json_object_get(o, "state") == NULL) {
		puts("state        unknown: syncd is not running");
		return;
	}
	printf("state        %s\n", strcmp(cmd_text(o, "state"), "in_sync") == 0
					? "in sync"
					: cmd_text(o, "state"));
	if (cmd_bool(o, "connected")) {
		printf("path         %s\n", cmd_path_text(&call->ar, path));
		if (cmd_int(o, "rtt_us") > 0)
			printf("round trip   %s\n",
			    print_rtt(&call->ar, cmd_int(o, "rtt_us")));
		printf("encryption   %s\n", cmd_text(path, "tls"));
	}
	printf("client       %s\n",
	    print_safe(&call->ar, cmd_text(o, "client")));
	printf("seen         %s\n",
	    print_age(&call->ar, cmd_time(cmd_text(o, "last_seen")), now));
	printf("behind       %s items, %s\n",
	    print_count(&call->ar, cmd_int(o, "behind_items")),
	    print_size(&call->ar, cmd_int(o, "behind_bytes")));
	printf("received     %s\n",
	    print_size(&call->ar, cmd_int(o, "bytes_in")));
	printf("sent         %s\n",
	    print_size(&call->ar, cmd_int(o, "bytes_out")));
	if (cmd_text(o, "last_error")[0] != '\0' && !cmd_bool(o, "connected"))
		printf("last error   %s\n",
		    print_safe(&call->ar, cmd_text(o, "last_error")));
	json_array_foreach(json_object_get(o, "addresses"), i, way)
		printf("way          %s%s  %s\n", cmd_text(way, "address"),
		    cmd_bool(way, "found") ? " (found)" : "",
		    print_safe(&call->ar, cmd_text(way, "error")));
}

int
cmd_device_show(struct cmd_call *call)
{
	struct config cfg;
	struct err err = { 0 };
	json_t *answer, *o;
	uint32_t i;
	int code;

	code = cmd_config(call, &cfg);
	if (code == CMD_OK)
		code = cmd_find_device(call, &cfg, call->opt.arg[0], &i);
	if (code != CMD_OK)
		return code;
	cmd_try(call, "GET", "/v1/devices", 5, &answer, &err);
	o = cmd_device_json(&cfg, i, answer);
	json_decref(answer);
	json_object_set_new(o, "schema", json_string("syncctl/1"));
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	printf("name         %s\n", print_safe(&call->ar, cmd_text(o, "name")));
	printf("id           %s\n", cmd_text(o, "id"));
	if (json_object_get(o, "private") != NULL)
		printf("private      %s  %s\n",
		    cmd_text(json_object_get(o, "private"), "v4"),
		    cmd_text(json_object_get(o, "private"), "v6"));
	printf("addresses    %s\n",
	    cmd_words(&call->ar, json_object_get(o, "configured"), "–"));
	printf("folders      %s\n",
	    cmd_words(&call->ar, json_object_get(o, "folders"), "–"));
	printf("source       %s%s%s\n", cmd_text(o, "source"),
	    cmd_text(o, "introduced_by")[0] == '\0' ? "" : ": ",
	    print_safe(&call->ar, cmd_text(o, "introduced_by")));
	if (cmd_bool(o, "denied"))
		puts("paused       the domain's policy forbids it");
	else if (cmd_bool(o, "paused"))
		puts("paused       yes");
	if (cmd_bool(o, "introducer"))
		puts("introducer   yes");
	if (cmd_bool(o, "auto_accept"))
		puts("auto-accept  yes");
	cmd_device_show_live(call, o);
	json_decref(o);
	return CMD_OK;
}
