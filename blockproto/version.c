/*
 * Version vectors: see version.h.
 *
 * All functions but version_canonical() take vectors in canonical form and
 * give vectors in canonical form, so two lists are always walked side by side,
 * lowest ID first.
 */
#include "blockproto/version.h"

#include <stdlib.h>

#include "blockproto/devid.h"
#include "engine/base/mutant.h"

/* 2001-01-01 and 2100-01-01: a clock outside them is not set, or lies. */
#define VERSION_WALL_MIN INT64_C(978307200)
#define VERSION_WALL_MAX INT64_C(4102444800)

/* Two vectors walked side by side; a missing counter is 0. */
struct walk {
	struct version a, b;
	uint32_t i, j;
	uint64_t id, in_a, in_b; /* the pair at hand */
};

static bool
walk_next(struct walk *w)
{
	const bool has_a = w->i < w->a.count;
	const bool has_b = w->j < w->b.count;
	bool take_a, take_b;

	if (!has_a && !has_b)
		return false;
	take_a =
	    has_a && (!has_b || w->a.counter[w->i].id <= w->b.counter[w->j].id);
	take_b =
	    has_b && (!has_a || w->b.counter[w->j].id <= w->a.counter[w->i].id);
	w->id = take_a ? w->a.counter[w->i].id : w->b.counter[w->j].id;
	w->in_a = take_a ? w->a.counter[w->i++].value : 0;
	w->in_b = take_b ? w->b.counter[w->j++].value : 0;
	return true;
}

enum version_order
version_compare(struct version a, struct version b)
{
	struct walk w = { .a = a, .b = b };
	bool more = false, less = false;

	while (walk_next(&w)) {
		more = more || w.in_a > w.in_b;
		less = less || w.in_a < w.in_b;
	}
	if (more && less)
		return VERSION_CONCURRENT;
	if (more)
		return VERSION_NEWER;
	return less ? VERSION_OLDER : VERSION_EQUAL;
}

bool
version_equal(struct version a, struct version b)
{
	return version_compare(a, b) == VERSION_EQUAL;
}

bool
version_covers(struct version a, struct version b)
{
	const enum version_order order = version_compare(a, b);

	return order == VERSION_EQUAL || order == VERSION_NEWER;
}

bool
version_beats(struct version a, struct version b)
{
	struct walk w = { .a = a, .b = b };

	while (walk_next(&w)) {
		if (w.in_a != w.in_b)
			return w.in_a > w.in_b;
	}
	return false;
}

struct version
version_bump(struct version v, uint64_t id, int64_t wall_s, struct arena *arena)
{
	struct counter *out = arena_array(arena, v.count + 1u, sizeof(*out));
	const uint64_t old = version_counter(v, id);
	uint64_t value = old == UINT64_MAX ? old : old + 1;
	uint32_t n = 0, i = 0;

	if (!MUTANT(MUTANT_COUNTER_REUSED) && wall_s >= VERSION_WALL_MIN &&
	    wall_s < VERSION_WALL_MAX && (uint64_t)wall_s > value)
		value = (uint64_t)wall_s;
	while (i < v.count && v.counter[i].id < id)
		out[n++] = v.counter[i++];
	out[n++] = (struct counter){ .id = id, .value = value };
	if (i < v.count && v.counter[i].id == id)
		i++;
	while (i < v.count)
		out[n++] = v.counter[i++];
	return (struct version){ .counter = out, .count = n };
}

struct version
version_merge(struct version a, struct version b, struct arena *arena)
{
	struct walk w = { .a = a, .b = b };
	struct counter *out;
	uint32_t n = 0;

	if (a.count == 0 && b.count == 0)
		return (struct version){ 0 };
	out = arena_array(arena, (size_t)a.count + b.count, sizeof(*out));
	while (walk_next(&w)) {
		out[n].id = w.id;
		out[n].value = w.in_a > w.in_b ? w.in_a : w.in_b;
		if (MUTANT(MUTANT_MERGE_KEEPS_OURS) && w.in_a > 0)
			out[n].value = w.in_a;
		n++;
	}
	return (struct version){ .counter = out, .count = n };
}

struct version
version_only(struct version v, uint64_t id, struct arena *arena)
{
	const struct counter one = { .id = id,
		.value = version_counter(v, id) };

	if (one.value == 0)
		return (struct version){ 0 };
	return version_dup((struct version){ .counter = &one, .count = 1 },
	    arena);
}

struct version
version_before(struct version v, struct arena *arena)
{
	struct counter *out = arena_array(arena, v.count, sizeof(*out));
	uint32_t count = 0;

	for (uint32_t i = 0; i < v.count; i++) {
		if (v.counter[i].value == 1)
			continue; /* canonical: no zeroes */
		out[count] = v.counter[i];
		out[count++].value--;
	}
	return (struct version){ out, count };
}

uint64_t
version_counter(struct version v, uint64_t id)
{
	for (uint32_t i = 0; i < v.count; i++) {
		if (v.counter[i].id == id)
			return v.counter[i].value;
	}
	return 0;
}

struct version
version_dup(struct version v, struct arena *arena)
{
	struct counter *out;

	if (v.count == 0)
		return (struct version){ 0 };
	out = arena_array(arena, v.count, sizeof(*out));
	memcpy(out, v.counter, v.count * sizeof(*out));
	return (struct version){ .counter = out, .count = v.count };
}

static int
counter_order(const void *left, const void *right)
{
	const struct counter *a = left;
	const struct counter *b = right;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	/* The higher value first: it is the one that stays. */
	if (a->value != b->value)
		return a->value > b->value ? -1 : 1;
	return 0;
}

bool
version_is_canonical(struct version v)
{
	for (uint32_t i = 0; i < v.count; i++) {
		if (v.counter[i].value == 0)
			return false;
		if (i > 0 && v.counter[i - 1].id >= v.counter[i].id)
			return false;
	}
	return true;
}

struct version
version_canonical(const struct counter *counter, uint32_t count,
    struct arena *arena)
{
	const struct version given = { .counter = counter, .count = count };
	struct counter *out;
	uint32_t n = 0;

	if (count == 0)
		return (struct version){ 0 };
	out = arena_array(arena, count, sizeof(*out));
	memcpy(out, counter, count * sizeof(*out));
	if (version_is_canonical(given))
		return (struct version){ .counter = out, .count = count };
	qsort(out, count, sizeof(*out), counter_order);
	for (uint32_t i = 0; i < count; i++) {
		if (out[i].value == 0 || (n > 0 && out[n - 1].id == out[i].id))
			continue;
		out[n++] = out[i];
	}
	return (struct version){ .counter = n > 0 ? out : NULL, .count = n };
}

void
version_encode(struct version v, struct buf *out)
{
	buf_put_varint(out, v.count);
	for (uint32_t i = 0; i < v.count; i++) {
		buf_put_u64be(out, v.counter[i].id);
		buf_put_varint(out, v.counter[i].value);
	}
}

struct version
version_decode(struct reader *r, struct arena *arena)
{
	const uint64_t count = reader_varint(r);
	struct version v = { 0 };
	struct counter *out;

	/* Nine bytes is the least a counter takes: no room, no allocation. */
	if (!reader_ok(r) || count > r->len / 9) {
		r->failed = true;
		return v;
	}
	if (count == 0)
		return v;
	out = arena_array(arena, (size_t)count, sizeof(*out));
	for (uint64_t i = 0; i < count; i++) {
		out[i].id = reader_u64be(r);
		out[i].value = reader_varint(r);
	}
	v = (struct version){ .counter = out, .count = (uint32_t)count };
	if (!reader_ok(r) || !version_is_canonical(v)) {
		r->failed = true;
		return (struct version){ 0 };
	}
	return v;
}

char *
version_text(struct version v, struct arena *arena)
{
	char id[DEVID_SHORT_TEXT_LEN + 1];
	struct buf text = { 0 };
	char *out;

	for (uint32_t i = 0; i < v.count; i++) {
		devid_short_text(v.counter[i].id, id);
		buf_printf(&text, "%s%s:%llu", i > 0 ? "," : "", id,
		    (unsigned long long)v.counter[i].value);
	}
	out = arena_str(arena, buf_slice(&text));
	buf_fini(&text);
	return out;
}
