/* Entries that want signatures; see ballot.h. */
#include "mesh/ballot.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define BALLOT_LOOK_BACK 64u /* entries of the log that may have the wish */
#define BALLOT_DENIED_MAX 256u
#define BALLOT_TEXT_MIN 4u

struct ballot {
	VEC(struct ballot_item) item; /* their bytes are owned */
	VEC(struct digest) denied;    /* oldest first */
};

struct ballot *
ballot_new(void)
{
	return mem_zalloc(sizeof(struct ballot));
}

static void
ballot_drop_bytes(struct ballot_item *it)
{
	mem_free((void *)(uintptr_t)it->bytes.ptr);
}

void
ballot_free(struct ballot *b)
{
	if (b == NULL)
		return;
	for (size_t i = 0; i < b->item.len; i++)
		ballot_drop_bytes(&b->item.item[i]);
	VEC_FINI(&b->item);
	VEC_FINI(&b->denied);
	mem_free(b);
}

static void
ballot_remove(struct ballot *b, size_t i)
{
	ballot_drop_bytes(&b->item.item[i]);
	for (size_t k = i + 1; k < b->item.len; k++)
		b->item.item[k - 1] = b->item.item[k];
	b->item.len--;
}

/* All that an entry says but its place in the log. */
static void
ballot_wish(const struct members_entry *e, struct digest *out)
{
	struct members_entry placeless = *e;
	struct buf body = { 0 };

	placeless.seq = 1;
	members_entry_body(&placeless, &body);
	digest_of(buf_slice(&body), out);
	buf_fini(&body);
}

static size_t
ballot_place(const struct ballot *b, const struct digest *wish)
{
	size_t i = 0;

	while (i < b->item.len && !digest_equal(&b->item.item[i].wish, wish))
		i++;
	return i;
}

static bool
ballot_is_denied(const struct ballot *b, const struct digest *wish)
{
	for (size_t i = 0; i < b->denied.len; i++)
		if (digest_equal(&b->denied.item[i], wish))
			return true;
	return false;
}

/* Is it on the log, wherever that had it? */
static bool
ballot_is_done(const struct members *ms, const struct digest *wish)
{
	const uint64_t end = members_seq(ms);

	for (uint64_t n = 0; n < BALLOT_LOOK_BACK && n + 1 < end; n++) {
		struct members_entry e;
		struct digest d;

		if (members_entry_decode(&e, members_entry(ms, end - n), NULL) <
		    0)
			return false;
		ballot_wish(&e, &d);
		if (digest_equal(&d, wish))
			return true;
	}
	return false;
}

/* `it` is an entry of these bytes, which it owns from now on. */
static void
ballot_fill(struct ballot_item *it, struct buf *bytes, uint32_t good)
{
	*it = (struct ballot_item){ .good = good };
	it->bytes = slice_of(mem_dup(bytes->ptr, bytes->len), bytes->len);
	ASSERT(members_entry_decode(&it->e, it->bytes, NULL) == 0);
	ballot_wish(&it->e, &it->wish);
}

/* --- taking -------------------------------------------------------------- */

static enum ballot_verdict
ballot_put(struct ballot *b, const struct members *ms,
    const struct members_entry *e, struct err *err)
{
	const struct sign_public *owner;
	uint32_t need, good;
	struct digest wish;
	struct buf bytes = { 0 };
	enum ballot_verdict v = BALLOT_KNOWN;
	size_t count, at;

	ballot_wish(e, &wish);
	at = ballot_place(b, &wish);
	count = members_owners(ms, &owner, &need);
	good =
	    members_entry_join(e, at < b->item.len ? &b->item.item[at].e : NULL,
		owner, count, &bytes);
	if (good == 0) {
		err_set(err, ERR_DENIED, "no owner signed it");
		v = BALLOT_INVALID;
	} else if (at == b->item.len) {
		ballot_fill(VEC_ADD(&b->item), &bytes, good);
		v = BALLOT_NEW;
	} else if (good > b->item.item[at].good) {
		ballot_drop_bytes(&b->item.item[at]);
		ballot_fill(&b->item.item[at], &bytes, good);
		v = BALLOT_MORE;
	}
	buf_fini(&bytes);
	return v;
}

static bool
ballot_has_owner(const struct members *ms, const struct members_entry *e)
{
	const struct sign_public *owner;
	uint32_t need;
	const size_t count = members_owners(ms, &owner, &need);

	for (size_t i = 0; i < count; i++)
		if (members_entry_signed_by(e, &owner[i]))
			return true;
	return false;
}

/* One whose wish is new here: may it wait? */
static int
ballot_judge(const struct ballot *b, const struct members *ms,
    const struct members_entry *e, struct err *err)
{
	if (e->kind == MEMBERS_FOUND || e->kind == MEMBERS_OTHER)
		return err_set(err, ERR_INVALID, "nobody can agree to this");
	if (b->item.len >= BALLOT_MAX)
		return err_set(err, ERR_LIMIT, "%u changes wait for signatures",
		    BALLOT_MAX);
	if (!ballot_has_owner(ms, e))
		return err_set(err, ERR_DENIED, "no owner signed it");
	return 0;
}

enum ballot_verdict
ballot_take(struct ballot *b, const struct members *ms, struct slice bytes,
    bool kept, int64_t now_s, struct err *err)
{
	uint8_t head[DIGEST_LEN];
	struct members_entry e;
	struct digest wish;
	bool stale;
	size_t at;

	if (members_entry_decode(&e, bytes, err) < 0)
		return BALLOT_INVALID;
	members_head(ms, head);
	stale = memcmp(head, e.prev.b, sizeof(head)) != 0;
	if (stale && (!kept || !members_keeps(ms, e.prev.b)))
		return BALLOT_STALE;
	ballot_wish(&e, &wish);
	if (ballot_is_denied(b, &wish) || e.wall_s + BALLOT_KEEP_S < now_s)
		return BALLOT_KNOWN;
	at = ballot_place(b, &wish);
	if (at == b->item.len) {
		if (ballot_judge(b, ms, &e, err) < 0 ||
		    (!stale && members_would_take(ms, &e, err) < 0))
			return BALLOT_INVALID;
	} else if (!digest_equal(&b->item.item[at].e.digest, &e.digest)) {
		return BALLOT_STALE; /* the same wish in other bytes */
	}
	return ballot_put(b, ms, &e, err);
}

/* --- what a person does -------------------------------------------------- */

const struct ballot_item *
ballot_at(const struct ballot *b, size_t i)
{
	return i < b->item.len ? &b->item.item[i] : NULL;
}

const struct ballot_item *
ballot_find(const struct ballot *b, struct slice text)
{
	static const char digit[] = "0123456789abcdef";

	if (text.len < BALLOT_TEXT_MIN || text.len > 2 * (size_t)DIGEST_LEN)
		return NULL;
	for (size_t i = 0; i < b->item.len; i++) {
		const struct digest *wish = &b->item.item[i].wish;
		bool same = true;

		for (size_t k = 0; k < text.len && same; k++) {
			const uint8_t byte = wish->b[k / 2];

			same =
			    text.ptr[k] ==
			    (uint8_t)digit[k % 2 == 0 ? byte >> 4 : byte & 15];
		}
		if (same)
			return &b->item.item[i];
	}
	return NULL;
}

bool
ballot_is_full(const struct ballot_item *it, const struct members *ms)
{
	const struct sign_public *owner;
	uint32_t need;

	members_owners(ms, &owner, &need);
	return it->good >= need;
}

bool
ballot_sign(struct ballot *b, const struct members *ms,
    const struct digest *wish, const struct sign_secret *key)
{
	const size_t at = ballot_place(b, wish);
	struct members_entry e;
	struct buf bytes = { 0 };
	enum ballot_verdict v;

	if (at == b->item.len)
		return false;
	ASSERT(members_entry_cosign(b->item.item[at].bytes, key, &bytes,
		   NULL) == 0);
	v = members_entry_decode(&e, buf_slice(&bytes), NULL) < 0
		? BALLOT_INVALID
		: ballot_put(b, ms, &e, NULL);
	buf_fini(&bytes);
	return v != BALLOT_INVALID;
}

void
ballot_deny(struct ballot *b, const struct digest *wish)
{
	const struct digest copy = *wish;
	const size_t at = ballot_place(b, &copy);

	if (ballot_is_denied(b, &copy))
		return;
	if (at < b->item.len)
		ballot_remove(b, at);
	if (b->denied.len == BALLOT_DENIED_MAX) {
		for (size_t i = 1; i < b->denied.len; i++)
			b->denied.item[i - 1] = b->denied.item[i];
		b->denied.len--;
	}
	*VEC_ADD(&b->denied) = copy;
}

const struct digest *
ballot_denied(const struct ballot *b, size_t i)
{
	return i < b->denied.len ? &b->denied.item[i] : NULL;
}

/* --- the log moves ------------------------------------------------------- */

/* Were the owners others when it was signed? */
static bool
ballot_is_outdated(const struct members *ms, const struct members_entry *e)
{
	if (e->kind != MEMBERS_OWNERS)
		return false;
	for (uint64_t seq = e->seq; seq <= members_seq(ms); seq++) {
		struct members_entry later;

		if (members_entry_decode(&later, members_entry(ms, seq),
			NULL) == 0 &&
		    later.kind == MEMBERS_OWNERS)
			return true;
	}
	return false;
}

/* Put it after the log's end, as its signer; false: it is over. */
static bool
ballot_rebase(struct ballot_item *it, const struct members *ms,
    const struct sign_secret *key)
{
	struct members_entry e = it->e;
	struct sign_public public;
	struct buf body = { 0 }, bytes = { 0 };

	if (key == NULL)
		return false;
	sign_public_of(key, &public);
	if (!members_entry_signed_by(&e, &public))
		return false; /* it will come from who did */
	e.seq = members_seq(ms) + 1;
	members_head(ms, e.prev.b);
	if (members_would_take(ms, &e, NULL) < 0)
		return false;
	members_entry_body(&e, &body);
	members_entry_sign(buf_slice(&body), key, 1, &bytes);
	ballot_drop_bytes(it);
	ballot_fill(it, &bytes, 1);
	buf_fini(&body);
	buf_fini(&bytes);
	return true;
}

bool
ballot_follow(struct ballot *b, const struct members *ms,
    const struct sign_secret *key, int64_t now_s)
{
	uint8_t head[DIGEST_LEN];
	bool changed = false;

	members_head(ms, head);
	for (size_t i = 0; i < b->item.len;) {
		struct ballot_item *it = &b->item.item[i];
		const bool stale = memcmp(head, it->e.prev.b, DIGEST_LEN) != 0;

		if (it->e.wall_s + BALLOT_KEEP_S < now_s ||
		    (stale && (ballot_is_done(ms, &it->wish) ||
				  ballot_is_outdated(ms, &it->e) ||
				  !ballot_rebase(it, ms, key)))) {
			ballot_remove(b, i);
			changed = true;
			continue;
		}
		changed = changed || stale;
		i++;
	}
	return changed;
}
