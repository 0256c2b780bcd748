/*
 * The files in work, for those who tell others how they grow.
 */
#include "engine/pull.h"
#include "engine/pull_state.h"

/* Are the blocks in its temp there to be read?  As in pull_temp_block(). */
static bool
files_can_be_read(const struct item *it)
{
	return it->kind == ITEM_FILE && it->block != NULL && it->touched &&
	       !it->acted && it->state != ITEM_ENDING;
}

uint32_t
pull_files(const struct folder *f, uint32_t blocks_min, uint32_t max,
    struct pull_file **out, struct arena *arena)
{
	const struct pull *pl = f->pull;
	uint32_t n = 0;

	*out = NULL;
	if (pl == NULL || pl->stopped || pl->item_count == 0)
		return 0;
	*out = arena_array(arena, max, sizeof(**out));
	for (struct map_item *mi = NULL;
	     (mi = map_next(&pl->items, mi)) != NULL && n < max;) {
		const struct item *it = mi->value;

		if (!files_can_be_read(it) ||
		    it->entry.block_count < blocks_min)
			continue;
		(*out)[n++] = (struct pull_file){
			.path = it->path,
			.version = it->entry.version,
			.block_size = it->entry.block_size,
			.block_count = it->entry.block_count,
			.state = it->block,
		};
	}
	return n;
}

bool
pull_file_has(const struct pull_file *file, uint32_t no)
{
	return file->state[no] == BLOCK_HAVE;
}
