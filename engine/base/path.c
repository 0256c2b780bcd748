/*
 * Paths: the check every foreign name passes, and cutting and joining.
 */
#include "engine/base/path.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/limits.h"

/* One component: BEP-FACTS.md 6.1. */
static int
path_check_component(struct slice name, struct err *err)
{
	if (name.len == 0)
		return err_set(err, ERR_PROTOCOL, "path: empty component");
	if (slice_equal(name, SLICE_LIT(".")) ||
	    slice_equal(name, SLICE_LIT("..")))
		return err_set(err, ERR_PROTOCOL, "path: component \"%.*s\"",
		    SLICE_FMT(name));
	if (name.len > LIMIT_NAME_LEN)
		return err_set(err, ERR_LIMIT,
		    "path: component of %zu bytes, limit %u", name.len,
		    LIMIT_NAME_LEN);
	return 0;
}

int
path_check(struct slice name, struct err *err)
{
	struct slice rest = name;
	size_t depth = 0;

	if (name.len == 0)
		return err_set(err, ERR_PROTOCOL, "path: empty");
	if (name.len > LIMIT_PATH_LEN)
		return err_set(err, ERR_LIMIT, "path: %zu bytes, limit %u",
		    name.len, LIMIT_PATH_LEN);
	if (slice_find(name, '\0') != SIZE_MAX)
		return err_set(err, ERR_PROTOCOL, "path: contains NUL");
	if (!slice_is_utf8(name))
		return err_set(err, ERR_PROTOCOL, "path: not valid UTF-8");
	for (;;) {
		const size_t slash = slice_find(rest, '/');
		const size_t end = slash == SIZE_MAX ? rest.len : slash;
		const int rc = path_check_component(slice_to(rest, end), err);

		if (rc < 0)
			return rc;
		if (++depth > LIMIT_PATH_DEPTH)
			return err_set(err, ERR_LIMIT,
			    "path: deeper than %u components",
			    LIMIT_PATH_DEPTH);
		if (slash == SIZE_MAX)
			return 0;
		rest = slice_from(rest, slash + 1);
	}
}

struct slice
path_parent(struct slice path)
{
	const size_t slash = slice_rfind(path, '/');

	return slash == SIZE_MAX ? SLICE_EMPTY : slice_to(path, slash);
}

struct slice
path_base(struct slice path)
{
	const size_t slash = slice_rfind(path, '/');

	return slash == SIZE_MAX ? path : slice_from(path, slash + 1);
}

struct slice
path_join(struct arena *ar, struct slice dir, struct slice name)
{
	uint8_t *p;

	if (dir.len == 0 || name.len == 0)
		return arena_dup(ar, dir.len == 0 ? name : dir);
	p = arena_alloc(ar, dir.len + 1 + name.len);
	memcpy(p, dir.ptr, dir.len);
	p[dir.len] = '/';
	memcpy(p + dir.len + 1, name.ptr, name.len);
	return slice_of(p, dir.len + 1 + name.len);
}

bool
path_is_below(struct slice path, struct slice dir)
{
	if (dir.len == 0)
		return path.len > 0;
	return path.len > dir.len + 1 && path.ptr[dir.len] == '/' &&
	       memcmp(path.ptr, dir.ptr, dir.len) == 0;
}

size_t
path_depth(struct slice path)
{
	size_t depth = path.len > 0;

	for (size_t i = 0; i < path.len; i++)
		depth += path.ptr[i] == '/';
	return depth;
}

struct slice
path_rebase(struct arena *ar, struct slice path, struct slice from,
    struct slice to)
{
	ASSERT(slice_equal(path, from) || path_is_below(path, from));
	if (from.len == 0)
		return path_join(ar, to, path);
	if (path.len == from.len)
		return arena_dup(ar, to);
	return path_join(ar, to, slice_from(path, from.len + 1));
}

/*
 * The code point at s.ptr[0] and its length in bytes; length 0 when the bytes
 * there are not UTF-8.
 */
static size_t
path_rune(struct slice s, uint32_t *rune)
{
	const uint8_t lead = s.ptr[0];
	const size_t n = lead < 0x80   ? 1
			 : lead < 0xe0 ? 2
			 : lead < 0xf0 ? 3
				       : 4;
	uint32_t v = n == 1 ? lead : lead & (0x7fu >> n);

	if (n > s.len || !slice_is_utf8(slice_to(s, n)))
		return 0;
	for (size_t i = 1; i < n; i++)
		v = v << 6 | (s.ptr[i] & 0x3fu);
	*rune = v;
	return n;
}

/* Invisible characters that change what a person believes to read. */
static bool
path_rune_misleads(uint32_t r)
{
	return (r >= 0x80 && r <= 0x9f) || /* C1 controls */
	       r == 0x061c || r == 0x200e || r == 0x200f || r == 0x2028 ||
	       r == 0x2029 ||                  /* line, paragraph separator */
	       (r >= 0x202a && r <= 0x202e) || /* bidirectional overrides */
	       (r >= 0x2066 && r <= 0x2069) || /* and isolates */
	       r == 0xfeff;
}

char *
path_print(struct arena *ar, struct slice path)
{
	/* At most \xNN for one byte, \uNNNN for two or three. */
	char *out = arena_alloc(ar, path.len * 4 + 1);
	char *at = out;
	size_t i = 0;

	ASSERT(path.len < SIZE_MAX / 8);
	while (i < path.len) {
		uint32_t rune = 0;
		size_t n = path_rune(slice_from(path, i), &rune);

		if (n == 0 || rune < 0x20 || rune == 0x7f) {
			at += snprintf(at, 5, "\\x%02x", path.ptr[i]);
			n = 1;
		} else if (path_rune_misleads(rune)) {
			at += snprintf(at, 7, "\\u%04x", (unsigned)rune);
		} else {
			memcpy(at, path.ptr + i, n);
			at += n;
		}
		i += n;
	}
	*at = '\0';
	return out;
}
