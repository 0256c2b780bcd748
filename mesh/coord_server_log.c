/*
 * The coordinator's logs: entries that come, and who has to hear of them; see
 * coord_server.h.
 */
#include <stdio.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/coord_server_impl.h"
#include "mesh/members_entry.h"

/* Entries that go out together, while their numbers follow one another. */
struct server_run {
	VEC(struct slice) entry;
	uint64_t seq;
};

/* All of a run, as messages in the effects' arena. */
static struct slice
server_run_bytes(struct coord_server *s, const struct server_run *run)
{
	struct coord_message m = { .type = COORD_ENTRIES };
	size_t n;

	buf_clear(&s->scratch);
	for (size_t at = 0; at < run->entry.len; at += n) {
		n = coord_entries_fit(run->entry.item + at,
		    run->entry.len - at);
		m.u.entries.seq = run->seq + at;
		m.u.entries.entry = run->entry.item + at;
		m.u.entries.count = n;
		coord_encode(&m, &s->scratch);
	}
	return arena_dup(&s->arena, buf_slice(&s->scratch));
}

/* To everybody of that domain who is here, or to `only`. */
static void
server_run_flush(struct coord_server *s, const struct server_domain *d,
    struct server_run *run, struct coord_server_guest *only)
{
	struct slice bytes;

	if (run->entry.len == 0)
		return;
	bytes = server_run_bytes(s, run);
	VEC_CLEAR(&run->entry);
	if (only != NULL) {
		coord_server_send_bytes(s, only, bytes);
		return;
	}
	for (const struct map_item *it = NULL;
	     (it = map_next(&d->node, it)) != NULL;) {
		const struct server_node *n = it->value;

		s->visits++;
		if (n->guest != NULL)
			coord_server_send_bytes(s, n->guest, bytes);
	}
}

static void
server_run_add(struct coord_server *s, const struct server_domain *d,
    struct server_run *run, uint64_t seq, struct slice entry,
    struct coord_server_guest *only)
{
	if (run->entry.len > 0 && run->seq + run->entry.len != seq)
		server_run_flush(s, d, run, only);
	if (run->entry.len == 0)
		run->seq = seq;
	*VEC_ADD(&run->entry) = entry;
}

/* Is it on our log with that entry as its last? */
static bool
server_is_on_log(const struct members *ms, uint64_t seq, const uint8_t head[32])
{
	struct members_entry e;

	return seq == 0 ||
	       (members_entry_decode(&e, members_entry(ms, seq), NULL) == 0 &&
		   slice_equal(slice_of(e.digest.b, DIGEST_LEN),
		       slice_of(head, 32)));
}

static void
server_send_kept(struct coord_server *s, struct coord_server_guest *g,
    const struct server_domain *d)
{
	struct server_run run = { 0 };
	struct slice entry;
	uint64_t seq = 0;

	for (size_t i = 0; (entry = members_kept(d->members, i, &seq)).len > 0;
	     i++)
		server_run_add(s, d, &run, seq, entry, g);
	server_run_flush(s, d, &run, g);
	VEC_FINI(&run.entry);
}

/* With branches beside the log, who knows which of them it has: all then. */
void
coord_server_send_lacking(struct coord_server *s, struct coord_server_guest *g,
    const struct server_domain *d, uint64_t seq, const uint8_t head[32])
{
	const struct members *ms = d->members;
	const uint64_t have = members_seq(ms);
	struct server_run run = { 0 };
	uint64_t side;

	if (members_kept(ms, have, &side).len > 0) {
		uint8_t ours[32];

		members_head(ms, ours);
		if (seq == have &&
		    slice_equal(slice_of(ours, 32), slice_of(head, 32)))
			return;
		server_send_kept(s, g, d);
		return;
	}
	/* Who has more brings it; if that does not follow, it gets all. */
	if (seq <= have && !server_is_on_log(ms, seq, head))
		seq = 0;
	for (uint64_t i = seq + 1; i <= have; i++)
		server_run_add(s, d, &run, i, members_entry(ms, i), g);
	server_run_flush(s, d, &run, g);
	VEC_FINI(&run.entry);
}

/* --- entries that come ------------------------------------------------ */

static void
server_note_entry(struct coord_server *s, const struct coord_server_guest *g,
    const struct server_domain *d, struct slice entry, bool lost)
{
	char text[2 * COORD_TEXT_MAX],
	    device[DEVID_TEXT_LEN + 1] = "", by[DEVID_TEXT_LEN + 1] = "",
				    now[DEVID_TEXT_LEN + 1] = "";
	struct members_entry e;

	if (members_entry_decode(&e, entry, NULL) < 0)
		return;
	if (!devid_is_none(&e.device))
		devid_text(&e.device, device);
	if (!devid_is_none(&e.by))
		devid_text(&e.by, by);
	if (e.kind == MEMBERS_ROTATE)
		devid_text(&e.other, now);
	snprintf(text, sizeof(text), "entry %llu%s%s%s%s%s%s%s%s%s",
	    (unsigned long long)e.seq, device[0] != '\0' ? " " : "", device,
	    now[0] != '\0' ? " is now " : "", now, e.name[0] != '\0' ? " " : "",
	    e.name, by[0] != '\0' ? " signed at " : "", by,
	    lost ? " (beside the log)" : "");
	coord_server_note(s, g, &d->id, members_entry_kind_text(e.kind), text);
}

static bool
server_take_one(struct coord_server *s, struct coord_server_guest *g,
    struct server_domain *d, uint64_t seq, struct slice entry,
    struct server_run *fresh, struct now now)
{
	struct coord_server_effect *ef;
	enum members_verdict v;
	struct err err = { 0 };

	if (seq > LIMIT_COORD_LOG ||
	    d->bytes + entry.len > LIMIT_COORD_LOG_LEN) {
		coord_server_refuse(s, g, COORD_ENTRIES, COORD_TOO_MUCH, NULL);
		return false;
	}
	v = members_take(d->members, seq, entry, &err);
	switch (v) {
	case MEMBERS_KNOWN:
		return true;
	case MEMBERS_GAP:
		coord_server_refuse(s, g, COORD_ENTRIES, COORD_BEHIND,
		    "entries before these are missing");
		server_send_kept(s, g, d);
		return false;
	case MEMBERS_INVALID:
		coord_server_note_refusal(s, g, "refuse-entry", err.text, now);
		coord_server_refuse(s, g, COORD_ENTRIES, COORD_BAD_ENTRY,
		    err.text);
		g->vain++;
		return false;
	case MEMBERS_LOST:
		coord_server_refuse(s, g, COORD_ENTRIES, COORD_BEHIND, NULL);
		server_send_kept(s, g, d);
		break;
	case MEMBERS_ADDED:
	case MEMBERS_FORK:
		break;
	}
	entry = arena_dup(&s->arena, entry);
	d->bytes += entry.len;
	ef = coord_server_effect(s, COORD_SERVER_KEEP, NULL);
	ef->domain = d->id;
	ef->seq = seq;
	ef->bytes = entry;
	server_note_entry(s, g, d, entry, v == MEMBERS_LOST);
	server_run_add(s, d, fresh, seq, entry, NULL);
	return true;
}

void
coord_server_take(struct coord_server *s, struct coord_server_guest *g,
    struct server_domain *d, uint64_t seq, const struct slice *entry,
    size_t count, struct now now)
{
	struct server_run fresh = { 0 };
	const uint64_t sends = s->effect.len;

	for (size_t i = 0; i < count; i++)
		if (!server_take_one(s, g, d, seq + i, entry[i], &fresh, now))
			break;
	server_run_flush(s, d, &fresh, NULL);
	VEC_FINI(&fresh.entry);
	if (g->vain >= LIMIT_COORD_VAIN)
		coord_server_drop(s, g, COORD_BAD_ENTRY, true, now);
	if (s->effect.len > sends)
		coord_server_recheck(s, d, now);
}

void
coord_server_take_all(struct coord_server *s, struct coord_server_guest *g,
    struct server_domain *d, const struct members *from, struct now now)
{
	struct server_run fresh = { 0 };
	struct slice entry;
	uint64_t seq = 0;

	for (size_t i = 0; (entry = members_kept(from, i, &seq)).len > 0; i++)
		if (!server_take_one(s, g, d, seq, entry, &fresh, now))
			break;
	server_run_flush(s, d, &fresh, NULL);
	VEC_FINI(&fresh.entry);
	coord_server_recheck(s, d, now);
}
