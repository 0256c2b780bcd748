/*
 * Entries: what two of them share, and which names are nobody's to send.
 *
 * The judgement of what a hostile peer sent is entry_check.c.
 */
#include "blockproto/entry.h"

#include "blockproto/blocks.h"
#include "engine/base/limits.h"
#include "engine/base/path.h"

#define ENTRY_NS_MAX 999999999

static bool
digest_is_none(const struct digest *d)
{
	static const struct digest none;

	return digest_equal(d, &none);
}

static bool
blocks_are_same(const struct entry *a, const struct entry *b)
{
	if (a->block_count != b->block_count || a->block_size != b->block_size)
		return false;
	if (a->block_count == 0)
		return true;
	/*
	 * Rows of the index keep long lists elsewhere: then their digest must
	 * do.  Without it a list that was not kept proves nothing.
	 */
	if (a->block == NULL || b->block == NULL)
		return !digest_is_none(&a->blocks_hash) &&
		       digest_equal(&a->blocks_hash, &b->blocks_hash);
	return memcmp(a->block, b->block, a->block_count * sizeof(*a->block)) ==
	       0;
}

bool
entry_same_content(const struct entry *a, const struct entry *b)
{
	if (a->deleted || b->deleted)
		return a->deleted && b->deleted;
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case ENTRY_FILE:
		return a->size == b->size && blocks_are_same(a, b);
	case ENTRY_DIR:
		return true;
	case ENTRY_LINK:
		return slice_equal(a->link_target, b->link_target);
	}
	return false;
}

bool
entry_same_perms(const struct entry *a, const struct entry *b)
{
	if (a->no_perms || b->no_perms)
		return true;
	return (a->perms & 0777u) == (b->perms & 0777u);
}

bool
entry_same_mtime(const struct entry *a, const struct entry *b)
{
	return a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns;
}

bool
entry_same(const struct entry *a, const struct entry *b)
{
	if (!entry_same_content(a, b))
		return false;
	if (a->deleted || a->type == ENTRY_LINK)
		return true;
	if (!entry_same_perms(a, b))
		return false;
	return a->type != ENTRY_FILE || entry_same_mtime(a, b);
}

struct entry
entry_dup(const struct entry *e, struct arena *arena)
{
	struct entry out = *e;

	out.name = arena_dup(arena, e->name);
	out.link_target = arena_dup(arena, e->link_target);
	out.platform = arena_dup(arena, e->platform);
	if (e->version.counter != NULL)
		out.version = version_dup(e->version, arena);
	if (e->block != NULL) {
		const size_t len = e->block_count * sizeof(*e->block);
		void *block = arena_alloc(arena, len);

		memcpy(block, e->block, len);
		out.block = block;
	}
	return out;
}

/* Is it `dir` itself or below it? */
static bool
path_is_at(struct slice path, struct slice dir)
{
	return slice_equal(path, dir) || path_is_below(path, dir);
}

bool
entry_is_internal(struct slice path)
{
	return path_is_at(path, SLICE_LIT(".stfolder")) ||
	       path_is_at(path, SLICE_LIT(".stignore")) ||
	       path_is_at(path, SLICE_LIT(".stversions")) ||
	       entry_is_temp_name(path);
}

bool
entry_is_temp_name(struct slice path)
{
	const struct slice base = path_base(path);

	return slice_has_prefix(base, SLICE_LIT(".syncthing.")) ||
	       slice_has_prefix(base, SLICE_LIT("~syncthing~"));
}

/* No list of blocks, and nothing that speaks of one. */
static void
entry_drop_blocks(struct entry *e)
{
	e->block = NULL;
	e->block_count = 0;
	memset(&e->blocks_hash, 0, sizeof(e->blocks_hash));
}

void
entry_normalise(struct entry *e, struct arena *arena)
{
	const bool file = e->type == ENTRY_FILE;

	if (e->mtime_ns < 0)
		e->mtime_ns = 0;
	if (e->mtime_ns > ENTRY_NS_MAX)
		e->mtime_ns = ENTRY_NS_MAX;
	e->perms &= 0777u;
	if (e->type == ENTRY_LINK) {
		e->no_perms = true;
		e->perms = 0;
	}
	if (!file || e->deleted)
		e->size = 0; /* a directory's 128, a tombstone's last size */
	if (!file) {
		e->block_size = 0;
		memset(&e->previous_blocks_hash, 0,
		    sizeof(e->previous_blocks_hash));
	} else if (e->block_size == 0 && e->block_count > 0) {
		e->block_size = (uint32_t)LIMIT_BLOCK_LEN_MIN;
	}
	if (e->type != ENTRY_LINK || e->deleted)
		e->link_target = SLICE_EMPTY;
	if (!file || e->deleted || e->block == NULL)
		entry_drop_blocks(e);
	else
		blocks_digest(e->block, e->block_count, &e->blocks_hash);
	if (!version_is_canonical(e->version))
		e->version = version_canonical(e->version.counter,
		    e->version.count, arena);
}
