/*
 * Channels; see forward.h.
 *
 *   ASKED --accept--> open --END of one--> half --END of the other--> over
 *     \--RESET-->  over  <--RESET--/
 */
#include "mesh/forward.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define FORWARD_GRANT ((uint32_t)LIMIT_FORWARD_WINDOW)

void
forward_init(struct forward *f)
{
	*f = (struct forward){ 0 };
	list_init(&f->channel);
}

struct forward_channel *
forward_first(const struct forward *f)
{
	struct list_node *node = list_first(&f->channel);

	return node != NULL ? LIST_ITEM(node, struct forward_channel, node)
			    : NULL;
}

struct forward_channel *
forward_next(const struct forward *f, const struct forward_channel *ch)
{
	struct list_node *node = list_next(&f->channel, &ch->node);

	return node != NULL ? LIST_ITEM(node, struct forward_channel, node)
			    : NULL;
}

void
forward_fini(struct forward *f)
{
	struct forward_channel *ch;

	while ((ch = forward_first(f)) != NULL)
		forward_drop(f, ch);
}

struct forward_channel *
forward_find(const struct forward *f, bool own, uint64_t number)
{
	/* At most twice LIMIT_FORWARD_CHANNELS of them. */
	for (struct forward_channel *ch = forward_first(f); ch != NULL;
	     ch = forward_next(f, ch))
		if (ch->own == own && ch->number == number)
			return ch;
	return NULL;
}

static struct forward_channel *
forward_add(struct forward *f, bool own, uint64_t number)
{
	struct forward_channel *ch = mem_zalloc(sizeof(*ch));

	ch->own = own;
	ch->number = number;
	list_add(&f->channel, &ch->node);
	f->count[own]++;
	f->last[own] = number;
	return ch;
}

void
forward_drop(struct forward *f, struct forward_channel *ch)
{
	ASSERT(f->count[ch->own] > 0);
	f->count[ch->own]--;
	list_remove(&f->channel, &ch->node);
	mem_free(ch);
}

static void
forward_word(const struct forward_channel *ch, enum forward_word word,
    struct forward_message *out)
{
	*out = (struct forward_message){ .word = word,
		.channel = ch->number,
		.own = ch->own };
}

/* --- what comes ---------------------------------------------------------- */

static enum forward_event
forward_wrong(const struct forward_message *m, const char *what,
    struct err *err)
{
	err_set(err, ERR_PROTOCOL, "carried connection %llu: %s",
	    (unsigned long long)m->channel, what);
	return FORWARD_WRONG;
}

static enum forward_event
forward_take_open(struct forward *f, const struct forward_message *m,
    struct forward_channel **ch, struct forward_message *out, struct err *err)
{
	if (!m->own || m->channel <= f->last[false])
		return forward_wrong(m, "its number is not a new one", err);
	if (m->credit > INT32_MAX)
		return forward_wrong(m, "too much credit", err);
	if (m->port == 0 || m->port > UINT16_MAX)
		return forward_wrong(m, "no port", err);
	if (f->count[false] >= LIMIT_FORWARD_CHANNELS) {
		f->last[false] = m->channel;
		*out = (struct forward_message){ .word = FORWARD_WORD_RESET,
			.channel = m->channel,
			.code = FORWARD_BUSY };
		return FORWARD_FULL;
	}
	*ch = forward_add(f, false, m->channel);
	(*ch)->room = m->credit;
	return FORWARD_ASKED;
}

static enum forward_event
forward_take_accept(struct forward_channel *ch, const struct forward_message *m,
    struct err *err)
{
	if (!ch->own || ch->open)
		return forward_wrong(m, "accepted, and not asked for", err);
	if (m->credit > INT32_MAX)
		return forward_wrong(m, "too much credit", err);
	ch->open = true;
	ch->room = m->credit;
	return FORWARD_ACCEPTED;
}

static enum forward_event
forward_take_data(struct forward_channel *ch, const struct forward_message *m,
    struct err *err)
{
	if (ch->end_came)
		return forward_wrong(m, "data after its end", err);
	if (m->data.len == 0)
		return forward_wrong(m, "data without a byte", err);
	/* Nothing is granted before it is open. */
	if (!ch->open || m->data.len > ch->granted)
		return forward_wrong(m, "data without credit", err);
	ch->granted -= (uint32_t)m->data.len;
	return FORWARD_CAME;
}

static enum forward_event
forward_take_credit(struct forward_channel *ch, const struct forward_message *m,
    struct err *err)
{
	if (!ch->open)
		return forward_wrong(m, "credit before it is open", err);
	if (m->credit == 0 || m->credit > INT32_MAX - ch->room)
		return forward_wrong(m, "credit of nothing or too much", err);
	ch->room += m->credit;
	return ch->ended ? FORWARD_NOTHING : FORWARD_ROOM;
}

static enum forward_event
forward_take_end(struct forward_channel *ch, const struct forward_message *m,
    struct err *err)
{
	if (!ch->open || ch->end_came)
		return forward_wrong(m, "an end where none can be", err);
	ch->end_came = true;
	return FORWARD_ENDED;
}

enum forward_event
forward_take(struct forward *f, const struct forward_message *m,
    struct forward_channel **ch, struct forward_message *out, struct err *err)
{
	/* What is its own is not ours. */
	const bool own = !m->own;

	*ch = NULL;
	if (m->word < FORWARD_WORD_OPEN || m->word > FORWARD_WORD_RESET)
		return FORWARD_NOTHING;
	if (m->word == FORWARD_WORD_OPEN)
		return forward_take_open(f, m, ch, out, err);
	if (m->channel == 0 || m->channel > f->last[own])
		return forward_wrong(m, "there never was such a one", err);
	*ch = forward_find(f, own, m->channel);
	if (*ch == NULL)
		return FORWARD_NOTHING;
	if (m->word == FORWARD_WORD_ACCEPT)
		return forward_take_accept(*ch, m, err);
	if (m->word == FORWARD_WORD_DATA)
		return forward_take_data(*ch, m, err);
	if (m->word == FORWARD_WORD_CREDIT)
		return forward_take_credit(*ch, m, err);
	if (m->word == FORWARD_WORD_END)
		return forward_take_end(*ch, m, err);
	return FORWARD_BROKEN;
}

/* --- what goes ----------------------------------------------------------- */

struct forward_channel *
forward_open(struct forward *f, uint16_t port, struct forward_message *out)
{
	struct forward_channel *ch;

	if (f->count[true] >= LIMIT_FORWARD_CHANNELS)
		return NULL;
	ch = forward_add(f, true, f->last[true] + 1);
	ch->granted = FORWARD_GRANT;
	forward_word(ch, FORWARD_WORD_OPEN, out);
	out->port = port;
	out->credit = FORWARD_GRANT;
	return ch;
}

void
forward_accept(struct forward_channel *ch, struct forward_message *out)
{
	ASSERT(!ch->own && !ch->open);
	ch->open = true;
	ch->granted = FORWARD_GRANT;
	forward_word(ch, FORWARD_WORD_ACCEPT, out);
	out->credit = FORWARD_GRANT;
}

uint32_t
forward_room(const struct forward_channel *ch)
{
	if (!ch->open || ch->ended)
		return 0;
	return ch->room < LIMIT_FORWARD_DATA ? ch->room
					     : (uint32_t)LIMIT_FORWARD_DATA;
}

void
forward_data(struct forward_channel *ch, struct slice data,
    struct forward_message *out)
{
	ASSERT(data.len > 0 && data.len <= forward_room(ch));
	ch->room -= (uint32_t)data.len;
	forward_word(ch, FORWARD_WORD_DATA, out);
	out->data = data;
}

void
forward_end(struct forward_channel *ch, struct forward_message *out)
{
	ASSERT(ch->open && !ch->ended);
	ch->ended = true;
	forward_word(ch, FORWARD_WORD_END, out);
}

bool
forward_taken(struct forward_channel *ch, uint32_t n,
    struct forward_message *out)
{
	ch->taken += n;
	ASSERT(ch->taken <= FORWARD_GRANT - ch->granted);
	/* Half a window at a time: few words, and the sender never waits. */
	if (ch->end_came || ch->taken < FORWARD_GRANT / 2)
		return false;
	forward_word(ch, FORWARD_WORD_CREDIT, out);
	out->credit = ch->taken;
	ch->granted += ch->taken;
	ch->taken = 0;
	return true;
}

bool
forward_is_over(const struct forward_channel *ch)
{
	return ch->ended && ch->end_came;
}

void
forward_reset(const struct forward_channel *ch, enum forward_code code,
    struct forward_message *out)
{
	forward_word(ch, FORWARD_WORD_RESET, out);
	out->code = code;
}

const char *
forward_code_text(uint32_t code)
{
	switch (code) {
	case FORWARD_CLOSED:
		return "closed";
	case FORWARD_DENIED:
		return "denied";
	case FORWARD_NOBODY:
		return "nobody";
	case FORWARD_BUSY:
		return "busy";
	default:
		return "failed";
	}
}
