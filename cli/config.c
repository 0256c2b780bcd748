/*
 * From items to a configuration.
 *
 * First every item by itself (config_part.h); then the domain's members, and
 * what must be true between the parts (IDs unique, shares name devices, folders
 * apart).  A section with a mistake is still looked at further, so that a
 * person sees all mistakes at once.
 */
#include "cli/config_part.h"

#include "engine/base/limits.h"

/* --- The domain's members --- */

static const struct config_member *
config_member_of(const struct config_load *ld, struct slice name,
    enum config_member_kind kind)
{
	for (size_t i = 0; i < ld->world->member_count; i++) {
		const struct config_member *m = &ld->world->member[i];

		if (m->kind == kind && slice_equal(m->name, name))
			return m;
	}
	return NULL;
}

/* The part that has this ID by the file, whose parts are the first `count`. */
static struct config_part *
config_part_with_id(struct config_load *ld, size_t count,
    const struct devid *id)
{
	for (size_t i = 0; i < count; i++) {
		struct config_part *part = &ld->part.item[i];
		const struct devid has =
		    config_part_devid(part, CONFIG_DEVICE_ID);

		if (part->section == CONFIG_IN_DEVICE && devid_equal(&has, id))
			return part;
	}
	return NULL;
}

/* The same by any ID that the member had before: it is about it still. */
static struct config_part *
config_part_with_old_id(struct config_load *ld, size_t count,
    const struct devid *id)
{
	for (size_t i = 0; i < ld->world->member_count; i++) {
		const struct config_member *m = &ld->world->member[i];
		struct config_part *part;
		struct devid was;

		if (m->kind != CONFIG_ROTATED || !devid_equal(&m->id, id) ||
		    devid_parse(&was, m->name, NULL) < 0)
			continue;
		part = config_part_with_id(ld, count, &was);
		if (part != NULL)
			return part;
	}
	return NULL;
}

/* A part for a member: what the file says under its name, or nothing. */
static struct config_part *
config_part_of_member(struct config_load *ld, const struct config_member *m)
{
	struct config_part *part =
	    config_part_find(ld, CONFIG_IN_DEVICE, m->name);
	char text[DEVID_TEXT_LEN + 1];

	if (part != NULL && !part->set[CONFIG_DEVICE_ID])
		return part;
	if (ld->devices == CONFIG_DEVICES_MAX)
		return NULL;
	ld->devices++;
	if (part == NULL)
		return config_part_add(ld, CONFIG_IN_DEVICE, m->name, 0);
	/* Another device has this name by hand. */
	devid_text(&m->id, text);
	return config_part_add(ld, CONFIG_IN_DEVICE,
	    slice_str(arena_printf(ld->ar, "%.*s-%.7s",
		(int)(m->name.len < CONFIG_NAME_MAX - 8 ? m->name.len
							: CONFIG_NAME_MAX - 8),
		(const char *)m->name.ptr, text)),
	    0);
}

/* A section under a name that the member had before is about it still. */
static void
config_take_former(struct config_load *ld)
{
	for (size_t i = 0; i < ld->world->member_count; i++) {
		const struct config_member *m = &ld->world->member[i];
		struct config_part *part;

		if (m->kind != CONFIG_FORMER)
			continue;
		part = config_part_find(ld, CONFIG_IN_DEVICE, m->name);
		if (part == NULL || part->set[CONFIG_DEVICE_ID])
			continue;
		for (size_t k = 0; k < ld->world->member_count; k++) {
			const struct config_member *now = &ld->world->member[k];

			if (now->kind <= CONFIG_DENIED &&
			    devid_equal(&now->id, &m->id) &&
			    config_part_find(ld, CONFIG_IN_DEVICE, now->name) ==
				NULL)
				part->name = config_copy(ld->ar, now->name);
		}
	}
}

/* Members become devices; the file has the last word on their names. */
static void
config_take_members(struct config_load *ld)
{
	const size_t of_file = ld->part.len;
	char text[DEVID_TEXT_LEN + 1];

	config_take_former(ld);
	for (size_t i = 0; i < ld->world->member_count; i++) {
		const struct config_member *m = &ld->world->member[i];
		struct config_part *part;

		if (m->kind > CONFIG_DENIED)
			continue;
		part = config_part_with_id(ld, of_file, &m->id);
		if (part == NULL)
			part = config_part_with_old_id(ld, of_file, &m->id);
		if (part == NULL)
			part = config_part_of_member(ld, m);
		if (part == NULL)
			continue;
		devid_text(&m->id, text);
		part->set[CONFIG_DEVICE_ID] = true;
		part->value[CONFIG_DEVICE_ID] =
		    config_copy(ld->ar, slice_str(text));
		part->member = true;
		part->denied = m->kind == CONFIG_DENIED;
	}
	for (size_t i = 0; i < ld->part.len; i++) {
		struct config_part *part = &ld->part.item[i];

		part->gone = part->section == CONFIG_IN_DEVICE &&
			     !part->set[CONFIG_DEVICE_ID] &&
			     config_member_of(ld, part->name, CONFIG_GONE);
	}
}

static void
config_check_required(struct config_load *ld, const struct config_part *part)
{
	size_t count;
	const struct config_option *opts = config_options(&count);

	for (size_t i = 0; i < count; i++)
		if (opts[i].section == part->section && opts[i].required &&
		    !part->set[i])
			config_mistake_of(ld, part, opts[i].id, part->line,
			    "missing; it must be %s",
			    config_allowed(ld->ar, &opts[i]));
}

static void
config_build_ports(struct config_load *ld, const struct config_part *part,
    struct config_device *more)
{
	const struct slice *text = config_part_list(ld, part,
	    CONFIG_DEVICE_FORWARD, &more->forward_count);
	uint16_t *port =
	    arena_array(ld->ar, more->forward_count, sizeof(*port));

	for (size_t i = 0; i < more->forward_count; i++) {
		int64_t n = 0;

		(void)!config_parse_int(text[i], 1, UINT16_MAX, &n, NULL);
		port[i] = (uint16_t)n;
	}
	more->forward = port;
}

static void
config_build_device(struct config_load *ld, const struct config_part *part,
    struct setup_device *dev, struct config_device *more)
{
	/* The choices of the table, in its order. */
	static const enum message_compression compression[] = {
		COMPRESSION_METADATA,
		COMPRESSION_NEVER,
		COMPRESSION_ALWAYS,
	};
	size_t count;

	dev->name = part->name;
	dev->id = config_part_devid(part, CONFIG_DEVICE_ID);
	dev->address =
	    config_part_list(ld, part, CONFIG_DEVICE_ADDRESS, &count);
	dev->address_count = (uint32_t)count;
	dev->paused =
	    part->denied || config_part_bool(part, CONFIG_DEVICE_PAUSED);
	dev->introducer = config_part_bool(part, CONFIG_DEVICE_INTRODUCER);
	dev->auto_accept = config_part_bool(part, CONFIG_DEVICE_AUTO_ACCEPT);
	more->compression =
	    compression[config_part_choice(part, CONFIG_DEVICE_COMPRESSION)];
	more->max_silence_ns =
	    config_part_duration(part, CONFIG_DEVICE_MAX_SILENCE);
	more->max_relayed_ns =
	    config_part_duration(part, CONFIG_DEVICE_MAX_RELAYED);
	more->member = part->member;
	more->denied = part->denied;
	more->diag = config_part_bool(part, CONFIG_DEVICE_DIAG);
	config_build_ports(ld, part, more);
}

static void
config_check_device(struct config_load *ld, const struct config_part *part,
    const struct setup *setup, uint32_t i)
{
	const struct setup_device *dev = &setup->device[i];

	config_check_required(ld, part);
	for (uint32_t j = 0; j < i && !devid_is_none(&dev->id); j++)
		if (devid_equal(&setup->device[j].id, &dev->id))
			config_mistake_of(ld, part, CONFIG_DEVICE_ID,
			    part->at[CONFIG_DEVICE_ID],
			    "the same ID as device \"%.*s\"; each device is "
			    "listed once",
			    SLICE_FMT(setup->device[j].name));
}

/* The introducer, by its name or (it may be gone by now) by its ID. */
static void
config_build_introducer(struct config_load *ld, const struct config_part *part,
    const struct setup *setup, struct setup_device *dev)
{
	const struct slice by = part->value[CONFIG_DEVICE_INTRODUCED_BY];

	for (uint32_t i = 0; i < setup->device_count; i++)
		if (slice_equal(setup->device[i].name, by))
			dev->introduced_by = setup->device[i].id;
	if (by.ptr != NULL && devid_is_none(&dev->introduced_by) &&
	    devid_parse(&dev->introduced_by, by, NULL) < 0)
		config_mistake_of(ld, part, CONFIG_DEVICE_INTRODUCED_BY,
		    part->at[CONFIG_DEVICE_INTRODUCED_BY],
		    "\"%.*s\": no such device", SLICE_FMT(by));
}

/* The device of that name, or the member that has it, or had it before. */
static const struct setup_device *
config_device_named(const struct config_load *ld, const struct setup *setup,
    struct slice name)
{
	const struct config_member *was =
	    config_member_of(ld, name, CONFIG_MEMBER);

	for (uint32_t j = 0; j < setup->device_count; j++)
		if (slice_equal(setup->device[j].name, name))
			return &setup->device[j];
	/* A member under a name that the file gives it keeps its own, too. */
	if (was == NULL)
		was = config_member_of(ld, name, CONFIG_DENIED);
	if (was == NULL)
		was = config_member_of(ld, name, CONFIG_FORMER);
	for (uint32_t j = 0; was != NULL && j < setup->device_count; j++)
		if (devid_equal(&setup->device[j].id, &was->id))
			return &setup->device[j];
	return NULL;
}

/* Names of devices become their IDs. */
static void
config_build_shares(struct config_load *ld, const struct config_part *part,
    const struct setup *setup, struct setup_folder *f)
{
	struct devid *list = arena_array(ld->ar, part->list.len, sizeof(*list));

	f->device = list;
	for (size_t i = 0; i < part->list.len; i++) {
		const struct slice name = part->list.item[i];
		const struct setup_device *dev =
		    config_device_named(ld, setup, name);
		bool again = false;

		if (dev == NULL &&
		    config_member_of(ld, name, CONFIG_GONE) != NULL)
			continue; /* it was removed from the domain */
		if (dev == NULL) {
			config_mistake_of(ld, part, CONFIG_FOLDER_SHARE,
			    part->list_line.item[i],
			    "\"%.*s\": no such device; add it with "
			    "device.%.*s.id",
			    SLICE_FMT(name), SLICE_FMT(name));
			continue;
		}
		for (uint32_t j = 0; j < f->device_count; j++)
			again = again || devid_equal(&list[j], &dev->id);
		if (!again)
			list[f->device_count++] = dev->id;
	}
	if (f->device_count >= LIMIT_FOLDER_DEVICES)
		config_mistake_of(ld, part, CONFIG_FOLDER_SHARE, part->line,
		    "shared with %u devices; at most %u are possible",
		    f->device_count, LIMIT_FOLDER_DEVICES - 1);
}

static void
config_build_folder(struct config_load *ld, const struct config_part *part,
    const struct setup *setup, struct setup_folder *f,
    struct config_folder *more)
{
	static const enum folder_mode mode[] = {
		FOLDER_SEND_RECEIVE,
		FOLDER_SEND_ONLY,
		FOLDER_RECEIVE_ONLY,
	};
	struct err err = { 0 };

	f->id = part->name;
	f->label = config_part_text(part, CONFIG_FOLDER_LABEL);
	if (f->label.len == 0)
		f->label = f->id;
	if (part->value[CONFIG_FOLDER_PATH].ptr != NULL &&
	    config_clean_path(part->value[CONFIG_FOLDER_PATH],
		ld->world->user_home, ld->ar, &f->path, &err) < 0)
		config_mistake_of(ld, part, CONFIG_FOLDER_PATH,
		    part->at[CONFIG_FOLDER_PATH], "%s", err.text);
	f->mode = mode[config_part_choice(part, CONFIG_FOLDER_MODE)];
	f->paused = config_part_bool(part, CONFIG_FOLDER_PAUSED);
	f->ignore_perms = config_part_bool(part, CONFIG_FOLDER_IGNORE_PERMS);
	f->rescan_ns = config_part_duration(part, CONFIG_FOLDER_RESCAN);
	more->watch = config_part_bool(part, CONFIG_FOLDER_WATCH);
	more->low_space =
	    (uint64_t)config_part_size(part, CONFIG_FOLDER_LOW_SPACE);
	more->low_space_default =
	    part->value[CONFIG_FOLDER_LOW_SPACE].ptr == NULL;
	more->single_copy_ns =
	    config_part_duration(part, CONFIG_FOLDER_SINGLE_COPY);
	f->trash = config_part_bool(part, CONFIG_FOLDER_TRASH);
	f->trash_age_ns = config_part_duration(part, CONFIG_FOLDER_TRASH_AGE);
	f->brake_percent = (uint32_t)config_part_int(part, CONFIG_FOLDER_BRAKE);
	f->brake_files =
	    (uint32_t)config_part_int(part, CONFIG_FOLDER_BRAKE_FILES);
	f->trash_bytes_max = config_part_size(part, CONFIG_FOLDER_TRASH_SIZE);
	config_build_shares(ld, part, setup, f);
}

/* A folder may hold no other folder and none of our own directories. */
static void
config_check_folder(struct config_load *ld, const struct config_part *part,
    const struct setup *setup, uint32_t i)
{
	const struct setup_folder *f = &setup->folder[i];
	const struct config_world *w = ld->world;
	const uint32_t line = part->at[CONFIG_FOLDER_PATH];

	config_check_required(ld, part);
	if (f->path.len == 0)
		return;
	if (config_path_is_within(w->state_dir, f->path) ||
	    config_path_is_within(w->config_dir, f->path))
		config_mistake_of(ld, part, CONFIG_FOLDER_PATH, line,
		    "\"%.*s\" holds the keys and the index of this node "
		    "(%.*s); choose a directory beside it",
		    SLICE_FMT(f->path), SLICE_FMT(w->state_dir));
	else if (config_path_is_within(f->path,
		     slice_str(arena_printf(ld->ar, "%.*s/index",
			 SLICE_FMT(w->state_dir)))))
		config_mistake_of(ld, part, CONFIG_FOLDER_PATH, line,
		    "\"%.*s\" is inside the index of this node",
		    SLICE_FMT(f->path));
	for (uint32_t j = 0; j < i; j++) {
		const struct setup_folder *g = &setup->folder[j];
		const bool in = config_path_is_within(f->path, g->path);

		if (g->path.len == 0 ||
		    (!in && !config_path_is_within(g->path, f->path)))
			continue;
		if (slice_equal(f->path, g->path))
			config_mistake_of(ld, part, CONFIG_FOLDER_PATH, line,
			    "folder \"%.*s\" has this directory already",
			    SLICE_FMT(g->id));
		else
			config_mistake_of(ld, part, CONFIG_FOLDER_PATH, line,
			    "%s folder \"%.*s\" (%.*s); folders must lie "
			    "apart",
			    in ? "is inside" : "holds", SLICE_FMT(g->id),
			    SLICE_FMT(g->path));
	}
}

static void
config_build_node(struct config_load *ld, struct config *out)
{
	const struct config_part *node = &ld->part.item[CONFIG_NODE];
	const struct config_part *log = &ld->part.item[CONFIG_LOG];
	struct slice name = config_part_text(node, CONFIG_NODE_NAME);
	static const enum sandbox_mode mode[] = { SANDBOX_AUTO, SANDBOX_OFF,
		SANDBOX_REQUIRE };

	out->setup.name =
	    config_copy(ld->ar, name.len > 0 ? name : ld->world->host);
	log_level_parse(
	    (const char *)config_part_text(log, CONFIG_LOG_LEVEL).ptr,
	    &out->log_level);
	out->sandbox = mode[config_part_choice(node, CONFIG_NODE_SANDBOX)];
}

static void
config_build_mesh(struct config_load *ld, struct config_mesh *out)
{
	const struct config_part *mesh = &ld->part.item[CONFIG_MESH];
	const struct config_part *relay = &ld->part.item[CONFIG_RELAY];
	const struct config_part *coord = &ld->part.item[CONFIG_COORD];

	out->listen =
	    config_part_list(ld, mesh, CONFIG_MESH_LISTEN, &out->listen_count);
	out->lan_only = config_part_choice(mesh, CONFIG_MESH_SCOPE) == 1;
	out->announce = config_part_bool(mesh, CONFIG_MESH_ANNOUNCE);
	out->announce_port =
	    (uint16_t)config_part_int(mesh, CONFIG_MESH_ANNOUNCE_PORT);
	out->portmap = config_part_bool(mesh, CONFIG_MESH_PORTMAP);
	out->sleep_ns = config_part_duration(mesh, CONFIG_MESH_SLEEP);
	out->relay_serve = config_part_bool(relay, CONFIG_RELAY_SERVE);
	out->relay_open = config_part_bool(relay, CONFIG_RELAY_OPEN);
	out->relay_listen =
	    config_copy(ld->ar, config_part_text(relay, CONFIG_RELAY_LISTEN));
	out->relay_rate = config_part_size(relay, CONFIG_RELAY_RATE);
	out->discovery = config_part_list(ld, mesh, CONFIG_MESH_DISCOVERY,
	    &out->discovery_count);
	out->coord_serve = config_part_bool(coord, CONFIG_COORD_SERVE);
	out->coord_open = config_part_bool(coord, CONFIG_COORD_OPEN);
	out->coord_discovery = config_part_bool(coord, CONFIG_COORD_DISCOVERY);
	out->coord_listen =
	    config_copy(ld->ar, config_part_text(coord, CONFIG_COORD_LISTEN));
	out->coordinator = config_part_list(ld, mesh, CONFIG_MESH_COORDINATOR,
	    &out->coordinator_count);
	out->stun =
	    config_part_list(ld, mesh, CONFIG_MESH_STUN, &out->stun_count);
}

/* Who goes by another ID since; our own is among them. */
static void
config_build_former(struct config_load *ld, struct setup *out)
{
	struct setup_former *list =
	    arena_array(ld->ar, ld->world->member_count, sizeof(*list));

	out->former = list;
	for (size_t i = 0; i < ld->world->member_count; i++) {
		const struct config_member *m = &ld->world->member[i];
		struct setup_former *one = &list[out->former_count];

		if (m->kind != CONFIG_ROTATED ||
		    devid_parse(&one->was, m->name, NULL) < 0)
			continue;
		one->now = m->id;
		out->former_count++;
	}
}

/* Devices first: shares name them. */
static void
config_build(struct config_load *ld, struct config *out)
{
	struct setup *s = &out->setup;
	struct setup_device *dev =
	    arena_array(ld->ar, ld->devices, sizeof(*dev));
	struct setup_folder *f = arena_array(ld->ar, ld->folders, sizeof(*f));
	struct config_device *dev_more =
	    arena_array(ld->ar, ld->devices, sizeof(*dev_more));
	struct config_folder *f_more =
	    arena_array(ld->ar, ld->folders, sizeof(*f_more));

	config_build_former(ld, s);
	s->device = dev;
	s->folder = f;
	out->device = dev_more;
	out->folder = f_more;
	for (size_t i = 0; i < ld->part.len; i++) {
		const struct config_part *part = &ld->part.item[i];
		const uint32_t n = s->device_count;

		if (part->section != CONFIG_IN_DEVICE || part->gone)
			continue;
		config_build_device(ld, part, &dev[n], &dev_more[n]);
		config_check_device(ld, part, s, n);
		s->device_count++;
	}
	for (size_t i = 0, n = 0; i < ld->part.len; i++)
		if (ld->part.item[i].section == CONFIG_IN_DEVICE &&
		    !ld->part.item[i].gone)
			config_build_introducer(ld, &ld->part.item[i], s,
			    &dev[n++]);
	for (size_t i = 0; i < ld->part.len; i++) {
		const struct config_part *part = &ld->part.item[i];
		const uint32_t n = s->folder_count;

		if (part->section != CONFIG_IN_FOLDER)
			continue;
		config_build_folder(ld, part, s, &f[n], &f_more[n]);
		config_check_folder(ld, part, s, n);
		s->folder_count++;
	}
}

int
config_load(const struct config_item *item, size_t count,
    const struct config_world *world, struct arena *ar, struct config *out,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err)
{
	struct config_load ld = { .world = world, .ar = ar };

	memset(out, 0, sizeof(*out));
	config_part_begin(&ld);
	if (count > CONFIG_ITEMS_MAX) {
		config_mistake(&ld, 0, "", "more than %u values",
		    CONFIG_ITEMS_MAX);
		count = 0;
	}
	for (size_t i = 0; i < count; i++)
		config_part_take(&ld, &item[i]);
	config_take_members(&ld);
	config_build_node(&ld, out);
	config_build_mesh(&ld, &out->mesh);
	config_build(&ld, out);

	if (mistakes != NULL) {
		struct config_mistake *list =
		    arena_array(ar, ld.mistake.len, sizeof(*list));

		if (ld.mistake.len > 0)
			memcpy(list, ld.mistake.item,
			    ld.mistake.len * sizeof(*list));
		*mistakes = list;
		*mistake_count = ld.mistake.len;
	}
	config_part_end(&ld);
	if (ld.first.code != 0 && err != NULL)
		*err = ld.first;
	return ld.first.code;
}

int32_t
config_find_device(const struct config *cfg, struct slice name)
{
	for (uint32_t i = 0; i < cfg->setup.device_count; i++)
		if (slice_equal(cfg->setup.device[i].name, name))
			return (int32_t)i;
	return -1;
}

int32_t
config_find_folder(const struct config *cfg, struct slice id)
{
	for (uint32_t i = 0; i < cfg->setup.folder_count; i++)
		if (slice_equal(cfg->setup.folder[i].id, id))
			return (int32_t)i;
	return -1;
}

const char *
config_mode_name(enum folder_mode mode)
{
	switch (mode) {
	case FOLDER_SEND_RECEIVE:
		return "sendreceive";
	case FOLDER_SEND_ONLY:
		return "sendonly";
	case FOLDER_RECEIVE_ONLY:
		return "receiveonly";
	}
	return "";
}
