/*
 * The switchboard; see switchboard.h.
 */
#include "mesh/switchboard.h"

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define SWITCHBOARD_WAIT_NS CLOCK_MIN

struct switchboard_member {
	struct devid id;
	void *arg;
};

struct switchboard_session {
	uint64_t number;
	struct devid device[2];
	struct relay_key key[2];
	bool taken[2];
	uint64_t until_ns; /* to be whole */
};

struct switchboard {
	VEC(struct switchboard_member) member;
	VEC(struct switchboard_session) session;
	uint64_t number; /* of the last session */
};

struct switchboard *
switchboard_new(void)
{
	return mem_zalloc(sizeof(struct switchboard));
}

void
switchboard_free(struct switchboard *sb)
{
	if (sb == NULL)
		return;
	VEC_FINI(&sb->member);
	VEC_FINI(&sb->session);
	mem_free(sb);
}

static size_t
switchboard_find(const struct switchboard *sb, const struct devid *id)
{
	for (size_t i = 0; i < sb->member.len; i++)
		if (devid_equal(&sb->member.item[i].id, id))
			return i;
	return SIZE_MAX;
}

enum relay_code
switchboard_join(struct switchboard *sb, const struct devid *id, void *arg)
{
	if (switchboard_find(sb, id) != SIZE_MAX)
		return RELAY_ALREADY;
	if (sb->member.len >= LIMIT_RELAY_MEMBERS)
		return RELAY_INTERNAL;
	*VEC_ADD(&sb->member) =
	    (struct switchboard_member){ .id = *id, .arg = arg };
	return RELAY_OK;
}

void
switchboard_leave(struct switchboard *sb, const struct devid *id)
{
	const size_t i = switchboard_find(sb, id);

	if (i != SIZE_MAX)
		VEC_DROP(&sb->member, i);
}

size_t
switchboard_members(const struct switchboard *sb)
{
	return sb->member.len;
}

static size_t
switchboard_count(const struct switchboard *sb, const struct devid *id)
{
	size_t count = 0;

	for (size_t i = 0; i < sb->session.len; i++)
		if (devid_equal(&sb->session.item[i].device[0], id) ||
		    devid_equal(&sb->session.item[i].device[1], id))
			count++;
	return count;
}

enum relay_code
switchboard_connect(struct switchboard *sb, const struct devid *from,
    const struct devid *to, const struct relay_key key[2], uint64_t now_ns,
    void **member)
{
	const size_t i = switchboard_find(sb, to);

	*member = NULL;
	if (i == SIZE_MAX || devid_equal(from, to))
		return RELAY_NOT_FOUND;
	if (sb->session.len >= LIMIT_RELAY_SESSIONS ||
	    switchboard_count(sb, from) >= LIMIT_RELAY_DEVICE ||
	    switchboard_count(sb, to) >= LIMIT_RELAY_DEVICE)
		return RELAY_INTERNAL;
	*VEC_ADD(&sb->session) =
	    (struct switchboard_session){ .number = ++sb->number,
		    .device = { *from, *to },
		    .key = { key[0], key[1] },
		    .until_ns = now_ns + SWITCHBOARD_WAIT_NS };
	*member = sb->member.item[i].arg;
	return RELAY_OK;
}

/* In a time that does not depend on where they differ. */
static bool
switchboard_same_key(const struct relay_key *a, const struct relay_key *b)
{
	unsigned diff = a->len ^ b->len;

	for (size_t i = 0; i < RELAY_KEY_MAX; i++)
		diff |= (unsigned)(a->b[i] ^ b->b[i]);
	return diff == 0;
}

uint64_t
switchboard_enter(struct switchboard *sb, const struct relay_key *key,
    int *side, uint64_t now_ns)
{
	for (size_t i = 0; i < sb->session.len; i++) {
		struct switchboard_session *s = &sb->session.item[i];

		for (int k = 0; k < 2; k++) {
			if (s->taken[k] || s->until_ns <= now_ns ||
			    !switchboard_same_key(&s->key[k], key))
				continue;
			s->taken[k] = true;
			if (s->taken[1 - k])
				s->until_ns = CLOCK_NEVER;
			*side = k;
			return s->number;
		}
	}
	return 0;
}

bool
switchboard_is_whole(const struct switchboard *sb, uint64_t session)
{
	for (size_t i = 0; i < sb->session.len; i++)
		if (sb->session.item[i].number == session)
			return sb->session.item[i].taken[0] &&
			       sb->session.item[i].taken[1];
	return false;
}

void
switchboard_end(struct switchboard *sb, uint64_t session)
{
	for (size_t i = 0; i < sb->session.len; i++) {
		if (sb->session.item[i].number != session)
			continue;
		VEC_DROP(&sb->session, i);
		return;
	}
}

uint64_t
switchboard_expire(struct switchboard *sb, uint64_t now_ns)
{
	for (size_t i = 0; i < sb->session.len; i++) {
		const uint64_t number = sb->session.item[i].number;

		if (sb->session.item[i].until_ns > now_ns)
			continue;
		VEC_DROP(&sb->session, i);
		return number;
	}
	return 0;
}

size_t
switchboard_sessions(const struct switchboard *sb)
{
	return sb->session.len;
}
