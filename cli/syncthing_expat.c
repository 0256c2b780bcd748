/*
 * Syncthing's config.xml through expat; see syncthing.h.
 *
 * Only three levels matter: <configuration>, in it <device>, <folder> and
 * <options>, in those their values.  What stands deeper, or in another element
 * (<defaults> has devices and folders too), is passed over.
 */
#include "cli/syncthing.h"

#include <stdlib.h>
#include <string.h>

#include <expat.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define SYNCTHING_DEPTH_MAX 64u

enum syncthing_place {
	SYNCTHING_ELSEWHERE,
	SYNCTHING_IN_DEVICE,
	SYNCTHING_IN_FOLDER,
	SYNCTHING_IN_OPTIONS,
};

struct syncthing_reader {
	XML_Parser parser;
	struct arena *ar;
	struct err err; /* ours; expat's own are asked at the end */
	unsigned depth;
	enum syncthing_place place;
	struct buf text; /* of the element on level 3 */
	struct syncthing *out;
	VEC(struct syncthing_device) device;
	VEC(struct syncthing_folder) folder;
	VEC(const char *) listen;
	VEC(const char *) address;         /* of the last device */
	VEC(struct syncthing_share) share; /* of the last folder */
};

static void
syncthing_stop(struct syncthing_reader *r, const char *what)
{
	if (r->err.code == 0)
		err_set(&r->err, ERR_INVALID, "line %lu: %s",
		    (unsigned long)XML_GetCurrentLineNumber(r->parser), what);
	XML_StopParser(r->parser, XML_FALSE);
}

static const char *
syncthing_keep(struct syncthing_reader *r, const char *text)
{
	return arena_str(r->ar, slice_str(text));
}

static const char *
syncthing_attr(const XML_Char **attr, const char *name)
{
	for (; attr[0] != NULL; attr += 2)
		if (strcmp(attr[0], name) == 0)
			return attr[1];
	return "";
}

static bool
syncthing_true(const char *text)
{
	return strcmp(text, "true") == 0;
}

static int64_t
syncthing_number(const char *text, int64_t fallback)
{
	char *end;
	const long long n = strtoll(text, &end, 10);

	return end == text || *end != '\0' ? fallback : (int64_t)n;
}

/* A device ID; "" is none when that is allowed. */
static struct devid
syncthing_devid(struct syncthing_reader *r, const char *text, bool may_lack)
{
	struct devid id = { 0 };
	struct err err = { 0 };

	if (may_lack && text[0] == '\0')
		return id;
	if (devid_parse(&id, slice_str(text), &err) < 0)
		syncthing_stop(r, err.text);
	return id;
}

static void
syncthing_begin_device(struct syncthing_reader *r, const XML_Char **attr)
{
	struct syncthing_device *d = VEC_ADD(&r->device);

	memset(d, 0, sizeof(*d));
	d->id = syncthing_devid(r, syncthing_attr(attr, "id"), false);
	d->name = syncthing_keep(r, syncthing_attr(attr, "name"));
	d->compression = syncthing_keep(r, syncthing_attr(attr, "compression"));
	d->introducer = syncthing_true(syncthing_attr(attr, "introducer"));
	d->introduced_by =
	    syncthing_devid(r, syncthing_attr(attr, "introducedBy"), true);
	VEC_CLEAR(&r->address);
}

static void
syncthing_begin_folder(struct syncthing_reader *r, const XML_Char **attr)
{
	struct syncthing_folder *f = VEC_ADD(&r->folder);

	memset(f, 0, sizeof(*f));
	f->id = syncthing_keep(r, syncthing_attr(attr, "id"));
	f->label = syncthing_keep(r, syncthing_attr(attr, "label"));
	f->path = syncthing_keep(r, syncthing_attr(attr, "path"));
	f->mode = syncthing_keep(r, syncthing_attr(attr, "type"));
	f->marker = f->versioning = "";
	f->rescan_s =
	    syncthing_number(syncthing_attr(attr, "rescanIntervalS"), -1);
	f->ignore_perms = syncthing_true(syncthing_attr(attr, "ignorePerms"));
	f->unwatched =
	    strcmp(syncthing_attr(attr, "fsWatcherEnabled"), "false") == 0;
	VEC_CLEAR(&r->share);
}

/* Level 3: a share of a folder begins with its attributes. */
static void
syncthing_begin_value(struct syncthing_reader *r, const char *name,
    const XML_Char **attr)
{
	struct syncthing_folder *f;
	struct syncthing_share share = { 0 };

	buf_clear(&r->text);
	if (r->place != SYNCTHING_IN_FOLDER)
		return;
	f = &r->folder.item[r->folder.len - 1];
	if (strcmp(name, "device") == 0) {
		share.device =
		    syncthing_devid(r, syncthing_attr(attr, "id"), false);
		*VEC_ADD(&r->share) = share;
	} else if (strcmp(name, "versioning") == 0) {
		f->versioning = syncthing_keep(r, syncthing_attr(attr, "type"));
	}
}

/* Level 4: a parameter of a folder's versioning. */
static void
syncthing_begin_param(struct syncthing_reader *r, const XML_Char **attr)
{
	struct syncthing_folder *f = &r->folder.item[r->folder.len - 1];
	const char *key = syncthing_attr(attr, "key");
	const char *value = syncthing_attr(attr, "val");

	if (strcmp(key, "cleanoutDays") == 0)
		f->cleanout_days = syncthing_number(value, 0);
	else if (strcmp(key, "fsPath") == 0 || strcmp(key, "versionsPath") == 0)
		f->versions_elsewhere = value[0] != '\0';
}

static void
syncthing_on_begin(void *arg, const XML_Char *name, const XML_Char **attr)
{
	struct syncthing_reader *r = arg;

	r->depth++;
	if (r->depth > SYNCTHING_DEPTH_MAX) {
		syncthing_stop(r, "nested too deeply");
	} else if (r->depth == 1) {
		if (strcmp(name, "configuration") != 0)
			syncthing_stop(r, "no Syncthing configuration");
		r->out->version =
		    syncthing_number(syncthing_attr(attr, "version"), 0);
	} else if (r->depth == 2) {
		r->place = SYNCTHING_ELSEWHERE;
		if (strcmp(name, "device") == 0) {
			r->place = SYNCTHING_IN_DEVICE;
			syncthing_begin_device(r, attr);
		} else if (strcmp(name, "folder") == 0) {
			r->place = SYNCTHING_IN_FOLDER;
			syncthing_begin_folder(r, attr);
		} else if (strcmp(name, "options") == 0) {
			r->place = SYNCTHING_IN_OPTIONS;
		}
	} else if (r->depth == 3) {
		syncthing_begin_value(r, name, attr);
	} else if (r->depth == 4) {
		buf_clear(&r->text);
		if (r->place == SYNCTHING_IN_FOLDER &&
		    strcmp(name, "param") == 0)
			syncthing_begin_param(r, attr);
	}
}

static void
syncthing_on_text(void *arg, const XML_Char *text, int len)
{
	struct syncthing_reader *r = arg;

	if (r->depth >= 3 && r->place != SYNCTHING_ELSEWHERE)
		buf_put(&r->text, slice_of(text, (size_t)len));
}

static void
syncthing_end_device(struct syncthing_reader *r, const char *name,
    const char *text)
{
	struct syncthing_device *d = &r->device.item[r->device.len - 1];

	if (strcmp(name, "address") == 0)
		*VEC_ADD(&r->address) = syncthing_keep(r, text);
	else if (strcmp(name, "paused") == 0)
		d->paused = syncthing_true(text);
	else if (strcmp(name, "autoAcceptFolders") == 0)
		d->auto_accept = syncthing_true(text);
	else if (strcmp(name, "untrusted") == 0)
		d->untrusted = syncthing_true(text);
}

static void
syncthing_end_folder(struct syncthing_reader *r, const char *name,
    const char *text)
{
	struct syncthing_folder *f = &r->folder.item[r->folder.len - 1];

	if (strcmp(name, "paused") == 0)
		f->paused = syncthing_true(text);
	else if (strcmp(name, "markerName") == 0)
		f->marker = syncthing_keep(r, text);
}

static void
syncthing_end_option(struct syncthing_reader *r, const char *name,
    const char *text)
{
	if (strcmp(name, "listenAddress") == 0)
		*VEC_ADD(&r->listen) = syncthing_keep(r, text);
	else if (strcmp(name, "localAnnounceEnabled") == 0)
		r->out->no_announce = strcmp(text, "false") == 0;
	else if (strcmp(name, "localAnnouncePort") == 0)
		r->out->announce_port = syncthing_number(text, 0);
}

/* Level 2 ends: what was gathered for it moves into the arena. */
static void
syncthing_end_part(struct syncthing_reader *r)
{
	if (r->place == SYNCTHING_IN_DEVICE) {
		struct syncthing_device *d = &r->device.item[r->device.len - 1];

		d->address_count = r->address.len;
		d->address =
		    arena_array(r->ar, r->address.len + 1, sizeof(*d->address));
		for (size_t i = 0; i < r->address.len; i++)
			d->address[i] = r->address.item[i];
	} else if (r->place == SYNCTHING_IN_FOLDER) {
		struct syncthing_folder *f = &r->folder.item[r->folder.len - 1];

		f->share_count = r->share.len;
		f->share =
		    arena_array(r->ar, r->share.len + 1, sizeof(*f->share));
		for (size_t i = 0; i < r->share.len; i++)
			f->share[i] = r->share.item[i];
	}
	r->place = SYNCTHING_ELSEWHERE;
}

static void
syncthing_on_end(void *arg, const XML_Char *name)
{
	struct syncthing_reader *r = arg;
	const struct arena_mark mark = arena_mark(r->ar);
	const char *text = arena_str(r->ar, buf_slice(&r->text));

	r->depth--;
	if (r->err.code != 0)
		return;
	if (r->depth == 3 && r->place == SYNCTHING_IN_FOLDER) {
		if (strcmp(name, "encryptionPassword") == 0 &&
		    text[0] != '\0' && r->share.len > 0)
			r->share.item[r->share.len - 1].encrypted = true;
		if (strcmp(name, "fsPath") == 0 && text[0] != '\0')
			r->folder.item[r->folder.len - 1].versions_elsewhere =
			    true;
		arena_reset(r->ar, mark);
	} else if (r->depth == 2) {
		if (r->place == SYNCTHING_IN_DEVICE)
			syncthing_end_device(r, name, text);
		else if (r->place == SYNCTHING_IN_FOLDER)
			syncthing_end_folder(r, name, text);
		else if (r->place == SYNCTHING_IN_OPTIONS)
			syncthing_end_option(r, name, text);
		buf_clear(&r->text);
	} else if (r->depth == 1) {
		syncthing_end_part(r);
	}
}

/* Entities come with a document type; Syncthing writes none. */
static void
syncthing_on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
    const XML_Char *public, int has_subset)
{
	(void)name;
	(void)system;
	(void)public;
	(void)has_subset;
	syncthing_stop(arg, "a document type: Syncthing writes none");
}

static void
syncthing_give(struct syncthing_reader *r)
{
	struct syncthing *out = r->out;

	out->device_count = r->device.len;
	out->device =
	    arena_array(r->ar, r->device.len + 1, sizeof(*out->device));
	out->folder_count = r->folder.len;
	out->folder =
	    arena_array(r->ar, r->folder.len + 1, sizeof(*out->folder));
	out->listen_count = r->listen.len;
	out->listen =
	    arena_array(r->ar, r->listen.len + 1, sizeof(*out->listen));
	for (size_t i = 0; i < r->device.len; i++)
		out->device[i] = r->device.item[i];
	for (size_t i = 0; i < r->folder.len; i++)
		out->folder[i] = r->folder.item[i];
	for (size_t i = 0; i < r->listen.len; i++)
		out->listen[i] = r->listen.item[i];
}

int
syncthing_parse(struct syncthing *out, struct slice text, struct arena *ar,
    struct err *err)
{
	struct syncthing_reader r = { .ar = ar, .out = out };
	int rc = 0;

	memset(out, 0, sizeof(*out));
	if (text.len > SYNCTHING_CONFIG_MAX)
		return err_set(err, ERR_LIMIT, "larger than %u bytes",
		    SYNCTHING_CONFIG_MAX);
	r.parser = XML_ParserCreate("UTF-8");
	if (r.parser == NULL)
		return err_set(err, ERR_LIMIT, "no memory for a parser");
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, syncthing_on_begin, syncthing_on_end);
	XML_SetCharacterDataHandler(r.parser, syncthing_on_text);
	XML_SetStartDoctypeDeclHandler(r.parser, syncthing_on_doctype);
	if (XML_Parse(r.parser, (const char *)text.ptr, (int)text.len, 1) !=
	    XML_STATUS_OK) {
		if (r.err.code == 0)
			err_set(&r.err, ERR_INVALID, "line %lu: %s",
			    (unsigned long)XML_GetCurrentLineNumber(r.parser),
			    XML_ErrorString(XML_GetErrorCode(r.parser)));
	}
	if (r.err.code == 0) {
		syncthing_give(&r);
	} else {
		rc = r.err.code;
		if (err != NULL)
			*err = r.err;
	}
	XML_ParserFree(r.parser);
	buf_fini(&r.text);
	VEC_FINI(&r.device);
	VEC_FINI(&r.folder);
	VEC_FINI(&r.listen);
	VEC_FINI(&r.address);
	VEC_FINI(&r.share);
	return rc;
}
