/*
 * Chunk maps; see chunkmap.h.
 *
 * The gear table and the two masks are part of what two nodes agree on: other
 * cuts give other maps, and nothing would be found again.  The table holds the
 * first 256 outputs of splitmix64 seeded with the bytes "Holdfast".
 */
#include "engine/chunkmap.h"

#include "engine/base/assert.h"
#include "engine/base/limits.h"

/* Up to here a cut is made unlikely, behind it likely: sizes cluster. */
#define CHUNKMAP_NORMAL (64 * KIB)
/*
 * A cut is where all these bits of the rolling hash are zero.  The top bits see
 * the last 64 bytes, lower ones fewer.
 */
#define CHUNKMAP_MASK_BEFORE (~UINT64_C(0) << (64 - 18))
#define CHUNKMAP_MASK_BEHIND (~UINT64_C(0) << (64 - 14))

static const uint64_t chunkmap_gear[256] = { 0x4c6d4f4dc321ab6b,
	0x8eb20e7833d948dd, 0x5f794ceec8368a21, 0xb9e09cc449880390,
	0xde74eb0b34be73c2, 0x7e8e1a4074b93897, 0x6089995c828e6ed7,
	0x4b824399f92ca53d, 0xb929c84fa5091235, 0xea0663dd5f7b26e2,
	0xb6c900b723e7dc9d, 0xb33683278cb8da34, 0x6084381c97ad3358,
	0x4f322a8cccacf157, 0x0f2087c3be411d2a, 0x9ff5015a3e0a5897,
	0x64f43b7c7c6108b2, 0xeb1f20e96f1b5028, 0x9c81ac9bf86fbe7b,
	0xcfb4aa6dac432620, 0x08c0bc7c3f5c74cf, 0x955ad74587dedd02,
	0xba05ec31dffaaa10, 0x892edc6a1b1efa41, 0x2082bf803ec2263c,
	0xf3cf91c989645820, 0x4d30a9799f3ed603, 0x993ad6b0cf3ba4d4,
	0x3b7e2066f0e42cf8, 0x402072c29222f90a, 0x2e73f16b4f7c906f,
	0x2c61af0596a656c5, 0x58f055c11abcbf1d, 0xa74997994c21f9dd,
	0x9991e5e651efb4b2, 0x4322199d4ac1df82, 0x0543409694edd134,
	0xd3a51a0ef62de3f5, 0xd27123cda394cfe1, 0x797c303a95d8f0c8,
	0x6926a5ae14b6ac74, 0x39006b3863e7dcef, 0xffcd333d24829736,
	0x22c9f5021629760d, 0x453503e7a0f51c7e, 0x3e0f8106150c5445,
	0x373a77a8921796f1, 0x3fa3c76676587ccd, 0x8a199b51fe5b019e,
	0xc81f76f23943b3e0, 0x0c97beb6f38c8da1, 0xe7811b05d6774ad9,
	0x08e8d214ead66988, 0xcdfb875345bb88d5, 0xa22cfa65e98708aa,
	0xbad645d858349a39, 0x5c8ef32f5f7375c1, 0x805e814d15491fd2,
	0x672587382b5ae3e5, 0x37d0fe157907d3a1, 0xdd64f1c67e7f32d2,
	0xaa76048d801b719a, 0x3ef822615607083f, 0x3c9aafbbbaf1ac56,
	0x68db88f946e0464b, 0xfb7bfe4c3dd3414f, 0x88251063fd6d3d99,
	0xf1cce44b6e2bc401, 0x47928de065679fc7, 0x7401912ae4d25555,
	0x11b9045d2ff18cf6, 0xda897551c870da65, 0xdfed1ad57e039f15,
	0x1efe1e05445c1c42, 0xb38c965d7bfa19ef, 0xa268e730d21bd975,
	0x239f7b5b5cb8eb5d, 0x8530159befe1ded4, 0x576657b5e46f42a1,
	0x912165d0cc89ffc3, 0x101698680140da7e, 0x1be3f74cb1d4b83a,
	0xb963de54a1304995, 0x9a9fef57a405e57c, 0x5d0c8a58962e8c0a,
	0x1495987823bd6173, 0x5f15ec95107c4cb4, 0x3dd32c95f481a422,
	0x40f65917aecdf057, 0x89e8278e34ad9d38, 0xd2ef7015cb19283d,
	0xac6b20b4163331d7, 0x4fd11e16623dddfb, 0xcd3454440b490fae,
	0x4198aecf45df35be, 0x7277a484823e9bf6, 0x84c7d9f3ff0000c0,
	0x63d7dee7e729f175, 0x1102d12561e52199, 0x09ebfc14d256b14a,
	0xc796d2b5b0aca1ec, 0xdb6d18feb3190284, 0x44f4b866845d3f22,
	0x60828f649aa934c6, 0xd5897eca7037918d, 0x05c307be603c3aa8,
	0x8eb7af195bff0a93, 0x5443d96d955c19ab, 0x2320b4c87daef02d,
	0x0f7552ffb5a51bf3, 0x7f0c0179ad93ae51, 0x34ba7cd96bfe57ad,
	0x261c2d96d33ffb26, 0xb6d7fb7887cc809f, 0x820701222bd8a8f7,
	0x5268b1df04a307d4, 0x3d1d744c0db24b36, 0xc205f9d6d32f3804,
	0x818bdcd843f91c5d, 0x8475e4a48a74f3a4, 0xa48ea81a0f4290bc,
	0xf34a6ece94368e28, 0xd00d8456340dea0a, 0xe94b7e8e066e1ec3,
	0x419afd5ccfc0c496, 0xa95e4c007b9cc43f, 0x4bfaa005a79c96d0,
	0x23ad7d1539a6d7ea, 0xff47146f59565a90, 0x978c8a4c1b49dd0d,
	0x761e259355b768bd, 0xfed916cd9b95b867, 0x87c6fa39d8df038f,
	0x40d546701e90d742, 0xe8fd5a41215fb4d4, 0xff2fdc95a34b97f2,
	0xd24cb7740eaa0ea1, 0x552f7219305e0e72, 0x3aef8709a7f2738e,
	0xc67870ee8d2aeb38, 0xccd55b570028caa5, 0xa5d5b4e5a66ae3d4,
	0x239430eec6bf391a, 0x3dfe17c64651665c, 0x28badb3ecd49c692,
	0x04c34da1727c64cf, 0x67af44496a1c1457, 0x29de33f89eb4e163,
	0x550350858e580ca7, 0x75598c8b6aec77f0, 0x6a183a8f79673beb,
	0xffb7c0c64d21550e, 0x1b7b9300b05e5689, 0x59f262dfa337f515,
	0xff836634ab7eb2cb, 0x51ad36a19e54fc60, 0xba557837581a4197,
	0x9273425aaa0b9a3b, 0xb82735307b276c20, 0xb79f30d7050dc1b3,
	0x32b0f6fdbf53db57, 0x38c8eff500fd5b00, 0xdf5672936a332c03,
	0xe5752c380d0d5b5f, 0x15e96453fbeacbfb, 0xe2f68e6869b33d49,
	0xa479c19349642216, 0x75246d7a79da3110, 0x973fc90fe0548f4d,
	0x6345c2e318f61895, 0xfc68623d9b179109, 0x5d1a4d91bc3fe35a,
	0xdc418cd9780a375a, 0x3e6eef547cc7ac4d, 0x3ada4f104b9af4bd,
	0x273466bbef86b66a, 0x41701db3c124ba31, 0xb49571fbb12509c4,
	0x47cb235f219b6252, 0x583bd2edd2e7550a, 0x01422588b2ce72aa,
	0x81cc61085cfe6924, 0x6ec6b246fe09641d, 0x3de703310451e0b4,
	0xd511309826030cf7, 0xa7fb63cbb175d435, 0x206a1e4233584a7d,
	0xda8e301b7b9c5285, 0xa863a5b3bc3c1ff5, 0x8415dd2fe49dcf96,
	0xaeb8888694702b23, 0x77a14879e4d8e160, 0xf40b921f88ac6676,
	0x7625d4465cd1ee69, 0xde2938015b9be4da, 0xa67b6914ec38ead8,
	0x2bdb464092dd8817, 0x2fbabbbec03e3d25, 0xd0b3731cb3c07560,
	0x0bee5c07a8c2e9e1, 0x60048418fddc703d, 0x5632c9f19f978e2d,
	0x1d8ddb519ce982f6, 0xb9cf2bf76e9fdf3c, 0x37a377ce00e7d214,
	0x89359f01569a4526, 0xbd86fad11e06e8d0, 0x8664d2d88e379365,
	0x64c4b9b2e7ac30a2, 0xee5ad25d9472a951, 0xff9d6f3831f8bca5,
	0xa47070c0c4d6b81b, 0x5095d5d6eb37ddfa, 0x8cb553559a570782,
	0x3e270cbe47c4f16e, 0x279b01f92794cb93, 0x2724dacc309bcaf4,
	0x382dad89993a9a1e, 0x58990af0cc34198a, 0x82aab28af8d0d4f2,
	0x148e0384c548bb4a, 0x7c794f68e09bf6cd, 0xd85324e7d5aca872,
	0x4e90c4169eed2607, 0x6c4fe15ddbb4e0ed, 0x74d1fbb898df66bf,
	0xfcff86613f48eb3e, 0x1730c77f0d049381, 0xef5fecc4b44abee8,
	0x01013d2c76067cb8, 0x9c330d04811b7299, 0xb1d993036c494d1d,
	0x7a01bffc748c5f54, 0x31703ce22eb03a86, 0x3d35f62fb55f36d3,
	0xb15f3b85730c75df, 0x14400d7af4f3fed1, 0xf80d6a8302878dad,
	0x1442bb28abdf07d0, 0xb6d63e0d79643472, 0x46753b5a1c879b4e,
	0x6cbd0382f221cdf2, 0x0c58e1e12a5982ac, 0x29b0af3d2952f3a8,
	0xe1c205c0a444aac8, 0xe667744de154d79b, 0xba4581b2ef2d6c76,
	0xcc0a417261193ff4, 0x3d3a1a2b926f2324, 0xc0825a260aad5dca,
	0xcaf00031611d1ec2, 0x004a132b9a5e49a3, 0x526386cbeda48ae9,
	0x0de02aba48ca3ac7, 0xb5ad5f695a70d3e0, 0x9edf9f89f290f142 };

void
chunkmap_cutter_init(struct chunkmap_cutter *c)
{
	c->gear = 0;
	c->in_chunk = 0;
}

/* Roll over bytes up to in_chunk == `until`; true when a cut was found. */
static bool
chunkmap_roll(struct chunkmap_cutter *c, struct slice data, size_t *at,
    uint64_t until, uint64_t mask)
{
	uint64_t gear = c->gear;
	size_t i = *at, end = data.len;
	bool found = false;

	if (until - c->in_chunk < end - i)
		end = i + (size_t)(until - c->in_chunk);
	while (i < end) {
		gear = (gear << 1) + chunkmap_gear[data.ptr[i++]];
		if ((gear & mask) == 0) {
			found = true;
			break;
		}
	}
	c->gear = gear;
	c->in_chunk += i - *at;
	*at = i;
	return found;
}

size_t
chunkmap_cut(struct chunkmap_cutter *c, struct slice data, bool *cut)
{
	size_t at = 0;

	*cut = false;
	if (c->in_chunk < CHUNKMAP_MIN) { /* no cut can be here: do not look */
		const uint64_t skip = CHUNKMAP_MIN - c->in_chunk;

		at = skip < data.len ? (size_t)skip : data.len;
		c->in_chunk += at;
	}
	if (at < data.len && c->in_chunk < CHUNKMAP_NORMAL)
		*cut = chunkmap_roll(c, data, &at, CHUNKMAP_NORMAL,
		    CHUNKMAP_MASK_BEFORE);
	if (!*cut && at < data.len)
		*cut = chunkmap_roll(c, data, &at, CHUNKMAP_MAX,
		    CHUNKMAP_MASK_BEHIND);
	if (c->in_chunk == CHUNKMAP_MAX)
		*cut = true;
	if (*cut)
		chunkmap_cutter_init(c);
	return at;
}

/* The old file's chunks by content; the first of equal ones. */
struct chunkmap_table {
	const struct chunk *old;
	uint32_t *slot; /* index + 1; 0: free */
	uint32_t mask;
};

static uint32_t
chunkmap_slot(const struct chunkmap_table *t, uint64_t hash, uint32_t len)
{
	/* The hash is already even; the product keeps chosen ones apart. */
	uint64_t h = (hash ^ len) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t i = (uint32_t)(h >> 32) & t->mask;

	while (t->slot[i] != 0) {
		const struct chunk *c = &t->old[t->slot[i] - 1];

		if (c->hash == hash && c->len == len)
			break;
		i = (i + 1) & t->mask;
	}
	return i;
}

static void
chunkmap_table_init(struct chunkmap_table *t, const struct chunk *old,
    uint32_t count, struct arena *arena)
{
	uint64_t cap = 16;

	while (cap < 2 * (uint64_t)count)
		cap *= 2;
	t->old = old;
	t->slot = arena_array(arena, (size_t)cap, sizeof(*t->slot));
	t->mask = (uint32_t)(cap - 1);
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t at = chunkmap_slot(t, old[i].hash, old[i].len);

		if (t->slot[at] == 0)
			t->slot[at] = i + 1;
	}
}

bool
chunkmap_place(struct chunkmap *out, const struct chunk *chunk, uint32_t count,
    const struct chunk_range *range, uint32_t range_count, struct arena *arena)
{
	int64_t *at = arena_array(arena, count, sizeof(*at));
	uint32_t i = 0;

	*out = (struct chunkmap){ .chunk = chunk, .at = at, .count = count };
	for (uint32_t r = 0; r < range_count; r++) {
		int64_t done = 0;

		while (done < range[r].len) {
			if (i == count || chunk[i].len == 0 ||
			    chunk[i].len > CHUNKMAP_MAX ||
			    chunk[i].len > range[r].len - done)
				return false;
			at[i] = range[r].offset + done;
			done += chunk[i++].len;
		}
	}
	return i == count;
}

/* Append a piece, joining it to the last one where that is allowed. */
static uint32_t
chunkmap_append(struct chunkmap_range *out, uint32_t count, int64_t offset,
    int64_t len, int64_t from, uint32_t fetch_max)
{
	while (len > 0) {
		struct chunkmap_range *last =
		    count > 0 &&
			    out[count - 1].offset + out[count - 1].len == offset
			? &out[count - 1]
			: NULL; /* the neighbour */
		int64_t take = len;
		bool join = false;

		if (from >= 0) {
			join = last != NULL && last->from >= 0 &&
			       last->from + last->len == from;
		} else if (last != NULL && last->from < 0 &&
			   last->len < (int64_t)fetch_max) {
			const int64_t room = (int64_t)fetch_max - last->len;

			join = true;
			if (take > room)
				take = room;
		} else if (take > (int64_t)fetch_max) {
			take = (int64_t)fetch_max;
		}
		if (join) {
			last->len += take;
		} else {
			out[count].offset = offset;
			out[count].len = take;
			out[count].from = from;
			count++;
		}
		offset += take;
		len -= take;
	}
	return count;
}

uint32_t
chunkmap_match(const struct chunkmap *old, const struct chunkmap *new_,
    uint32_t fetch_max, struct chunkmap_range **out, struct arena *arena)
{
	struct chunkmap_table t;
	uint64_t total = 0;
	uint32_t count = 0;
	uint32_t follow = UINT32_MAX; /* the old chunk behind the last match */

	ASSERT(fetch_max > 0);
	for (uint32_t i = 0; i < new_->count; i++)
		total += new_->chunk[i].len;
	chunkmap_table_init(&t, old->chunk, old->count, arena);
	*out = arena_array(arena, (size_t)(new_->count + total / fetch_max + 1),
	    sizeof(**out));

	for (uint32_t i = 0; i < new_->count; i++) {
		const struct chunk *c = &new_->chunk[i];
		int64_t from = -1;

		/* Equal chunks abound in some files: go on where we are. */
		if (follow < old->count && old->chunk[follow].hash == c->hash &&
		    old->chunk[follow].len == c->len) {
			from = old->at[follow++];
		} else {
			const uint32_t slot =
			    chunkmap_slot(&t, c->hash, c->len);

			if (t.slot[slot] != 0) {
				from = old->at[t.slot[slot] - 1];
				follow = t.slot[slot];
			} else {
				follow = UINT32_MAX;
			}
		}
		count = chunkmap_append(*out, count, new_->at[i], c->len, from,
		    fetch_max);
	}
	return count;
}
