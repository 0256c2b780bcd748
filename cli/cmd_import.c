/*
 * syncctl import-syncthing: go on as the Syncthing that was here.
 *
 * Takes certificate and key (the device ID stays), devices, folders, modes and
 * addresses; ignore files and markers are in the folders already.  Nothing of
 * Syncthing's is changed.  What cannot be taken over is said, line by line.
 * BEP-FACTS.md 12.3.
 */
#include "cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/print.h"
#include "cli/syncthing.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/addr.h"
#include "mesh/identity.h"

struct cmd_import {
	struct cmd_call *call;
	const char *dir;
	struct slice cert, key;
	struct devid self;
	struct syncthing st;
	const char **name; /* what each device is called here */
	struct config_file *cf;
	struct err err;
	unsigned skipped; /* what a person has to do by hand */
};

/* --- Reading --- */

static bool
cmd_import_exists(const char *dir, const char *name, struct arena *ar)
{
	return access(arena_printf(ar, "%s/%s", dir, name), F_OK) == 0;
}

/* Where Syncthing keeps it; NULL: nowhere. */
static const char *
cmd_import_usual(struct cmd_call *call)
{
	static const struct {
		const char *variable, *fallback;
	} places[] = {
		{ "XDG_CONFIG_HOME", ".config" },
		{ "XDG_STATE_HOME", ".local/state" },
	};

	for (size_t i = 0; i < 2; i++) {
		const char *base = getenv(places[i].variable);
		const char *dir =
		    base != NULL && base[0] == '/'
			? arena_printf(&call->ar, "%s/syncthing", base)
			: arena_printf(&call->ar, "%s/%s/syncthing",
			      call->home.user_home, places[i].fallback);

		if (cmd_import_exists(dir, "config.xml", &call->ar))
			return dir;
	}
	return NULL;
}

/* A whole file; false and said when it cannot be read. */
static bool
cmd_import_read(struct cmd_import *im, const char *name, struct slice *out)
{
	struct arena *ar = &im->call->ar;
	const char *path = arena_printf(ar, "%s/%s", im->dir, name);
	FILE *f = fopen(path, "r");
	struct buf text = { 0 };
	size_t n;

	if (f == NULL) {
		cmd_say("%s: %s", path, strerror(errno));
		return false;
	}
	do {
		uint8_t *at = buf_extend(&text, 64 * 1024);

		n = fread(at, 1, 64 * 1024, f);
		text.len -= 64 * 1024 - n;
	} while (n > 0 && text.len <= SYNCTHING_CONFIG_MAX);
	fclose(f);
	*out = slice_of(arena_str(ar, buf_slice(&text)), text.len);
	buf_fini(&text);
	return true;
}

/* All that is asked of Syncthing's directory; an exit code. */
static int
cmd_import_load(struct cmd_import *im)
{
	struct identity *identity = NULL;
	struct slice text;

	if (access(im->dir, F_OK) < 0 ||
	    !cmd_import_exists(im->dir, "config.xml", &im->call->ar)) {
		return cmd_fail_as(im->call, CMD_NOT_FOUND, NULL,
		    "no Syncthing in %s (no config.xml)", im->dir);
	}
	if (!cmd_import_read(im, "config.xml", &text) ||
	    !cmd_import_read(im, "cert.pem", &im->cert) ||
	    !cmd_import_read(im, "key.pem", &im->key))
		return CMD_FAILED;
	if (syncthing_parse(&im->st, text, &im->call->ar, &im->err) < 0) {
		cmd_say("%s/config.xml: %s", im->dir,
		    print_safe(&im->call->ar, im->err.text));
		return CMD_FAILED;
	}
	if (identity_from_pem(&identity, im->cert, im->key, &im->err) < 0) {
		cmd_say("%s: %s", im->dir, im->err.text);
		return CMD_FAILED;
	}
	im->self = *identity_devid(identity);
	identity_close(identity);
	return CMD_OK;
}

/* --- Names --- */

static bool
cmd_import_is_taken(const struct cmd_import *im, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(im->name[i], name) == 0)
			return true;
	return false;
}

/* A name for each: clean, not empty, not too long, no two the same. */
static void
cmd_import_name_devices(struct cmd_import *im)
{
	struct arena *ar = &im->call->ar;

	im->name = arena_array(ar, im->st.device_count + 1, sizeof(*im->name));
	for (size_t i = 0; i < im->st.device_count; i++) {
		const struct syncthing_device *d = &im->st.device[i];
		char id[DEVID_TEXT_LEN + 1];
		char *name = arena_str(ar, slice_str(d->name));
		const char *base;

		devid_text(&d->id, id);
		for (char *p = name; *p != '\0'; p++)
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				*p = '_';
		if (strlen(name) > CONFIG_NAME_MAX - 8)
			name[0] = '\0'; /* cutting could halve a letter */
		base = name[0] == '\0' ? arena_printf(ar, "%.7s", id) : name;
		im->name[i] = base;
		for (unsigned n = 2; cmd_import_is_taken(im, i, im->name[i]);
		     n++)
			im->name[i] = arena_printf(ar, "%s-%u", base, n);
	}
}

static const char *
cmd_import_name_of(const struct cmd_import *im, const struct devid *id)
{
	for (size_t i = 0; i < im->st.device_count; i++)
		if (devid_equal(&im->st.device[i].id, id))
			return im->name[i];
	return NULL;
}

/* --- Writing the draft --- */

static void cmd_import_skip(struct cmd_import *im, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
cmd_import_skip(struct cmd_import *im, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cmd_say("not taken over: %s", print_safe(&im->call->ar, text));
	im->skipped++;
}

static int
cmd_import_put(struct cmd_import *im, const char *section, const char *name,
    const char *option, const char *value)
{
	return cmd_set(im->cf,
	    arena_printf(&im->call->ar, "%s.%s%s%s", section, name,
		name[0] == '\0' ? "" : ".", option),
	    value, &im->err);
}

/* Addresses that the configuration accepts. */
static int
cmd_import_addresses(struct cmd_import *im, const char *key, const char *option,
    const char **list, size_t count, const char *whose)
{
	struct arena *ar = &im->call->ar;
	struct slice *value = arena_array(ar, count, sizeof(*value));
	const struct config_option *opt;
	struct slice unused;
	size_t kept = 0;

	opt = config_option(slice_str(option), &unused, NULL);
	for (size_t i = 0; i < count; i++) {
		const struct slice s = slice_str(list[i]);

		if (strcmp(list[i], "default") == 0)
			continue;
		if (config_check_value(opt, s, NULL) == 0)
			value[kept++] = s;
		else if (opt->type == CONFIG_ADDRESS || s.len == 0 ||
			 strncmp(list[i], "tcp", 3) == 0)
			cmd_import_skip(im, "address %s of %s", list[i], whose);
	}
	/* "dynamic" alone is the default. */
	if (kept == 0 ||
	    (kept == 1 && slice_equal(value[0], SLICE_LIT("dynamic"))))
		return 0;
	return config_file_set(im->cf, key, value, kept, &im->err);
}

static int
cmd_import_device(struct cmd_import *im, const struct syncthing_device *d,
    const char *name)
{
	struct arena *ar = &im->call->ar;
	const char *compression = d->compression;
	char id[DEVID_TEXT_LEN + 1];
	int rc;

	devid_text(&d->id, id);
	rc = cmd_import_put(im, "device", name, "id", id);
	if (rc == 0)
		rc = cmd_import_addresses(im,
		    arena_printf(ar, "device.%s.address", name),
		    "device.x.address", d->address, d->address_count, name);
	if (rc == 0 && d->paused)
		rc = cmd_import_put(im, "device", name, "paused", "true");
	if (rc == 0 && d->introducer)
		rc = cmd_import_put(im, "device", name, "introducer", "true");
	if (rc == 0 && d->auto_accept)
		rc = cmd_import_put(im, "device", name, "auto-accept", "true");
	if (rc == 0 && !devid_is_none(&d->introduced_by)) {
		devid_text(&d->introduced_by, id);
		rc = cmd_import_put(im, "device", name, "introduced-by", id);
	}
	if (strcmp(compression, "true") == 0)
		compression = "always";
	if (strcmp(compression, "false") == 0)
		compression = "never";
	if (rc == 0 && (strcmp(compression, "always") == 0 ||
			   strcmp(compression, "never") == 0))
		rc = cmd_import_put(im, "device", name, "compression",
		    compression);
	return rc;
}

/* Our word for a folder's type; NULL: we have none. */
static const char *
cmd_import_mode(const char *type)
{
	if (strcmp(type, "sendonly") == 0 || strcmp(type, "readonly") == 0)
		return "sendonly";
	if (strcmp(type, "receiveonly") == 0)
		return "receiveonly";
	if (strcmp(type, "receiveencrypted") == 0)
		return NULL;
	return "sendreceive";
}

static int
cmd_import_shares(struct cmd_import *im, const struct syncthing_folder *f)
{
	struct arena *ar = &im->call->ar;
	struct slice *value = arena_array(ar, f->share_count, sizeof(*value));
	size_t count = 0;

	for (size_t i = 0; i < f->share_count; i++) {
		const struct syncthing_share *s = &f->share[i];
		const char *name = cmd_import_name_of(im, &s->device);

		if (devid_equal(&s->device, &im->self))
			continue;
		if (name == NULL)
			cmd_import_skip(im,
			    "a share of folder %s with an unknown device",
			    f->id);
		else if (s->encrypted)
			cmd_import_skip(im,
			    "the encrypted share of folder %s with %s", f->id,
			    name);
		else
			value[count++] = slice_str(name);
	}
	if (count == 0)
		return 0;
	return config_file_set(im->cf,
	    arena_printf(ar, "folder.%s.share", f->id), value, count, &im->err);
}

/* A trash can goes on as one; what else kept versions leaves them there. */
static int
cmd_import_versions(struct cmd_import *im, const struct syncthing_folder *f)
{
	if (f->versioning[0] == '\0')
		return 0;
	if (strcmp(f->versioning, "trashcan") == 0 && !f->versions_elsewhere)
		return cmd_import_put(im, "folder", f->id, "trash-age",
		    arena_printf(&im->call->ar, "%lldd",
			(long long)(f->cleanout_days > 0 ? f->cleanout_days
							 : 0)));
	cmd_import_skip(im,
	    "the versioning (%s) of folder %s; its old versions stay where "
	    "they are",
	    f->versioning, f->id);
	return 0;
}

static int
cmd_import_folder(struct cmd_import *im, const struct syncthing_folder *f)
{
	const char *mode = cmd_import_mode(f->mode);
	struct arena *ar = &im->call->ar;
	int rc;

	if (mode == NULL) {
		cmd_import_skip(im, "folder %s: receive-encrypted", f->id);
		return 0;
	}
	rc = cmd_import_put(im, "folder", f->id, "path", f->path);
	if (rc == 0)
		rc = cmd_import_versions(im, f);
	if (rc == 0 && f->label[0] != '\0' && strcmp(f->label, f->id) != 0)
		rc = cmd_import_put(im, "folder", f->id, "label", f->label);
	if (rc == 0 && strcmp(mode, "sendreceive") != 0)
		rc = cmd_import_put(im, "folder", f->id, "mode", mode);
	if (rc == 0)
		rc = cmd_import_shares(im, f);
	if (rc == 0 && f->paused)
		rc = cmd_import_put(im, "folder", f->id, "paused", "true");
	if (rc == 0 && f->ignore_perms)
		rc =
		    cmd_import_put(im, "folder", f->id, "ignore-perms", "true");
	if (rc == 0 && f->unwatched)
		rc = cmd_import_put(im, "folder", f->id, "watch", "false");
	if (rc == 0 && f->rescan_s >= 0 && f->rescan_s != 3600)
		rc = cmd_import_put(im, "folder", f->id, "rescan",
		    arena_printf(ar, "%llds", (long long)f->rescan_s));
	return rc;
}

static int
cmd_import_node(struct cmd_import *im)
{
	const char *name = cmd_import_name_of(im, &im->self);
	int rc = 0;

	if (name != NULL)
		rc = cmd_import_put(im, "node", "", "name", name);
	if (rc == 0)
		rc = cmd_import_addresses(im, "mesh.listen", "mesh.listen",
		    im->st.listen, im->st.listen_count, "this device");
	if (rc == 0 && im->st.no_announce)
		rc = cmd_import_put(im, "mesh", "", "announce", "false");
	if (rc == 0 && im->st.announce_port > 0 &&
	    im->st.announce_port != 21027)
		rc = cmd_import_put(im, "mesh", "", "announce-port",
		    arena_printf(&im->call->ar, "%lld",
			(long long)im->st.announce_port));
	return rc;
}

static int
cmd_import_fill(struct cmd_import *im)
{
	int rc = cmd_import_node(im);

	for (size_t i = 0; rc == 0 && i < im->st.device_count; i++)
		if (!devid_equal(&im->st.device[i].id, &im->self))
			rc = cmd_import_device(im, &im->st.device[i],
			    im->name[i]);
	for (size_t i = 0; rc == 0 && i < im->st.folder_count; i++)
		rc = cmd_import_folder(im, &im->st.folder[i]);
	return rc;
}

/* --- The identity --- */

static int
cmd_import_write(struct cmd_import *im, const char *name, struct slice text)
{
	const char *path = arena_printf(&im->call->ar, "%s/%s",
	    im->call->home.state_dir, name);
	const int fd =
	    open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0 || write(fd, text.ptr, text.len) != (ssize_t)text.len ||
	    fsync(fd) < 0)
		rc = err_sys(&im->err, errno, "write %s", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

static void
cmd_import_unlink(struct cmd_import *im, const char *name)
{
	unlink(arena_printf(&im->call->ar, "%s/%s", im->call->home.state_dir,
	    name));
}

/* With --force: what is there steps aside, under a name that is free. */
static int
cmd_import_step_aside(struct cmd_import *im)
{
	static const char *const names[] = { "cert.pem", "key.pem" };
	struct arena *ar = &im->call->ar;
	const char *dir = im->call->home.state_dir;

	for (size_t i = 0; i < 2; i++) {
		const char *from = arena_printf(ar, "%s/%s", dir, names[i]);
		const char *to;
		unsigned n = 0;

		do
			to = arena_printf(ar, "%s.old%u", from, ++n);
		while (access(to, F_OK) == 0);
		if (rename(from, to) < 0 && errno != ENOENT)
			return err_sys(&im->err, errno, "move %s aside", from);
	}
	/* What was known belongs to the other identity. */
	if (access(im->call->home.index_dir, F_OK) == 0) {
		const char *to;
		unsigned n = 0;

		do
			to = arena_printf(ar, "%s.old%u",
			    im->call->home.index_dir, ++n);
		while (access(to, F_OK) == 0);
		if (rename(im->call->home.index_dir, to) < 0)
			return err_sys(&im->err, errno, "move the index aside");
	}
	return 0;
}

/* May this home become another's?  An exit code. */
static int
cmd_import_check_home(struct cmd_import *im)
{
	struct cmd_call *call = im->call;
	const char *dir = call->home.state_dir;
	const struct config_item *item;
	size_t count = 0;

	if (client_is_up(call->client))
		return cmd_fail_as(call, CMD_REFUSED, "stop syncd",
		    "syncd is running here");
	if (options_has(&call->opt, "force"))
		return CMD_OK;
	if (cmd_import_exists(dir, "cert.pem", &call->ar) ||
	    cmd_import_exists(dir, "key.pem", &call->ar)) {
		return cmd_fail_as(call, CMD_REFUSED, NULL,
		    "%s has an identity already; --force moves it aside", dir);
	}
	if (config_file_read(call->home.config, &call->ar, &item, &count,
		&im->err) < 0 ||
	    count > 0)
		return cmd_fail_as(call, CMD_REFUSED, NULL,
		    "%s is there already; --force adds to it",
		    call->home.config);
	return CMD_OK;
}

/* Keys first: a configuration without them would get new ones. */
static int
cmd_import_finish(struct cmd_import *im)
{
	struct cmd_call *call = im->call;
	bool has_cert = false;
	int rc = 0;
	int code;

	if (options_has(&call->opt, "force"))
		rc = cmd_import_step_aside(im);
	if (rc == 0) {
		rc = cmd_import_write(im, "cert.pem", im->cert);
		has_cert = rc == 0;
	}
	if (rc == 0)
		rc = cmd_import_write(im, "key.pem", im->key);
	code = cmd_edit_end(call, im->cf, rc, &im->err);
	if (code != CMD_OK && has_cert) {
		cmd_import_unlink(im, "key.pem");
		cmd_import_unlink(im, "cert.pem");
	}
	return code;
}

static void
cmd_import_tell(const struct cmd_import *im)
{
	char id[DEVID_TEXT_LEN + 1];
	size_t others = im->st.device_count;

	if (cmd_import_name_of(im, &im->self) != NULL)
		others--;
	devid_text(&im->self, id);
	printf("%s\n%zu device%s and %zu folder%s from %s\n", id, others,
	    others == 1 ? "" : "s", im->st.folder_count,
	    im->st.folder_count == 1 ? "" : "s", im->dir);
	puts("Stop Syncthing for good before syncd starts: both have one "
	     "identity now.");
}

/* What would be written, and whether that would be taken; an exit code. */
static int
cmd_import_show(struct cmd_import *im)
{
	struct cmd_call *call = im->call;
	const struct config_mistake *list = NULL;
	const struct config_item *item;
	size_t count = 0, mistakes = 0;
	int rc;

	rc = config_file_items(im->cf, &call->ar, &item, &count, &im->err);
	for (size_t i = 0; i < count; i++)
		printf("%s=%s\n", (const char *)item[i].key.ptr,
		    (const char *)item[i].value.ptr);
	if (rc == 0)
		rc = config_file_check(im->cf, &call->ar, &list, &mistakes,
		    &im->err);
	config_file_drop(im->cf);
	if (rc == 0)
		return CMD_OK;
	if (mistakes == 0)
		return cmd_fail(call, &im->err);
	cmd_tell_mistakes(list, mistakes);
	return cmd_fail_as(call, CMD_REFUSED, NULL,
	    "so it would be refused, and nothing taken over");
}

int
cmd_import(struct cmd_call *call)
{
	const bool dry = options_has(&call->opt, "dry-run");
	struct cmd_import im = { .call = call };
	int code;
	int rc = 0;

	im.dir =
	    call->opt.arg_count > 0 ? call->opt.arg[0] : cmd_import_usual(call);
	if (im.dir == NULL)
		return cmd_fail_as(call, CMD_NOT_FOUND,
		    "syncctl import-syncthing DIR",
		    "no Syncthing in the usual places");
	code = cmd_import_load(&im);
	if (code == CMD_OK)
		code = cmd_import_check_home(&im);
	if (code == CMD_OK && dry)
		rc = config_file_try(&im.cf, &call->home, &im.err);
	else if (code == CMD_OK)
		code = cmd_edit(call, &im.cf);
	if (rc < 0)
		return cmd_fail(call, &im.err);
	if (code != CMD_OK)
		return code;
	cmd_import_name_devices(&im);
	rc = cmd_import_fill(&im);
	if (rc < 0)
		return cmd_edit_end(call, im.cf, rc, &im.err);
	if (dry)
		return cmd_import_show(&im);
	code = cmd_import_finish(&im);
	if (code != CMD_OK)
		return code;
	cmd_import_tell(&im);
	return im.skipped > 0 ? CMD_PARTLY : CMD_OK;
}
