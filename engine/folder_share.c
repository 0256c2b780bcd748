/*
 * With whom a folder is shared: the devices of its configuration, each with
 * its slot in the index and the peer that is connected.
 */
#include "engine/folder_state.h"

#include "engine/base/mem.h"
#include "engine/exchange.h"
#include "engine/exchange_index.h"

struct share *
folder_share(struct folder *f, const struct devid *dev)
{
	for (uint32_t i = 0; i < f->share_count; i++)
		if (devid_equal(&f->share[i].device, dev))
			return &f->share[i];
	return NULL;
}

struct share *
folder_share_of_slot(struct folder *f, uint32_t slot)
{
	for (uint32_t i = 0; i < f->share_count; i++)
		if (f->share[i].slot == slot)
			return &f->share[i];
	return NULL;
}

void
folder_share_bind(struct folder *f)
{
	struct err err = { 0 };

	for (uint32_t i = 0; i < f->share_count; i++)
		if (f->ix != NULL && index_slot(f->ix, &f->share[i].device,
					 &f->share[i].slot, &err) < 0)
			log_error(core_log(f->en), "folder slot: %s", err.text);
	if (f->ix != NULL)
		exchange_index_leave(f);
	exchange_bind_shares(f);
}

/* Who is not among the shares any more is asked nothing, and told nothing. */
static void
share_leave(struct folder *f)
{
	for (uint32_t i = 0; i < f->share_count; i++)
		if (!setup_is_shared(&f->cfg, &f->share[i].device))
			exchange_share_gone(f, &f->share[i]);
}

void
folder_share_set(struct folder *f)
{
	const struct setup *su = core_setup(f->en);
	struct share *old = f->share;
	const uint32_t old_count = f->share_count;

	share_leave(f);
	f->share = mem_array(f->cfg.device_count, sizeof(*f->share));
	f->share_count = 0;
	for (uint32_t i = 0; i < f->cfg.device_count; i++) {
		const struct devid *dev = &f->cfg.device[i];
		const struct setup_device *sd = setup_device(su, dev);
		struct share *sh;

		if (devid_equal(dev, &su->self) || folder_share(f, dev) != NULL)
			continue;
		sh = &f->share[f->share_count++];
		for (uint32_t k = 0; k < old_count; k++)
			if (devid_equal(&old[k].device, dev))
				*sh = old[k];
		sh->device = *dev;
		sh->name = sd == NULL ? SLICE_EMPTY
				      : arena_dup(&f->cfg_arena, sd->name);
	}
	mem_free(old);
	folder_share_bind(f);
}
