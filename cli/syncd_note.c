/*
 * What the engine has to tell: events for people, and the two notes that lead
 * to a change of the configuration (a folder offered to a device that accepts
 * by itself, a device named by an introducer).  See syncd.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/config_file.h"
#include "cli/syncd.h"
#include "engine/base/path.h"

#define SYNCD_PENDING_MAX 256u
#define SYNCD_PENDING_DEVICE_MAX 64u /* of one device */
#define SYNCD_ACCEPTS 32u            /* an hour, by auto-accept */

struct slice
syncd_device_name(const struct syncd *sd, const struct devid *id)
{
	const struct setup_device *dev = setup_device(&sd->cfg.setup, id);

	return dev == NULL ? SLICE_EMPTY : dev->name;
}

static struct slice
syncd_folder_id(const struct syncd *sd, uint32_t number)
{
	if (number >= sd->folder.len || sd->folder.item[number].id == NULL)
		return SLICE_EMPTY;
	return slice_str(sd->folder.item[number].id);
}

static bool
syncd_is_pending(struct syncd *sd, const struct effect_note *note)
{
	for (size_t i = 0; i < sd->pending.len; i++) {
		struct api_pending_folder *p = &sd->pending.item[i];

		if (slice_equal(p->id, note->path) &&
		    devid_equal(&p->device, &note->device)) {
			p->wall_ns = syncd_now().wall_ns;
			return true;
		}
	}
	return false;
}

/* A directory for a folder that comes by itself: below the home, and new. */
static bool
syncd_accept_path(const struct syncd *sd, const struct effect_note *note,
    char *out, size_t len)
{
	const struct slice name = note->text.len > 0 ? note->text : note->path;

	if (path_check(name, NULL) < 0 || slice_find(name, '/') != SIZE_MAX ||
	    name.ptr[0] == '.')
		return false;
	snprintf(out, len, "%s/Sync", sd->home.user_home);
	if (mkdir(out, 0700) < 0 && errno != EEXIST) {
		log_warn(&sd->log, "syncd accept path=%s: %s", out,
		    strerror(errno));
		return false;
	}
	snprintf(out, len, "%s/Sync/%.*s", sd->home.user_home, SLICE_FMT(name));
	if (mkdir(out, 0700) < 0) {
		log_warn(&sd->log, "syncd accept path=%s: %s", out,
		    strerror(errno));
		return false;
	}
	return true;
}

static int
syncd_save_folder(struct syncd *sd, const struct effect_note *note,
    const char *path, struct slice device, struct err *err)
{
	struct arena ar = { 0 };
	struct config_file *cf = NULL;
	struct slice value = path == NULL ? SLICE_EMPTY : slice_str(path);
	const char *prefix;
	int rc;

	arena_init(&ar);
	prefix = arena_printf(&ar, "folder.%.*s", SLICE_FMT(note->path));
	rc = config_file_edit(&cf, &sd->home, err);
	if (rc == 0 && path != NULL)
		rc = config_file_set(cf, arena_printf(&ar, "%s.path", prefix),
		    &value, 1, err);
	value = note->text;
	if (rc == 0 && path != NULL && value.len > 0)
		rc = config_file_set(cf, arena_printf(&ar, "%s.label", prefix),
		    &value, 1, err);
	if (rc == 0)
		rc = config_file_add(cf, arena_printf(&ar, "%s.share", prefix),
		    device, err);
	if (rc == 0)
		rc = config_file_save(cf, &ar, NULL, NULL, err);
	else
		config_file_drop(cf);
	arena_fini(&ar);
	return rc;
}

/* Some folders an hour come by themselves; a flood of them waits. */
static bool
syncd_may_accept(struct syncd *sd)
{
	const int64_t now_ns = syncd_now().wall_ns;

	if (now_ns < sd->accept_ns ||
	    now_ns - sd->accept_ns > (int64_t)CLOCK_HOUR) {
		sd->accept_ns = now_ns;
		sd->accepted = 0;
	}
	return sd->accepted < SYNCD_ACCEPTS;
}

/* False: a person has to, after all. */
static bool
syncd_auto_accept(struct syncd *sd, const struct effect_note *note)
{
	const bool known = config_find_folder(&sd->cfg, note->path) >= 0;
	struct err err = { 0 };
	char path[4096];

	if (!syncd_may_accept(sd))
		return false;
	if (!known && !syncd_accept_path(sd, note, path, sizeof(path)))
		return false;
	if (syncd_save_folder(sd, note, known ? NULL : path,
		syncd_device_name(sd, &note->device), &err) < 0) {
		log_error(&sd->log, "syncd accept: %s", err.text);
		return false;
	}
	sd->accepted++;
	sd->reload_due = true;
	return true;
}

/*
 * Is there room for one more of that device?  The last one's place says in the
 * log that there is none.
 */
static bool
syncd_has_room(struct syncd *sd, const struct effect_note *note)
{
	const struct slice name = syncd_device_name(sd, &note->device);
	size_t count = 1;

	for (size_t i = 0; i < sd->pending.len; i++)
		count +=
		    devid_equal(&sd->pending.item[i].device, &note->device);
	if (count > SYNCD_PENDING_DEVICE_MAX ||
	    sd->pending.len >= SYNCD_PENDING_MAX)
		return false;
	if (count == SYNCD_PENDING_DEVICE_MAX)
		log_warn(&sd->log,
		    "syncd offers device=%.*s count=%u reason=\"no more of "
		    "them are listed\"",
		    SLICE_FMT(name), SYNCD_PENDING_DEVICE_MAX);
	return true;
}

/* False: it is no news, or one of too many. */
static bool
syncd_pending_folder(struct syncd *sd, const struct effect_note *note)
{
	const struct setup_device *dev =
	    setup_device(&sd->cfg.setup, &note->device);

	if (dev != NULL && dev->auto_accept && syncd_auto_accept(sd, note))
		return true;
	if (syncd_is_pending(sd, note) || !syncd_has_room(sd, note))
		return false;
	*VEC_ADD(&sd->pending) = (struct api_pending_folder){
		.id = arena_dup(&sd->pending_arena, note->path),
		.label = arena_dup(&sd->pending_arena, note->text),
		.device = note->device,
		.wall_ns = syncd_now().wall_ns,
	};
	return true;
}

/* A name for a new device that no other has. */
static struct slice
syncd_new_name(const struct syncd *sd, const struct effect_note *note,
    struct arena *ar)
{
	char text[DEVID_SHORT_TEXT_LEN + 1];
	struct slice name = note->text;

	devid_short_text(devid_short(&note->device), text);
	if (config_check_text(name, 1, CONFIG_NAME_MAX, NULL) < 0 ||
	    config_find_device(&sd->cfg, name) >= 0)
		name = slice_str(arena_printf(ar, "device-%s", text));
	return name;
}

static int
syncd_save_device(struct syncd *sd, const struct effect_note *note,
    struct slice name, struct err *err)
{
	struct arena ar = { 0 };
	struct config_file *cf = NULL;
	char id[DEVID_TEXT_LEN + 1], by[DEVID_TEXT_LEN + 1];
	struct slice value;
	const char *prefix;
	int rc;

	arena_init(&ar);
	devid_text(&note->device, id);
	prefix = arena_printf(&ar, "device.%.*s", SLICE_FMT(name));
	rc = config_file_edit(&cf, &sd->home, err);
	value = slice_str(id);
	if (rc == 0)
		rc = config_file_set(cf, arena_printf(&ar, "%s.id", prefix),
		    &value, 1, err);
	devid_text(&note->device2, by);
	value = slice_str(by);
	if (rc == 0)
		rc = config_file_set(cf,
		    arena_printf(&ar, "%s.introduced-by", prefix), &value, 1,
		    err);
	if (rc == 0)
		rc =
		    config_file_add(cf, arena_printf(&ar, "%s.address", prefix),
			SLICE_LIT("dynamic"), err);
	for (uint32_t i = 0; rc == 0 && i < note->address_count; i++)
		if (slice_has_prefix(note->address[i], SLICE_LIT("tcp")))
			rc = config_file_add(cf,
			    arena_printf(&ar, "%s.address", prefix),
			    note->address[i], err);
	if (rc == 0)
		rc = config_file_save(cf, &ar, NULL, NULL, err);
	else
		config_file_drop(cf);
	arena_fini(&ar);
	return rc;
}

/* An introducer shares a folder with us and with a device we may not know. */
static void
syncd_introduced(struct syncd *sd, const struct effect_note *note)
{
	struct slice name = syncd_device_name(sd, &note->device);
	struct arena ar = { 0 };
	struct err err = { 0 };
	int rc = 0;

	arena_init(&ar);
	if (name.len == 0) {
		name = syncd_new_name(sd, note, &ar);
		rc = syncd_save_device(sd, note, name, &err);
	}
	if (rc == 0)
		rc = syncd_save_folder(sd, note, NULL, name, &err);
	if (rc < 0)
		log_error(&sd->log, "syncd introduce: %s", err.text);
	else
		sd->reload_due = true;
	arena_fini(&ar);
}

void
syncd_note(struct syncd *sd, const struct effect *ef)
{
	const struct effect_note *note = &ef->u.note;
	const struct slice id = syncd_folder_id(sd, ef->folder);

	if (note->kind == NOTE_PENDING_FOLDER && !sd->stopping &&
	    !syncd_pending_folder(sd, note))
		return;
	events_put_note(sd->events, syncd_now().wall_ns, id,
	    syncd_device_name(sd, &note->device), note);
	if (sd->stopping)
		return;
	if (note->kind == NOTE_INTRODUCED)
		syncd_introduced(sd, note);
	else if (note->kind == NOTE_SCAN)
		syncd_trim(sd, ef->folder);
}
