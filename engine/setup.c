/*
 * Copies of, and look-ups in, the setup.  See setup.h.
 */
#include "engine/setup.h"

static const struct slice *
setup_copy_slices(const struct slice *in, uint32_t count, struct arena *arena)
{
	struct slice *out = arena_array(arena, count, sizeof(*out));

	for (uint32_t i = 0; i < count; i++)
		out[i] = arena_dup(arena, in[i]);
	return out;
}

static void
setup_copy_device(struct setup_device *out, const struct setup_device *in,
    struct arena *arena)
{
	*out = *in;
	out->name = arena_dup(arena, in->name);
	out->address = setup_copy_slices(in->address, in->address_count, arena);
}

void
setup_copy_folder(struct setup_folder *out, const struct setup_folder *in,
    struct arena *arena)
{
	struct devid *device =
	    arena_array(arena, in->device_count, sizeof(*device));

	*out = *in;
	out->id = arena_dup(arena, in->id);
	out->label = arena_dup(arena, in->label);
	out->path = arena_dup(arena, in->path);
	for (uint32_t i = 0; i < in->device_count; i++)
		device[i] = in->device[i];
	out->device = device;
}

void
setup_copy(struct setup *out, const struct setup *in, struct arena *arena)
{
	struct setup_device *device =
	    arena_array(arena, in->device_count, sizeof(*device));
	struct setup_folder *folder =
	    arena_array(arena, in->folder_count, sizeof(*folder));
	struct setup_former *former =
	    arena_array(arena, in->former_count, sizeof(*former));

	*out = *in;
	for (uint32_t i = 0; i < in->former_count; i++)
		former[i] = in->former[i];
	out->former = former;
	out->name = arena_dup(arena, in->name);
	for (uint32_t i = 0; i < in->device_count; i++)
		setup_copy_device(&device[i], &in->device[i], arena);
	for (uint32_t i = 0; i < in->folder_count; i++)
		setup_copy_folder(&folder[i], &in->folder[i], arena);
	out->device = device;
	out->folder = folder;
}

const struct setup_device *
setup_device(const struct setup *su, const struct devid *id)
{
	for (uint32_t i = 0; i < su->device_count; i++)
		if (devid_equal(&su->device[i].id, id))
			return &su->device[i];
	return NULL;
}

const struct devid *
setup_now(const struct setup *su, const struct devid *id)
{
	for (uint32_t i = 0; i < su->former_count; i++)
		if (devid_equal(&su->former[i].was, id))
			return &su->former[i].now;
	return id;
}

bool
setup_is_shared(const struct setup_folder *sf, const struct devid *id)
{
	for (uint32_t i = 0; i < sf->device_count; i++)
		if (devid_equal(&sf->device[i], id))
			return true;
	return false;
}
