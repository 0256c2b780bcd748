/*
 * Where peers were; see coord_cache.h.
 */
#include "mesh/coord_cache.h"

#include "engine/base/hash.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"

#define CACHE_MAGIC SLICE_LIT("HoldWhr1")
#define CACHE_SUM_LEN 8u

struct coord_cache {
	struct map where; /* device -> struct buf, its WHERE message */
};

struct coord_cache *
coord_cache_new(void)
{
	return mem_zalloc(sizeof(struct coord_cache));
}

static void
cache_drop(struct buf *frame)
{
	if (frame == NULL)
		return;
	buf_fini(frame);
	mem_free(frame);
}

void
coord_cache_free(struct coord_cache *c)
{
	if (c == NULL)
		return;
	for (struct map_item *it = NULL;
	     (it = map_next(&c->where, it)) != NULL;)
		cache_drop(it->value);
	map_fini(&c->where);
	mem_free(c);
}

static struct slice
cache_key(const struct devid *id)
{
	return slice_of(id->b, DEVID_LEN);
}

bool
coord_cache_put(struct coord_cache *c, const struct devid *id,
    const struct addr *addr, size_t count)
{
	struct coord_message m = { .type = COORD_WHERE };
	struct buf *frame, *old;
	bool news;

	if (count == 0)
		return false;
	m.u.where.id = *id;
	m.u.where.count =
	    count < COORD_ADDRESSES_MAX ? count : COORD_ADDRESSES_MAX;
	m.u.where.addr = mem_array(m.u.where.count, sizeof(*m.u.where.addr));
	for (size_t i = 0; i < m.u.where.count; i++)
		m.u.where.addr[i] = addr[i];
	frame = mem_zalloc(sizeof(*frame));
	coord_encode(&m, frame);
	mem_free(m.u.where.addr);
	old = map_put(&c->where, cache_key(id), frame);
	news = old == NULL || !slice_equal(buf_slice(old), buf_slice(frame));
	cache_drop(old);
	return news;
}

void
coord_cache_keep(struct coord_cache *c, const struct devid *id, size_t count)
{
	struct map next = { 0 };

	for (size_t i = 0; i < count; i++) {
		struct buf *frame = map_remove(&c->where, cache_key(&id[i]));

		if (frame != NULL)
			map_put(&next, cache_key(&id[i]), frame);
	}
	for (struct map_item *it = NULL;
	     (it = map_next(&c->where, it)) != NULL;)
		cache_drop(it->value);
	map_fini(&c->where);
	c->where = next;
}

size_t
coord_cache_find(const struct coord_cache *c, const struct devid *id,
    struct addr **out, struct arena *ar)
{
	const struct buf *frame = map_find(&c->where, cache_key(id));
	struct coord_message m;
	size_t used;

	*out = NULL;
	if (frame == NULL ||
	    coord_decode(&m, buf_slice(frame), &used, ar, NULL) != 1)
		return 0;
	*out = m.u.where.addr;
	return m.u.where.count;
}

void
coord_cache_encode(const struct coord_cache *c, struct buf *out)
{
	const size_t at = out->len;

	buf_put(out, CACHE_MAGIC);
	for (const struct map_item *it = NULL;
	     (it = map_next(&c->where, it)) != NULL;)
		buf_put(out, buf_slice(it->value));
	buf_put_u64be(out, hash_u64(slice_of(out->ptr + at, out->len - at)));
}

static int
cache_take(struct coord_cache *c, struct slice in, bool put)
{
	struct arena ar = { 0 };
	struct coord_message m;
	size_t used;
	int rc = 0;

	while (rc == 0 && in.len > 0) {
		arena_clear(&ar);
		rc = coord_decode(&m, in, &used, &ar, NULL) == 1 &&
			     m.type == COORD_WHERE
			 ? 0
			 : ERR_CORRUPT;
		if (rc == 0 && put)
			(void)coord_cache_put(c, &m.u.where.id, m.u.where.addr,
			    m.u.where.count);
		in = slice_from(in, used);
	}
	arena_fini(&ar);
	return rc;
}

int
coord_cache_decode(struct coord_cache *c, struct slice in, struct err *err)
{
	const struct slice magic = CACHE_MAGIC;
	struct slice body;
	struct reader r;

	if (in.len < magic.len + CACHE_SUM_LEN || in.len > COORD_CACHE_MAX ||
	    !slice_has_prefix(in, magic))
		return err_set(err, ERR_CORRUPT, "no list of addresses");
	body = slice_to(in, in.len - CACHE_SUM_LEN);
	reader_init(&r, slice_from(in, body.len));
	if (reader_u64be(&r) != hash_u64(body))
		return err_set(err, ERR_CORRUPT, "its checksum is wrong");
	body = slice_from(body, magic.len);
	/* Looked through first: all of it, or nothing. */
	if (cache_take(c, body, false) < 0)
		return err_set(err, ERR_CORRUPT, "it is damaged");
	return cache_take(c, body, true);
}
