/*
 * The judgement of a received entry: BEP-FACTS.md 8 and 6.
 *
 * Two answers besides "good".  ERR_PROTOCOL is for what Syncthing drops a
 * connection for, so nobody healthy sends it.  ERR_INVALID is for what cannot
 * be used here, but may come from a peer that means well: one entry is refused
 * and all others go on.  The first kind is looked for first.
 */
#include "blockproto/entry.h"

#include "blockproto/blocks.h"
#include "engine/base/limits.h"
#include "engine/base/path.h"

/* The size a directory had on the wire in 2.0.0 to 2.1.1. */
#define CHECK_DIR_SIZE 128
/* Seconds; beyond them nanoseconds since 1970 do not fit into 64 bits. */
#define CHECK_MTIME_MAX INT64_C(9223372035)
/*
 * A counter this high leaves its device no way to count up.  Real ones are
 * seconds since 1970 or small numbers.
 */
#define CHECK_COUNTER_MAX (UINT64_MAX / 2)

static int
check_name(const struct entry *e, struct err *err)
{
	int rc;

	/* No Linux name can hold a NUL, but other peers do not drop for it. */
	if (slice_find(e->name, 0) != SIZE_MAX)
		return err_set(err, ERR_INVALID, "a NUL in the name");
	rc = path_check(e->name, err);
	if (rc == ERR_LIMIT && err != NULL)
		err->code = ERR_INVALID;
	return rc == ERR_LIMIT ? ERR_INVALID : rc;
}

/* What makes a Syncthing drop the connection, apart from the name. */
static int
check_consistency(const struct entry *e, struct err *err)
{
	if (e->deleted && e->block_count > 0)
		return err_set(err, ERR_PROTOCOL, "a deleted item with blocks");
	if (e->type == ENTRY_FILE) {
		if (!e->deleted && !e->invalid && e->block_count == 0)
			return err_set(err, ERR_PROTOCOL,
			    "a file without blocks");
		return 0;
	}
	if (e->type != ENTRY_DIR && e->type != ENTRY_LINK)
		return 0;
	if (e->block_count > 0)
		return err_set(err, ERR_PROTOCOL, "a %s with blocks",
		    e->type == ENTRY_DIR ? "directory" : "symlink");
	if (e->deleted || e->invalid || e->size == 0)
		return 0;
	if (e->type == ENTRY_DIR && e->size == CHECK_DIR_SIZE)
		return 0;
	return err_set(err, ERR_PROTOCOL, "a %s of %lld bytes",
	    e->type == ENTRY_DIR ? "directory" : "symlink", (long long)e->size);
}

/* Size and block list of a file that can be asked for. */
static int
check_blocks(const struct entry *e, struct err *err)
{
	uint32_t count;

	if (e->block_size != 0 && !blocks_size_is_valid(e->block_size))
		return err_set(err, ERR_INVALID, "a block size of %u",
		    e->block_size);
	count = blocks_count(e->size, e->block_size);
	if (count > LIMIT_BLOCKS || e->block_count > LIMIT_BLOCKS)
		return err_set(err, ERR_INVALID,
		    "%lld bytes in %u blocks, more than %u", (long long)e->size,
		    e->block_count, LIMIT_BLOCKS);
	if (e->block_count != count || e->block == NULL)
		return err_set(err, ERR_INVALID,
		    "%u blocks that are not %lld bytes in steps of %u",
		    e->block_count, (long long)e->size, e->block_size);
	if (e->size == 0 && !digest_equal(&e->block[0], &blocks_empty_hash))
		return err_set(err, ERR_INVALID,
		    "an empty file with the hash of something");
	return 0;
}

static int
check_link(const struct entry *e, struct err *err)
{
	if (e->link_target.len == 0 || e->link_target.len > LIMIT_LINK_LEN)
		return err_set(err, ERR_INVALID,
		    "a symlink's target of %zu bytes", e->link_target.len);
	if (slice_find(e->link_target, 0) != SIZE_MAX)
		return err_set(err, ERR_INVALID, "a NUL in a symlink's target");
	return 0;
}

static int
check_version(struct version v, struct err *err)
{
	if (v.count > LIMIT_COUNTERS || (v.count > 0 && v.counter == NULL))
		return err_set(err, ERR_INVALID,
		    "%u counters in the version, more than %u", v.count,
		    LIMIT_COUNTERS);
	for (uint32_t i = 0; i < v.count; i++) {
		if (v.counter[i].value > CHECK_COUNTER_MAX)
			return err_set(err, ERR_INVALID,
			    "a counter of %llu in the version",
			    (unsigned long long)v.counter[i].value);
	}
	return 0;
}

/* What cannot be used here. */
static int
check_use(const struct entry *e, struct err *err)
{
	int rc;

	if (e->type != ENTRY_FILE && e->type != ENTRY_DIR &&
	    e->type != ENTRY_LINK)
		return err_set(err, ERR_INVALID, "an item of type %d",
		    (int)e->type);
	if (entry_is_internal(e->name))
		return err_set(err, ERR_INVALID, "a name that is never synced");
	if (e->size < 0)
		return err_set(err, ERR_INVALID, "a size of %lld",
		    (long long)e->size);
	if (e->mtime_s > CHECK_MTIME_MAX || e->mtime_s < -CHECK_MTIME_MAX)
		return err_set(err, ERR_INVALID,
		    "a time of modification of %lld", (long long)e->mtime_s);
	if (e->sequence < 0)
		return err_set(err, ERR_INVALID, "a sequence number of %lld",
		    (long long)e->sequence);
	if (e->platform.len > LIMIT_PLATFORM_LEN)
		return err_set(err, ERR_INVALID, "%zu bytes of platform data",
		    e->platform.len);
	rc = check_version(e->version, err);
	if (rc < 0 || e->deleted || e->invalid)
		return rc;
	if (e->type == ENTRY_FILE)
		return check_blocks(e, err);
	return e->type == ENTRY_LINK ? check_link(e, err) : 0;
}

int
entry_check(const struct entry *e, struct err *err)
{
	int rc = check_consistency(e, err);

	if (rc == 0)
		rc = check_name(e, err);
	return rc < 0 ? rc : check_use(e, err);
}
