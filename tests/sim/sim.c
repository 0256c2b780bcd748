/*
 * The world.  See sim.h.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/store_mem.h"
#include "wire.h"

#define LATE_TIMES 12u /* delays: an answer that comes late */

const char *const sim_counter_name[COUNTERS] = {
	[COUNT_POWER_LOSS] = "power lost",
	[COUNT_POWER_DIRTY] = "power lost with something not flushed",
	[COUNT_KILL] = "killed",
	[COUNT_KILL_IN_COMMIT] = "killed during a commit",
	[COUNT_KILL_INTENDED] = "killed between exchange and commit",
	[COUNT_KILL_IN_RECOVERY] = "killed during recovery",
	[COUNT_KILL_KEPT] = "killed with old bytes in staging",
	[COUNT_COMMIT_UNDONE] = "a commit lost with the power",
	[COUNT_SYNC_FAILED] = "a flush failed",
	[COUNT_IO_ERROR] = "an effect failed with an I/O error",
	[COUNT_FULL] = "disk full",
	[COUNT_FULL_AT_COMMIT] = "disk full at a commit, intents in it",
	[COUNT_COMMIT_FAILED] = "a commit failed",
	[COUNT_TWO_OF_ONE] = "one version was given two contents",
	[COUNT_COMMIT_FLUSH_FAILED] = "the flush before a commit failed",
	[COUNT_READ_ONLY] = "disk read-only",
	[COUNT_UNMOUNTED] = "disk gone",
	[COUNT_BARE_MOUNT] = "disk gone, its mount point bare",
	[COUNT_INDEX_LOST] = "index lost",
	[COUNT_INDEX_LOST_ALONE] = "index lost while a peer was away",
	[COUNT_INDEX_RESTORED] = "an old index restored",
	[COUNT_ONE_WAY] = "a connection went dark one way",
	[COUNT_CUT_IN_FLIGHT] = "cut with messages in flight",
	[COUNT_HINTS_LOST] = "hints lost",
	[COUNT_CLOCK_BACK] = "a clock jumped back",
	[COUNT_DEVICE_REMOVED] = "a device removed",
	[COUNT_MODE_CHANGED] = "a folder's mode changed",
	[COUNT_IGNORES_CHANGED] = "ignore rules edited",
	[COUNT_CHANGED_AT_ACT] = "a person was faster than an act",
	[COUNT_OPEN_WRITE_KEPT] = "written to after it was taken away",
	[COUNT_CONFLICT] = "a conflict copy",
	[COUNT_FOLDED_CLASH] = "two names that are one on a disk",
	[COUNT_CASE_RENAME] = "renamed by case only",
	[COUNT_TRASHED] = "filed in the trash can",
	[COUNT_BIG_FILE] = "a file of several blocks",
	[COUNT_DIR_MOVED] = "a directory renamed",
	[COUNT_MANY_FLUSHED] = "flushed by syncfs",
	[COUNT_CUT_FRAME] = "a frame came in pieces",
	[COUNT_CUT_IN_FRAME] = "a connection was cut in the middle of a frame",
	[COUNT_PIECES_JOINED] = "pieces of a stream came as one",
	[COUNT_SILENT] = "a peer was given up for its silence",
	[COUNT_TWICE] = "a message came twice",
	[COUNT_REPLAYED] = "an index of an older session came again",
	[COUNT_HELD] = "a device was held",
	[COUNT_CONFIRMED] = "what was held was confirmed",
	[COUNT_THEIR_CONFLICT] = "a Syncthing made a conflict copy",
	[COUNT_LIED] = "a lie was told",
	[COUNT_LIED_BYTES] = "a lie in the bytes of a block",
	[COUNT_LATE] = "an answer of the disk came late",
	[COUNT_CLOCK_ANEW] = "a clock began where it had begun",
	[COUNT_FLUSH_STAGED] = "a flush failed, a temp not flushed",
	[COUNT_ROTATED] = "a device has another ID",
	[COUNT_ROTATED_AWAY] = "a device has another ID, one was off",
};

void
sim_count(struct sim *s, enum rare what)
{
	s->count[what]++;
}

void
sim_mix(struct sim *s, uint64_t v)
{
	s->hash = (s->hash ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	s->hash ^= s->hash >> 29;
}

void
sim_say(struct node *nd, const char *fmt, ...)
{
	va_list ap;

	if (!nd->sim->story)
		return;
	printf("[%10.3f] %s ", (double)nd->sim->now.mono_ns / 1e6, nd->name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* Jobs: a heap by time and order. */

static bool
job_before(const struct job *a, const struct job *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void
heap_swap(struct sim *s, size_t a, size_t b)
{
	struct job *t = s->heap.item[a];

	s->heap.item[a] = s->heap.item[b];
	s->heap.item[b] = t;
}

static void
heap_add(struct sim *s, struct job *job)
{
	size_t i = s->heap.len;

	*VEC_ADD(&s->heap) = job;
	for (; i > 0 && job_before(job, s->heap.item[(i - 1) / 2]);
	     i = (i - 1) / 2)
		heap_swap(s, i, (i - 1) / 2);
}

static struct job *
heap_take(struct sim *s)
{
	struct job *first = s->heap.item[0];
	size_t i = 0;

	s->heap.item[0] = s->heap.item[--s->heap.len];
	for (;;) {
		size_t least = i;

		for (size_t c = 2 * i + 1; c <= 2 * i + 2; c++)
			if (c < s->heap.len &&
			    job_before(s->heap.item[c], s->heap.item[least]))
				least = c;
		if (least == i)
			return first;
		heap_swap(s, i, least);
		i = least;
	}
}

struct job *
sim_job(struct node *nd, enum job_kind kind)
{
	struct job *job = arena_zalloc(&nd->sim->arena, sizeof(*job));

	job->kind = kind;
	job->node = nd->number;
	job->life = nd->life;
	job->order = nd->sim->next_order++;
	return job;
}

static void
job_at(struct node *nd, struct job *job, uint64_t at_ns)
{
	job->at_ns = at_ns;
	if (++nd->jobs > SIM_JOBS_MAX)
		oracle_fault(&nd->sim->oracle, "unbounded: %s has %u jobs",
		    nd->name, nd->jobs);
	heap_add(nd->sim, job);
}

static uint64_t
some_time(struct sim *s)
{
	return s->now.mono_ns + 1000 +
	       choice_weather(&s->choice, s->delay_ns + 1);
}

void
sim_later(struct node *nd, struct job *job)
{
	job_at(nd, job, some_time(nd->sim));
}

/* Longer than what else there is to do at once. */
void
sim_much_later(struct node *nd, struct job *job)
{
	struct sim *s = nd->sim;

	job_at(nd, job,
	    some_time(s) +
		choice_weather(&s->choice, LATE_TIMES * s->delay_ns));
}

/* The network */

uint32_t
sim_node_of(const struct sim *s, const struct devid *id)
{
	for (uint32_t i = 0; i < s->nodes; i++)
		if (devid_equal(&s->node[i].id, id))
			return i;
	return SIM_NODES;
}

bool
sim_is_liar(const struct node *nd)
{
	return nd->ops->lies;
}

uint32_t
sim_features(const struct node *nd, uint32_t other)
{
	const struct node *to = &nd->sim->node[other];

	return nd->ops->features(nd) & to->ops->features(to);
}

void
sim_post(struct node *nd, uint32_t to, int32_t type, struct slice body,
    bool whole)
{
	struct sim *s = nd->sim;
	struct node *other = &s->node[to];
	struct letter *l = arena_zalloc(&s->arena, sizeof(*l));
	struct job *job;
	uint64_t at;

	l->link = nd->link[to];
	l->type = type;
	l->body = body;
	l->whole = whole;
	if (other->last[nd->number] != NULL)
		other->last[nd->number]->next = l;
	else
		other->first[nd->number] = l;
	other->last[nd->number] = l;
	at = some_time(s) + choice_weather(&s->choice, s->lag_ns + 1);
	if (at <= other->last_ns[nd->number])
		at = other->last_ns[nd->number] + 1;
	other->last_ns[nd->number] = at;
	job = sim_job(other, JOB_DELIVER);
	job->from = nd->number;
	job->link = nd->link[to];
	job_at(other, job, at);
}

void
sim_send_raw(struct node *nd, uint32_t to, int32_t type, struct slice body)
{
	struct sim *s = nd->sim;

	s->messages++;
	if (to >= s->nodes || nd->link[to] == 0 ||
	    nd->session[to] != nd->link[to])
		return;
	if (s->bytes)
		wire_send_raw(nd, to, type, body);
	else
		sim_post(nd, to, type, arena_dup(&s->arena, body), true);
}

void
sim_send(struct node *nd, uint32_t to, const struct message *m,
    struct payload *p)
{
	struct buf body = { 0 };

	if (nd->sim->bytes && to < nd->sim->nodes) {
		nd->sim->messages++;
		wire_send(nd, to, m, p);
		return;
	}
	if (m->type == MESSAGE_RESPONSE && p != NULL) {
		struct response rs = m->u.response;

		rs.data = payload_slice(p);
		message_response_prefix(&rs, &body);
		buf_put(&body, rs.data);
	} else {
		message_encode(m, &body);
	}
	payload_free(p);
	sim_send_raw(nd, to, m->type, buf_slice(&body));
	buf_fini(&body);
}

/* What was sent in sessions up to `link` is lost. */
static void
letters_drop(struct node *nd, uint32_t from, uint64_t link)
{
	bool any = false;

	while (nd->first[from] != NULL && nd->first[from]->link <= link) {
		nd->first[from] = nd->first[from]->next;
		any = true;
	}
	if (nd->first[from] == NULL)
		nd->last[from] = NULL;
	if (any)
		sim_count(nd->sim, COUNT_CUT_IN_FLIGHT);
}

/* Of sessions that ended nothing more arrives. */
static struct letter *
letter_take(struct node *nd, uint32_t from, uint64_t link)
{
	struct letter *l;

	while ((l = nd->first[from]) != NULL && l->link <= link) {
		nd->first[from] = l->next;
		if (l->next == NULL)
			nd->last[from] = NULL;
		if (l->link == link && link == nd->session[from])
			return l;
	}
	return NULL;
}

void
sim_tell_peer(struct node *nd, uint32_t other, bool up)
{
	if (nd->told[other] == up)
		return;
	nd->told[other] = up;
	nd->ops->peer(nd, other, up);
}

/* The session that something came in still is. */
static bool
is_heard(const struct node *nd, uint32_t from)
{
	return nd->running && nd->told[from] && nd->link[from] != 0 &&
	       nd->session[from] == nd->link[from];
}

static void
tell_again(struct node *nd, uint32_t from, const struct message *m,
    struct payload *p)
{
	struct message same = *m;

	if (p != NULL)
		same.u.response.data = payload_slice(p);
	sim_count(nd->sim, COUNT_TWICE);
	sim_say(nd, "hears the same %s of %s again", message_name(m->type),
	    nd->sim->node[from].name);
	nd->ops->message(nd, from, &same, p);
}

/* What it says in its index may be kept, for a later session. */
static void
keep_index(struct node *nd, uint32_t from, const struct message *m)
{
	struct buf body = { 0 };

	if (nd->sim->replays == 0 || sim_is_liar(&nd->sim->node[from]) ||
	    (m->type != MESSAGE_INDEX && m->type != MESSAGE_INDEX_UPDATE) ||
	    (nd->old_index[from].ptr != NULL &&
		choice_weather(&nd->sim->choice, 2) != 0))
		return;
	message_encode(m, &body);
	nd->old_index[from] = arena_dup(&nd->sim->arena, buf_slice(&body));
	nd->old_type[from] = m->type;
	nd->old_link[from] = nd->link[from];
	buf_fini(&body);
}

static void
replay(struct node *nd, uint32_t from)
{
	struct sim *s = nd->sim;
	struct message m;
	struct err err = { 0 };

	if (nd->old_index[from].ptr == NULL ||
	    nd->old_link[from] == nd->link[from] ||
	    !choice_strikes(&s->choice, s->replays) ||
	    message_decode(&m, nd->old_type[from], nd->old_index[from],
		&s->arena, &err) < 0)
		return;
	sim_count(s, COUNT_REPLAYED);
	sim_say(nd, "hears an old %s of %s again", message_name(m.type),
	    s->node[from].name);
	nd->ops->message(nd, from, &m, NULL);
}

void
sim_tell_message(struct node *nd, uint32_t from, const struct message *m,
    struct payload *p)
{
	struct payload *copy = NULL;
	const bool again = choice_strikes(&nd->sim->choice, nd->sim->twice);

	if (again && p != NULL) {
		copy = payload_new(p->len);
		memcpy(copy->data, p->data, p->len);
	}
	keep_index(nd, from, m);
	nd->ops->message(nd, from, m, p);
	if (again && is_heard(nd, from))
		tell_again(nd, from, m, copy);
	else
		payload_free(copy);
	if (m->type == MESSAGE_CLUSTER_CONFIG && is_heard(nd, from))
		replay(nd, from);
}

/* As a session does with what came, without one. */
static void
read_letter(struct node *nd, uint32_t from, const struct letter *l)
{
	struct sim *s = nd->sim;
	struct payload *p = NULL;
	struct message m;
	struct err err = { 0 };

	if (message_decode(&m, l->type, l->body, &s->arena, &err) < 0) {
		if (!sim_is_liar(&s->node[from]))
			oracle_fault(&s->oracle, "%s cannot read %s: %s",
			    nd->name, s->node[from].name, err.text);
		sim_disconnect(s, nd->number, from);
		return;
	}
	if (m.type == MESSAGE_UNKNOWN || m.type == MESSAGE_PING)
		return;
	if (m.type == MESSAGE_RESPONSE && m.u.response.data.len > 0) {
		p = payload_new(m.u.response.data.len);
		memcpy(p->data, m.u.response.data.ptr, p->len);
		m.u.response.data = payload_slice(p);
	}
	sim_tell_message(nd, from, &m, p);
}

/* A piece of the stream; at times what is behind it has come, too. */
static void
read_piece(struct node *nd, uint32_t from, const struct letter *l)
{
	const struct letter *next = nd->first[from];
	struct arena *ar = &nd->sim->arena;
	struct slice all = l->body;
	uint8_t *joined;

	if (next != NULL && next->link == l->link &&
	    choice_weather(&nd->sim->choice, 4) == 3) {
		letter_take(nd, from, l->link);
		joined = arena_alloc(ar, l->body.len + next->body.len + 1);
		memcpy(joined, l->body.ptr, l->body.len);
		memcpy(joined + l->body.len, next->body.ptr, next->body.len);
		all = slice_of(joined, l->body.len + next->body.len);
		l = next;
		sim_count(nd->sim, COUNT_PIECES_JOINED);
	}
	wire_came(nd, from, all, l->whole);
}

static void
deliver(struct node *nd, const struct job *job)
{
	struct letter *l;

	if (nd->dark[job->from])
		return; /* the letters stay, and get new jobs when it is light
			 */
	l = letter_take(nd, job->from, job->link);
	if (l == NULL || !nd->running)
		return;
	sim_mix(nd->sim, hash_u64(l->body));
	if (l->type == WIRE_PIECE)
		read_piece(nd, job->from, l);
	else
		read_letter(nd, job->from, l);
}

void
sim_darken(struct sim *s, uint32_t to, uint32_t from, bool dark)
{
	struct node *nd = &s->node[to];

	if (nd->dark[from] == dark)
		return;
	nd->dark[from] = dark;
	if (dark)
		return;
	for (struct letter *l = nd->first[from]; l != NULL; l = l->next) {
		struct job *job = sim_job(nd, JOB_DELIVER);

		job->from = from;
		job->link = l->link;
		nd->last_ns[from] = s->now.mono_ns > nd->last_ns[from]
					? s->now.mono_ns + 1
					: nd->last_ns[from] + 1;
		job_at(nd, job, nd->last_ns[from]);
	}
}

static void
tell_peer(struct sim *s, uint32_t node, uint32_t other, bool up)
{
	struct node *nd = &s->node[node];
	struct job *job = sim_job(nd, JOB_PEER);
	uint64_t at = some_time(s);

	/* One session ends before the next begins. */
	if (at <= nd->told_ns[other])
		at = nd->told_ns[other] + 1;
	nd->told_ns[other] = at;
	job->from = other;
	job->up = up;
	job->link = nd->link[other];
	job_at(nd, job, at);
}

void
sim_connect(struct sim *s, uint32_t a, uint32_t b)
{
	struct node *x = &s->node[a], *y = &s->node[b];

	if (x->link[b] != 0 || !x->running || !y->running || !x->knows[b] ||
	    !y->knows[a])
		return;
	x->link[b] = y->link[a] = ++s->next_link;
	tell_peer(s, a, b, true);
	tell_peer(s, b, a, true);
	/* Nothing arrives before both know. */
	if (y->last_ns[a] < x->told_ns[b])
		y->last_ns[a] = x->told_ns[b];
	if (y->last_ns[a] < y->told_ns[a])
		y->last_ns[a] = y->told_ns[a];
	if (x->last_ns[b] < y->last_ns[a])
		x->last_ns[b] = y->last_ns[a];
}

void
sim_disconnect(struct sim *s, uint32_t a, uint32_t b)
{
	struct node *x = &s->node[a], *y = &s->node[b];

	if (x->link[b] == 0)
		return;
	x->link[b] = y->link[a] = 0;
	x->dark[b] = y->dark[a] = false;
	tell_peer(s, a, b, false);
	tell_peer(s, b, a, false);
}

static void
run_peer(struct node *nd, const struct job *job)
{
	if (!nd->running || (job->up && nd->link[job->from] != job->link))
		return;
	if (job->up == (nd->session[job->from] != 0))
		return;
	/* What of the old session is still on its way gets lost. */
	if (!job->up)
		letters_drop(nd, job->from, nd->session[job->from]);
	nd->session[job->from] = job->up ? job->link : 0;
	sim_say(nd, "session with %s %s", nd->sim->node[job->from].name,
	    job->up ? "begins" : "ends");
	if (!job->up)
		wire_close(nd, job->from);
	if (job->up && nd->sim->bytes)
		wire_open(nd, job->from); /* its Hello tells */
	else
		sim_tell_peer(nd, job->from, job->up);
}

static void
end_session(struct sim *s, uint32_t node, uint32_t other)
{
	const struct job down = { .from = other };

	run_peer(&s->node[node], &down);
}

bool
sim_rotate(struct sim *s, uint32_t node)
{
	struct node *nd = &s->node[node];

	if (s->formers == SIM_FORMERS)
		return false;
	for (uint32_t i = 0; i < s->nodes; i++) {
		if (i == node)
			continue;
		sim_disconnect(s, node, i);
		end_session(s, node, i);
		end_session(s, i, node);
		if (!s->node[i].running)
			sim_count(s, COUNT_ROTATED_AWAY);
	}
	s->former[s->formers++] = (struct sim_former){ nd->id, node };
	/* Another short ID, too. */
	nd->id.b[0] = (uint8_t)(nd->id.b[0] + s->formers);
	sim_count(s, COUNT_ROTATED);
	sim_say(nd, "has another ID");
	return true;
}

/* Hints */

void
sim_hint(struct sim *s, uint32_t node, struct slice path, struct slice other,
    bool subtree)
{
	struct node *nd = &s->node[node];
	struct job *job;

	if (!nd->running || !nd->watches)
		return;
	job = sim_job(nd, JOB_HINT);
	job->hint[0].path = arena_dup(&s->arena, path);
	job->hint[0].subtree = job->hint[1].subtree = subtree;
	job->hint_count = 1;
	if (other.len > 0) {
		job->hint[1].path = arena_dup(&s->arena, other);
		job->hint_count = 2;
	}
	if (choice_strikes(&s->choice, s->lost_hints)) {
		job->hint_count = 0;
		job->overflow = true;
		sim_count(s, COUNT_HINTS_LOST);
	}
	job_at(nd, job, some_time(s));
}

/* Time */

struct now
sim_now(const struct node *nd)
{
	struct now now = nd->sim->now;
	const int64_t since = (int64_t)(now.mono_ns / CLOCK_MS);

	now.wall_ns += nd->clock_ns + since * nd->drift_ppm;
	return now;
}

static struct node *
first_to_wake(struct sim *s)
{
	struct node *best = NULL;

	for (uint32_t i = 0; i < s->nodes; i++) {
		struct node *nd = &s->node[i];

		if (nd->running && nd->wake_at_ns != CLOCK_NEVER &&
		    (best == NULL || nd->wake_at_ns < best->wake_at_ns))
			best = nd;
	}
	return best;
}

static void
set_time(struct sim *s, uint64_t mono_ns)
{
	if (mono_ns <= s->now.mono_ns)
		return;
	s->now.wall_ns += (int64_t)(mono_ns - s->now.mono_ns);
	s->now.mono_ns = mono_ns;
}

static void
run_job(struct sim *s, struct job *job)
{
	struct node *nd = &s->node[job->node];

	nd->jobs--;
	if (job->life != nd->life && job->kind != JOB_DELIVER)
		return;
	vdisk_set_time(nd->disk, sim_now(nd).wall_ns);
	switch (job->kind) {
	case JOB_EFFECT:
		nd->ops->effect(nd, job);
		break;
	case JOB_ANSWER:
		nd->ops->answer(nd, job);
		break;
	case JOB_DELIVER:
		deliver(nd, job);
		break;
	case JOB_PEER:
		run_peer(nd, job);
		break;
	case JOB_HINT:
		nd->ops->hints(nd, job);
		break;
	}
}

/* The next thing at or before `until`; false when there is none. */
static bool
step_until(struct sim *s, uint64_t until)
{
	struct node *nd = first_to_wake(s);
	struct job *job = s->heap.len > 0 ? s->heap.item[0] : NULL;

	/* Pings are no work to wait for: they go out as time goes by. */
	if (s->wire_at_ns <= s->now.mono_ns) {
		wire_tick(s);
		job = s->heap.len > 0 ? s->heap.item[0] : NULL;
	}

	if (job != NULL && job->at_ns <= until &&
	    (nd == NULL || job->at_ns <= nd->wake_at_ns)) {
		heap_take(s);
		set_time(s, job->at_ns);
		sim_mix(s, job->order ^ (uint64_t)job->kind << 60);
		run_job(s, job);
	} else if (nd != NULL && nd->wake_at_ns <= until) {
		set_time(s, nd->wake_at_ns);
		sim_mix(s, nd->wake_at_ns ^ nd->number);
		nd->ops->tick(nd);
	} else {
		return false;
	}
	s->events++;
	oracle_check(&s->oracle);
	return s->oracle.why[0] == '\0';
}

bool
sim_step(struct sim *s)
{
	return step_until(s, s->now.mono_ns + SIM_FAR_NS);
}

void
sim_run(struct sim *s, uint64_t ns)
{
	const uint64_t until = s->now.mono_ns + ns;

	for (;;) {
		const uint64_t at =
		    s->wire_at_ns < until ? s->wire_at_ns : until;

		while (step_until(s, at))
			;
		if (s->wire_at_ns > until || s->oracle.why[0] != '\0')
			break;
		set_time(s, s->wire_at_ns);
		wire_tick(s);
	}
	set_time(s, until);
}

/* Devices */

void
sim_start(struct sim *s, uint32_t node)
{
	struct node *nd = &s->node[node];

	if (nd->running)
		return;
	sim_say(nd, "starts");
	nd->running = true;
	nd->life++;
	VEC_CLEAR(&nd->taken);
	nd->ops->start(nd);
}

static void
stop_counts(struct sim *s, struct node *nd, bool power)
{
	sim_count(s, power ? COUNT_POWER_LOSS : COUNT_KILL);
	if (power && !vdisk_is_flushed(nd->disk))
		sim_count(s, COUNT_POWER_DIRTY);
	if (power && store_pending(nd->store) > 0)
		sim_count(s, COUNT_COMMIT_UNDONE);
	if (store_mem_is_committing(nd->store))
		sim_count(s, COUNT_KILL_IN_COMMIT);
}

/* What was being done on the disk is done, or not. */
static void
abandon_all(struct sim *s, struct node *nd, bool maybe)
{
	for (size_t i = 0; i < s->heap.len; i++) {
		struct job *job = s->heap.item[i];

		if (job->node != nd->number || job->life != nd->life ||
		    (job->kind != JOB_EFFECT && job->kind != JOB_ANSWER))
			continue;
		nd->ops->abandon(nd, job,
		    maybe && job->kind == JOB_EFFECT &&
			choice_weather(&s->choice, 2) != 0);
		job->life = 0;
	}
}

void
sim_stop(struct sim *s, uint32_t node, bool power)
{
	struct node *nd = &s->node[node];

	if (!nd->running)
		return;
	stop_counts(s, nd, power);
	for (uint32_t i = 0; i < s->nodes; i++)
		if (i != node)
			sim_disconnect(s, node, i);
	sim_say(nd, power ? "loses its power" : "is killed");
	nd->ops->stop(nd, power);
	abandon_all(s, nd, true);
	store_mem_crash(nd->store);
	nd->running = false;
	nd->life++;
	nd->wake_at_ns = CLOCK_NEVER;
	memset(nd->session, 0, sizeof(nd->session));
	memset(nd->told, 0, sizeof(nd->told));
	for (uint32_t i = 0; i < s->nodes; i++) {
		letters_drop(nd, i, UINT64_MAX);
		wire_close(nd, i);
	}
	if (power)
		vdisk_power_loss(nd->disk);
}

void
sim_add(struct sim *s, const struct node_ops *ops,
    const struct vdisk_make *make)
{
	struct node *nd = &s->node[s->nodes];
	struct vdisk_make mk = *make;

	ASSERT(s->nodes < SIM_NODES);
	nd->ops = ops;
	nd->sim = s;
	nd->number = s->nodes++;
	nd->name[0] = (char)('A' + nd->number);
	memset(nd->id.b, (int)(nd->number + 1) * 16, sizeof(nd->id.b));
	mk.number = nd->number + 1;
	mk.arena = &s->arena;
	mk.choice = &s->choice;
	mk.oracle = &s->oracle;
	nd->disk = vdisk_new(&mk);
	nd->store = store_mem_new();
	nd->wake_at_ns = CLOCK_NEVER;
	nd->watches = true;
}

void
sim_init(struct sim *s, const uint8_t *byte, size_t len)
{
	memset(s, 0, sizeof(*s));
	choice_init(&s->choice, byte, len);
	oracle_init(&s->oracle, &s->arena);
	s->now.mono_ns = CLOCK_S;
	s->now.wall_ns = SIM_WALL_NS;
	s->delay_ns = CLOCK_MS;
	s->wire_at_ns = UINT64_MAX;
}

void
sim_fini(struct sim *s)
{
	for (uint32_t i = 0; i < s->nodes; i++) {
		abandon_all(s, &s->node[i], false);
		for (uint32_t k = 0; k < s->nodes; k++)
			wire_close(&s->node[i], k);
		VEC_FINI(&s->node[i].taken);
		s->node[i].ops->free(&s->node[i]);
		vdisk_free(s->node[i].disk);
		store_mem_free(s->node[i].store);
	}
	VEC_FINI(&s->heap);
	oracle_fini(&s->oracle);
	arena_fini(&s->arena);
}
