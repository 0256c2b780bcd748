/* A chain of entries, applied; see members_state.h. */
#include "mesh/members_state.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"

static struct slice
members_state_key(const struct devid *id)
{
	return slice_of(id->b, sizeof(id->b));
}

static struct members_seat *
members_state_at(const struct members_state *st, const struct devid *id)
{
	return map_find(&st->by_id, members_state_key(id));
}

void
members_state_fini(struct members_state *st)
{
	for (struct map_item *it = NULL;
	     (it = map_next(&st->by_id, it)) != NULL;)
		mem_free(it->value);
	for (struct map_item *it = NULL;
	     (it = map_next(&st->gone, it)) != NULL;)
		mem_free(it->value);
	map_fini(&st->by_id);
	map_fini(&st->by_name);
	map_fini(&st->gone);
	VEC_FINI(&st->rule);
	*st = (struct members_state){ 0 };
}

/* `id` is nobody's from now on; it became `next` (NULL: it was removed). */
static void
members_state_leave(struct members_state *st, const struct devid *id,
    const struct devid *next)
{
	struct devid *became = mem_zalloc(sizeof(*became));

	if (next != NULL)
		*became = *next;
	mem_free(map_put(&st->gone, members_state_key(id), became));
}

static void
members_state_sit(struct members_state *st, const struct devid *id,
    struct members_seat *seat)
{
	ASSERT(map_put(&st->by_id, members_state_key(id), seat) == NULL);
	mem_free(map_remove(&st->gone, members_state_key(id)));
}

struct members_seat *
members_state_seat(const struct members_state *st, const struct devid *id)
{
	struct members_seat *seat = members_state_at(st, id);
	const struct devid *next = id;

	/* A chain of rotations has no loop: an ID that is in use again is not
	 * among the gone. */
	while (seat == NULL) {
		next = map_find(&st->gone, members_state_key(next));
		if (next == NULL || devid_is_none(next))
			return NULL;
		seat = members_state_at(st, next);
	}
	return seat;
}

/* Give `seat` a name that nobody else has. */
static int
members_state_call(struct members_state *st, struct members_seat *seat,
    const char *name, struct err *err)
{
	const struct members_seat *other =
	    map_find(&st->by_name, slice_str(name));

	if (other != NULL && other != seat)
		return err_set(err, ERR_INVALID,
		    "there is a member \"%s\" already", name);
	if (seat->m.name[0] != '\0')
		map_remove(&st->by_name, slice_str(seat->m.name));
	memcpy(seat->m.name, name, strlen(name) + 1);
	map_put(&st->by_name, slice_str(seat->m.name), seat);
	return 0;
}

static int
members_state_add(struct members_state *st, const struct members_entry *e,
    struct err *err)
{
	struct members_seat *seat = members_state_at(st, &e->device);
	const bool fresh = seat == NULL;
	int rc;

	if (fresh) {
		seat = mem_zalloc(sizeof(*seat));
		seat->m.id = e->device;
	}
	rc = members_state_call(st, seat, e->name, err);
	if (rc < 0) {
		if (fresh)
			mem_free(seat);
		return rc;
	}
	if (fresh)
		members_state_sit(st, &e->device, seat);
	seat->m.added_seq = e->seq;
	seat->m.since_seq = e->seq;
	seat->m.since_wall_s = e->wall_s;
	return 0;
}

static int
members_state_not_there(const struct members_entry *e, struct err *err)
{
	char text[DEVID_TEXT_LEN + 1];

	devid_text(&e->device, text);
	return err_set(err, ERR_INVALID, "%s: %s is no member",
	    members_entry_kind_text(e->kind), text);
}

static int
members_state_remove(struct members_state *st, const struct members_entry *e,
    struct err *err)
{
	struct members_seat *seat = members_state_seat(st, &e->device);

	if (seat == NULL)
		return members_state_not_there(e, err);
	map_remove(&st->by_name, slice_str(seat->m.name));
	map_remove(&st->by_id, members_state_key(&seat->m.id));
	members_state_leave(st, &seat->m.id, NULL);
	mem_free(seat);
	return 0;
}

static int
members_state_rename(struct members_state *st, const struct members_entry *e,
    struct err *err)
{
	struct members_seat *seat = members_state_at(st, &e->device);

	if (seat == NULL)
		return members_state_not_there(e, err);
	return members_state_call(st, seat, e->name, err);
}

/* Rules about a device are about it, whatever its ID. */
static void
members_state_rules_follow(struct members_state *st, const struct devid *was,
    const struct devid *now)
{
	for (size_t i = 0; i < st->rule.len; i++) {
		struct members_rule *r = &st->rule.item[i];

		if (devid_equal(&r->from, was))
			r->from = *now;
		if (devid_equal(&r->to, was))
			r->to = *now;
	}
}

static int
members_state_rotate(struct members_state *st, const struct members_entry *e,
    struct err *err)
{
	struct members_seat *seat = members_state_at(st, &e->device);

	if (seat == NULL)
		return members_state_not_there(e, err);
	if (members_state_at(st, &e->other) != NULL)
		return err_set(err, ERR_INVALID,
		    "rotate: the new ID is another member's");
	map_remove(&st->by_id, members_state_key(&e->device));
	/* First who sits, then who left: the new ID may be among the gone. */
	members_state_sit(st, &e->other, seat);
	members_state_leave(st, &e->device, &e->other);
	members_state_rules_follow(st, &e->device, &e->other);
	seat->m.id = e->other;
	seat->m.before = e->device;
	seat->m.before_until_wall_s = e->until_wall_s;
	seat->m.since_seq = e->seq;
	seat->m.since_wall_s = e->wall_s;
	return 0;
}

/* A rule about the same three takes the place of the older one. */
static int
members_state_allow(struct members_state *st, const struct members_entry *e,
    struct err *err)
{
	size_t kept = 0;

	for (size_t i = 0; i < st->rule.len; i++) {
		const struct members_rule *r = &st->rule.item[i];

		if (!devid_equal(&r->from, &e->device) ||
		    !devid_equal(&r->to, &e->other) || r->service != e->service)
			kept++;
	}
	if (kept == st->rule.len && kept == MEMBERS_RULES_MAX)
		return err_set(err, ERR_INVALID, "over %u rules",
		    MEMBERS_RULES_MAX);
	kept = 0;
	for (size_t i = 0; i < st->rule.len; i++) {
		const struct members_rule r = st->rule.item[i];

		if (!devid_equal(&r.from, &e->device) ||
		    !devid_equal(&r.to, &e->other) || r.service != e->service)
			st->rule.item[kept++] = r;
	}
	st->rule.len = kept;
	*VEC_ADD(&st->rule) = (struct members_rule){ .from = e->device,
		.to = e->other,
		.service = e->service,
		.allowed = e->allowed,
		.seq = e->seq };
	return 0;
}

static void
members_state_own(struct members_state *st, const struct members_entry *e)
{
	memcpy(st->owner, e->owner, sizeof(st->owner));
	st->owner_count = e->owner_count;
	st->need = e->need;
}

int
members_state_apply(struct members_state *st, const struct members_entry *e,
    struct err *err)
{
	switch (e->kind) {
	case MEMBERS_FOUND:
		memcpy(st->name, e->name, sizeof(st->name));
		st->recovery = e->recovery;
		members_state_own(st, e);
		return 0;
	case MEMBERS_ADD:
		return members_state_add(st, e, err);
	case MEMBERS_REMOVE:
		return members_state_remove(st, e, err);
	case MEMBERS_RENAME:
		return members_state_rename(st, e, err);
	case MEMBERS_ROTATE:
		return members_state_rotate(st, e, err);
	case MEMBERS_OWNERS:
		members_state_own(st, e);
		return 0;
	case MEMBERS_ALLOW:
		return members_state_allow(st, e, err);
	case MEMBERS_OTHER:
		return 0;
	}
	return 0;
}
