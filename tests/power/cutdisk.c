/*
 * See cutdisk.h.
 *
 * Invariants
 *   - while not cut: `now` is `stable` with all of `cache` written over it;
 *   - while cut: `cache` is what it was at the cut, and `lost` names every
 *     range that was written to `now` since.
 */
#include "cutdisk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct range {
	uint64_t at;
	size_t len;
	uint8_t *data; /* owned; NULL in `lost` */
};

struct ranges {
	struct range *item;
	size_t len, cap;
};

struct cutdisk {
	uint64_t len;
	uint32_t sector;
	uint8_t *stable, *now;
	struct ranges cache, lost;
	uint64_t ops;
	bool cut;
};

static bool
ranges_add(struct ranges *r, uint64_t at, const void *data, size_t len)
{
	uint8_t *copy = NULL;

	if (r->len == r->cap) {
		const size_t cap = r->cap > 0 ? 2 * r->cap : 256;
		struct range *item = realloc(r->item, cap * sizeof(*item));

		if (item == NULL)
			return false;
		r->item = item;
		r->cap = cap;
	}
	if (data != NULL) {
		copy = malloc(len > 0 ? len : 1);
		if (copy == NULL)
			return false;
		memcpy(copy, data, len);
	}
	r->item[r->len++] = (struct range){ at, len, copy };
	return true;
}

static void
ranges_clear(struct ranges *r)
{
	for (size_t i = 0; i < r->len; i++)
		free(r->item[i].data);
	r->len = 0;
}

static uint8_t *
map_zeroes(uint64_t len)
{
	void *map = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

struct cutdisk *
cutdisk_new(uint64_t len, uint32_t sector)
{
	struct cutdisk *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	d->len = len;
	d->sector = sector;
	d->stable = map_zeroes(len);
	d->now = map_zeroes(len);
	if (d->stable != NULL && d->now != NULL)
		return d;
	cutdisk_free(d);
	return NULL;
}

void
cutdisk_free(struct cutdisk *d)
{
	if (d == NULL)
		return;
	ranges_clear(&d->cache);
	ranges_clear(&d->lost);
	free(d->cache.item);
	free(d->lost.item);
	if (d->stable != NULL)
		munmap(d->stable, (size_t)d->len);
	if (d->now != NULL)
		munmap(d->now, (size_t)d->len);
	free(d);
}

uint64_t
cutdisk_len(const struct cutdisk *d)
{
	return d->len;
}

uint64_t
cutdisk_ops(const struct cutdisk *d)
{
	return d->ops;
}

static bool
is_inside(const struct cutdisk *d, uint64_t at, size_t len)
{
	return at <= d->len && len <= d->len - at;
}

bool
cutdisk_read(const struct cutdisk *d, uint64_t at, void *buf, size_t len)
{
	if (!is_inside(d, at, len))
		return false;
	memcpy(buf, d->now + at, len);
	return true;
}

bool
cutdisk_write(struct cutdisk *d, uint64_t at, const void *buf, size_t len)
{
	if (!is_inside(d, at, len))
		return false;
	if (d->cut) {
		if (!ranges_add(&d->lost, at, NULL, len))
			return false;
	} else {
		if (!ranges_add(&d->cache, at, buf, len))
			return false;
		d->ops++;
	}
	memcpy(d->now + at, buf, len);
	return true;
}

void
cutdisk_flush(struct cutdisk *d)
{
	if (d->cut)
		return;
	for (size_t i = 0; i < d->cache.len; i++) {
		const struct range *w = &d->cache.item[i];

		memcpy(d->stable + w->at, w->data, w->len);
	}
	ranges_clear(&d->cache);
	d->ops++;
}

void
cutdisk_cut(struct cutdisk *d)
{
	d->cut = true;
}

bool
cutdisk_is_cut(const struct cutdisk *d)
{
	return d->cut;
}

/* SplitMix64: the same cut again from the same seed. */
static uint64_t
draw(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/*
 * Keep each sector of a write with `odds` of 256.  A sector ends at a multiple
 * of its size on the disk, wherever the write begins.
 */
static void
keep_sectors(struct cutdisk *d, const struct range *w, uint64_t odds,
    uint64_t *state, struct cutdisk_sum *sum)
{
	bool all = true, any = false;
	size_t done = 0;

	while (done < w->len) {
		const uint64_t at = w->at + done;
		size_t len = d->sector - (size_t)(at % d->sector);

		if (len > w->len - done)
			len = w->len - done;
		if (draw(state) % 256 < odds) {
			memcpy(d->stable + at, w->data + done, len);
			any = true;
		} else {
			all = false;
		}
		done += len;
	}
	sum->whole += all;
	sum->torn += any && !all;
}

static void
keep_some(struct cutdisk *d, enum cutdisk_model model, uint64_t seed,
    struct cutdisk_sum *sum)
{
	static const uint64_t odds[] = { 13, 77, 128, 205, 243 };
	uint64_t state = seed;
	const uint64_t count = d->cache.len;
	const uint64_t prefix = draw(&state) % (count + 1);
	const uint64_t share = odds[draw(&state) % 5];

	for (size_t i = 0; i < count; i++) {
		const struct range *w = &d->cache.item[i];
		uint64_t chance = 256;

		if (model == CUTDISK_NOTHING ||
		    (model == CUTDISK_PREFIX && i > prefix))
			chance = 0;
		else if (model == CUTDISK_PREFIX && i == prefix)
			chance = 128;
		else if (model == CUTDISK_SUBSET)
			chance = share;
		keep_sectors(d, w, chance, &state, sum);
	}
}

static void
put_back(struct cutdisk *d, const struct ranges *r)
{
	for (size_t i = 0; i < r->len; i++) {
		const uint64_t at = r->item[i].at;

		memcpy(d->now + at, d->stable + at, r->item[i].len);
	}
}

void
cutdisk_restore(struct cutdisk *d, enum cutdisk_model model, uint64_t seed,
    struct cutdisk_sum *sum)
{
	*sum = (struct cutdisk_sum){ .writes = d->cache.len };
	keep_some(d, model, seed, sum);
	put_back(d, &d->cache);
	put_back(d, &d->lost);
	ranges_clear(&d->cache);
	ranges_clear(&d->lost);
	d->cut = false;
}

void
cutdisk_wipe(struct cutdisk *d)
{
	ranges_clear(&d->cache);
	ranges_clear(&d->lost);
	/* Private and anonymous: what is given back reads as zeroes. */
	(void)madvise(d->stable, (size_t)d->len, MADV_DONTNEED);
	(void)madvise(d->now, (size_t)d->len, MADV_DONTNEED);
	d->cut = false;
}
