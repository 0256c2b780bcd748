/*
 * Names of conflict copies.  See conflict.h.
 */
#include "engine/conflict.h"

#include <stdio.h>

#include "blockproto/devid.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/path.h"

#define MARK SLICE_LIT(".sync-conflict-")
#define STAMP_LEN 15u /* YYYYMMDD-HHMMSS */
#define TAG_LEN (15u + STAMP_LEN + 1u + DEVID_SHORT_TEXT_LEN)

/* Where the extension begins; a leading dot counts, as in Syncthing. */
static size_t
conflict_dot(struct slice base)
{
	const size_t dot = slice_rfind(base, '.');

	return dot == SIZE_MAX ? base.len : dot;
}

/* The longest beginning of `s` within `max` bytes that cuts no character. */
static struct slice
conflict_cut(struct slice s, size_t max)
{
	if (s.len <= max)
		return s;
	while (max > 0 && (s.ptr[max] & 0xc0u) == 0x80u)
		max--;
	return slice_to(s, max);
}

/* The first `MARK` in `base`; SIZE_MAX when there is none. */
static size_t
conflict_mark(struct slice base, size_t from)
{
	for (size_t i = from; i + MARK.len <= base.len; i++)
		if (slice_has_prefix(slice_from(base, i), MARK))
			return i;
	return SIZE_MAX;
}

struct slice
conflict_name(struct slice path, int64_t wall_ns, int32_t zone_s,
    uint64_t winner_short, uint32_t attempt, struct arena *arena)
{
	struct slice dir = path_parent(path);
	const struct slice base = path_base(path);
	struct slice stem = slice_to(base, conflict_dot(base));
	struct slice ext = slice_from(base, stem.len);
	char who[DEVID_SHORT_TEXT_LEN + 1];
	size_t room = LIMIT_NAME_LEN - TAG_LEN;
	int64_t wall_s = wall_ns / (int64_t)CLOCK_S;
	struct clock_date d;
	char *name;

	/* Another attempt is another second: the form stays exact. */
	wall_s += zone_s + (int64_t)attempt;
	d = clock_date(wall_s);
	devid_short_text(winner_short, who);
	/* The directory gives way before the mark does. */
	while (dir.len > 0 && dir.len + 2 + TAG_LEN > LIMIT_PATH_LEN)
		dir = path_parent(dir);
	if (dir.len > 0 && room + TAG_LEN + dir.len + 1 > LIMIT_PATH_LEN)
		room = LIMIT_PATH_LEN - dir.len - 1 - TAG_LEN;
	if (ext.len >= room) {
		stem = base; /* no extension worth the name */
		ext = SLICE_EMPTY;
	}
	stem = conflict_cut(stem, room - ext.len);
	name = arena_printf(arena,
	    "%.*s.sync-conflict-%04d%02d%02d-%02d%02d%02d-%s%.*s",
	    SLICE_FMT(stem), d.year, d.month, d.day, d.hour, d.minute, d.second,
	    who, SLICE_FMT(ext));
	return path_join(arena, dir, slice_str(name));
}

bool
conflict_is_name(struct slice path)
{
	return conflict_mark(path_base(path), 0) != SIZE_MAX;
}

bool
conflict_is_copy(const struct row *row)
{
	const struct row_version *v = row_local(row);

	return v != NULL && !v->entry.deleted && v->entry.type == ENTRY_FILE &&
	       (row->flags & (ROW_IGNORED | ROW_UNSUPPORTED)) == 0 &&
	       conflict_is_name(row->path);
}

/* Length of the tag whose mark is at `at`; 0 when it is not one of ours. */
static size_t
conflict_tag(struct slice base, size_t at)
{
	const struct slice s = slice_from(base, at);

	if (s.len < TAG_LEN)
		return 0;
	for (size_t i = 0; i < STAMP_LEN; i++) {
		const uint8_t c = s.ptr[MARK.len + i];

		if (i == 8 ? c != '-' : c < '0' || c > '9')
			return 0;
	}
	return s.ptr[MARK.len + STAMP_LEN] == '-' ? TAG_LEN : 0;
}

struct slice
conflict_original(struct slice path, struct arena *arena)
{
	const struct slice base = path_base(path);
	size_t at = conflict_mark(base, 0), last = SIZE_MAX;
	struct slice stem, ext;
	char *name;

	/* A copy of a copy belongs to that copy: the last mark counts. */
	for (; at != SIZE_MAX; at = conflict_mark(base, at + 1))
		if (conflict_tag(base, at) > 0)
			last = at;
	if (last == SIZE_MAX)
		return SLICE_EMPTY;
	stem = slice_to(base, last);
	ext = slice_from(base, last + TAG_LEN);
	if (stem.len + ext.len == 0)
		return SLICE_EMPTY;
	name = arena_printf(arena, "%.*s%.*s", SLICE_FMT(stem), SLICE_FMT(ext));
	return path_join(arena, path_parent(path), slice_str(name));
}
