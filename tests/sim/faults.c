/*
 * What breaks: power, processes, disks, clocks, the network, indexes and
 * configurations; and how all of it is mended.
 */
#include <string.h>

#include "engine/store_mem.h"
#include "history.h"

#define MIDWAY_PATIENCE 300u
#define MIDWAY_STEPS 12u
#define MIDWAY_POWER_STEPS 4u
/* A clock without battery begins so long before histories do. */
#define BEFORE_NS CLOCK_HOUR
#define BEFORE_SOME_S 36000u /* ... and some, each time another */

static uint32_t
pick(struct history *h, uint32_t n)
{
	return choice_below(&h->sim.choice, n);
}

/* The network */

static bool
has_link(const struct history *h, uint32_t a, uint32_t b)
{
	const uint32_t n = h->sim.nodes;
	const uint32_t lo = a < b ? a : b, hi = a < b ? b : a;

	switch (h->set.shape) {
	case SHAPE_MESH:
		return true;
	case SHAPE_CHAIN:
		return lo + 1 == hi;
	case SHAPE_RING:
		return lo + 1 == hi || (lo == 0 && hi == n - 1);
	case SHAPE_STAR:
		return lo == 0;
	}
	return true;
}

void
faults_connect(struct history *h)
{
	for (uint32_t a = 0; a < h->sim.nodes; a++)
		for (uint32_t b = 0; b < a; b++)
			if (has_link(h, a, b) && !h->cut[a][b])
				sim_connect(&h->sim, b, a);
}

static void
cut(struct history *h, uint32_t a, uint32_t b)
{
	const bool on = !h->cut[a][b];

	h->cut[a][b] = h->cut[b][a] = on;
	sim_say(&h->sim.node[a], "%s %s", on ? "is cut from" : "joins",
	    h->sim.node[b].name);
	if (on)
		sim_disconnect(&h->sim, a, b);
}

static void
darken(struct history *h, uint32_t a, uint32_t b)
{
	struct node *nd = &h->sim.node[a];

	if (nd->link[b] == 0)
		return;
	if (!nd->dark[b])
		sim_count(&h->sim, COUNT_ONE_WAY);
	sim_darken(&h->sim, a, b, !nd->dark[b]);
	sim_say(nd, "hears %s of %s", nd->dark[b] ? "nothing more" : "again",
	    h->sim.node[b].name);
}

/* Processes and power */

/* Nothing keeps its time while it is off. */
static void
clock_anew(struct history *h, uint32_t node)
{
	struct node *nd = &h->sim.node[node];

	if (!h->set.no_battery)
		return;
	nd->clock_ns = SIM_WALL_NS - h->sim.now.wall_ns;
	if (!h->set.same_second)
		nd->clock_ns -=
		    (int64_t)(BEFORE_NS +
			      CLOCK_S * choice_weather(&h->sim.choice,
					    BEFORE_SOME_S));
	nd->drift_ppm = 0;
	sim_count(&h->sim, COUNT_CLOCK_ANEW);
	sim_say(nd, "has its clock as it was in the beginning");
}

static void
stop(struct history *h, uint32_t node, bool power)
{
	sim_stop(&h->sim, node, power);
	if (!power)
		return;
	h->open[node] = NULL;
	clock_anew(h, node);
}

/*
 * Has it begun what is not done: an intent, a commit, old bytes in staging?  To
 * the power it matters only until it is flushed.
 */
static bool
is_midway(const struct node *nd, bool power)
{
	if (power && vdisk_is_flushed(nd->disk))
		return false;
	return store_mem_count(nd->store, STORE_INTENT) > 0 ||
	       store_mem_is_committing(nd->store) || vdisk_has_kept(nd->disk);
}

/* Some steps after something began; false: nothing did. */
static bool
wait_midway(struct history *h, uint32_t node, bool power)
{
	struct sim *s = &h->sim;
	uint32_t patience = MIDWAY_PATIENCE, steps;

	while (!is_midway(&s->node[node], power))
		if (patience-- == 0 || !sim_step(s))
			return false;
	steps = (uint32_t)choice_weather(&s->choice,
	    power ? MIDWAY_POWER_STEPS : MIDWAY_STEPS);
	while (steps-- > 0 && sim_step(s))
		;
	return true;
}

static void
crash_now(struct history *h, uint32_t node, bool power, uint32_t again)
{
	struct sim *s = &h->sim;

	stop(h, node, power);
	/* At times it starts at once, and once more while it mends. */
	while (again-- > 1) {
		uint32_t steps = pick(h, 24);

		sim_start(s, node);
		while (steps-- > 0 && sim_step(s))
			;
		stop(h, node, power);
	}
	if (pick(h, 2) == 0)
		sim_start(s, node);
}

/*
 * Most of the time nothing is under way, and a crash says little: three
 * of four wait until names are being changed because of what a person did.
 */
static void
crash(struct history *h, uint32_t node, bool power)
{
	const uint32_t again = pick(h, 4);

	if (!h->sim.node[node].running)
		sim_start(&h->sim, node);
	else if (choice_weather(&h->sim.choice, 4) == 0)
		crash_now(h, node, power, again);
	else
		h->due[node] = power ? CRASH_POWER : CRASH_KILL;
}

/* A disk that could not flush loses its power, too: what did it hold? */
static void
strike_the_hurt(struct history *h, uint32_t node)
{
	struct node *nd = &h->sim.node[node];

	if (!nd->hurt)
		return;
	nd->hurt = false;
	if (h->set.power && h->due[node] == CRASH_NONE)
		h->due[node] = CRASH_POWER;
}

void
faults_strike(struct history *h)
{
	for (uint32_t i = 0; i < h->sim.nodes; i++) {
		enum crash what;

		strike_the_hurt(h, i);
		what = h->due[i];
		if (what == CRASH_NONE || !h->sim.node[i].running ||
		    !wait_midway(h, i, what == CRASH_POWER))
			continue;
		h->due[i] = CRASH_NONE;
		crash_now(h, i, what == CRASH_POWER, pick(h, 4));
		faults_connect(h);
	}
}

/* Disks */

static void
disk(struct history *h, uint32_t node)
{
	struct node *nd = &h->sim.node[node];
	struct vdisk *dk = nd->disk;
	const uint32_t what = pick(h, 8);

	if (what < 2 && h->set.full) {
		vdisk_set_room(dk, vdisk_used(dk) + (int64_t)pick(h, 30));
		sim_say(nd, "has a full disk");
	} else if (what < 3 && h->set.full) {
		vdisk_set_room(dk, INT64_MAX);
		sim_say(nd, "has room");
	} else if (what < 5 && h->set.read_only) {
		vdisk_set_read_only(dk, vdisk_is_writable(dk));
		sim_say(nd, "has a disk that is %s",
		    vdisk_is_writable(dk) ? "writable" : "read-only");
	} else if (h->set.away) {
		const bool here = vdisk_is_here(dk);
		const bool bare = pick(h, 2) != 0;

		vdisk_set_away(dk, !here  ? VDISK_HERE
				   : bare ? VDISK_BARE
					  : VDISK_GONE);
		if (here)
			sim_count(&h->sim,
			    bare ? COUNT_BARE_MOUNT : COUNT_UNMOUNTED);
		sim_say(nd, "%s",
		    !here  ? "has its disk back"
		    : bare ? "has a bare mount point"
			   : "has lost its disk");
		h->open[node] = NULL;
	}
}

/* Indexes */

static struct store *
store_copy(struct store *st)
{
	struct store *copy = store_mem_new();
	struct arena ar = { 0 };

	for (enum store_table t = 0; t < STORE_TABLES; t++) {
		struct slice key = SLICE_EMPTY, value;

		while (store_next(st, t, key, key.len > 0, &key, &value, &ar))
			store_put(copy, t, key, value);
	}
	store_mem_commit(copy);
	arena_fini(&ar);
	return copy;
}

static bool
is_peer_away(const struct history *h, uint32_t node)
{
	for (uint32_t i = 0; i < h->sim.nodes; i++)
		if (i != node && has_link(h, i, node) &&
		    h->sim.node[i].link[node] == 0)
			return true;
	return false;
}

/* Numbers of another index say nothing of this one, and no message tells of
 * which it is: only a session's ClusterConfig does. */
static void
forget_replays(struct history *h, uint32_t node)
{
	for (uint32_t i = 0; i < h->sim.nodes; i++)
		h->sim.node[i].old_index[node] = SLICE_EMPTY;
}

static void
forget(struct history *h, uint32_t node)
{
	struct node *nd = &h->sim.node[node];

	sim_count(&h->sim, COUNT_INDEX_LOST);
	if (is_peer_away(h, node))
		sim_count(&h->sim, COUNT_INDEX_LOST_ALONE);
	stop(h, node, false);
	sim_say(nd, "loses its index");
	store_mem_free(nd->store);
	nd->store = store_mem_new();
	h->amnesia = true;
	forget_replays(h, node);
	/* Counters are seconds: nobody loses an index and is back in one. */
	sim_run(&h->sim, 2 * CLOCK_S);
	clock_anew(h, node);
	/* Whose machine is set up anew goes on working on it. */
	if (h->set.no_battery && choice_weather(&h->sim.choice, 2) != 0)
		people_work_on(h, node);
	if (choice_weather(&h->sim.choice, 2) == 0)
		sim_start(&h->sim, node);
}

static void
restore(struct history *h, uint32_t node)
{
	struct node *nd = &h->sim.node[node];

	if (h->backup[node] == NULL) {
		stop(h, node, false);
		h->backup[node] = store_copy(nd->store);
		sim_say(nd, "has its index backed up");
	} else {
		sim_count(&h->sim, COUNT_INDEX_RESTORED);
		stop(h, node, false);
		store_mem_free(nd->store);
		nd->store = h->backup[node];
		h->backup[node] = NULL;
		h->amnesia = true;
		forget_replays(h, node);
		sim_say(nd, "has its old index again");
		sim_run(&h->sim, 2 * CLOCK_S);
	}
	sim_start(&h->sim, node);
}

/* Clocks */

static void
clock_jump(struct history *h, uint32_t node)
{
	static const int64_t jump_s[] = { 1, 60, 3600, 7 * 86400, 400 * 86400,
		-1, -60, -3600, -7 * 86400, -400 * 86400 };
	struct node *nd = &h->sim.node[node];
	const uint32_t which = pick(h, 10);

	nd->clock_ns += jump_s[which] * (int64_t)CLOCK_S;
	nd->drift_ppm = (int32_t)pick(h, 3) * 500 - 500;
	if (which >= 5)
		sim_count(&h->sim, COUNT_CLOCK_BACK);
	sim_say(nd, "has its clock set by %lld s", (long long)jump_s[which]);
}

/* Configurations */

static void
setup(struct node *nd)
{
	if (nd->running)
		nd->ops->setup(nd);
}

static void
mode(struct history *h, uint32_t node)
{
	static const char *const name[] = { "send-receive", "send-only",
		"receive-only" };
	struct node *nd = &h->sim.node[node];
	const uint32_t what = pick(h, 8);

	if (what >= 6 && nd->running && nd->mode != FOLDER_SEND_RECEIVE) {
		sim_say(nd, "is told to %s",
		    nd->mode == FOLDER_SEND_ONLY ? "override" : "revert");
		/* A person gives up what is there, or elsewhere. */
		for (uint32_t i = 0; i < h->sim.nodes; i++)
			oracle_spent(&h->sim.oracle,
			    vdisk_root(h->sim.node[i].disk));
		h->resolved = true;
		/* What was reverted is told to nobody as deleted: others go on
		 * counting it.  docs/testing.md, known gaps. */
		h->sim.uneven = true;
		nd->ops->resolve(nd, nd->mode == FOLDER_RECEIVE_ONLY);
		return;
	}
	nd->mode = (enum folder_mode)(what % 3);
	sim_count(&h->sim, COUNT_MODE_CHANGED);
	sim_say(nd, "is %s", name[nd->mode]);
	setup(nd);
}

static void
remove_device(struct history *h, uint32_t a, uint32_t b)
{
	struct node *nd = &h->sim.node[a];

	nd->knows[b] = !nd->knows[b];
	sim_say(nd, "%s %s", nd->knows[b] ? "adds" : "removes",
	    h->sim.node[b].name);
	if (!nd->knows[b]) {
		sim_count(&h->sim, COUNT_DEVICE_REMOVED);
		sim_disconnect(&h->sim, a, b);
	}
	setup(nd);
}

static void
rotate(struct history *h, uint32_t node)
{
	struct sim *s = &h->sim;

	if (!sim_rotate(s, node))
		return;
	for (uint32_t i = 0; i < s->nodes; i++)
		setup(&s->node[i]);
}

void
faults_act(struct history *h)
{
	const struct settings *set = &h->set;
	const uint32_t a = pick(h, h->sim.nodes), b = pick(h, h->sim.nodes);
	const uint32_t what = pick(h, 16);
	/* Of another kind of device only processes, links and clocks break. */
	const bool ours = h->sim.node[a].ops == &node_engine_ops;

	if (set->rotates && pick(h, 3) == 0)
		rotate(h, a);
	else if (what < 3 && set->kills)
		crash(h, a, false);
	else if (what < 6 && set->power && ours)
		crash(h, a, true);
	else if (what < 8 && set->cuts && a != b)
		cut(h, a, b);
	else if (what < 9 && set->one_way && a != b)
		darken(h, a, b);
	else if (what < 11 && ours &&
		 (set->full || set->away || set->read_only))
		disk(h, a);
	else if (what < 12 && set->index_lost && ours)
		forget(h, a);
	else if (what < 13 && set->index_restored && ours)
		restore(h, a);
	else if (what < 14 && set->clocks)
		clock_jump(h, a);
	else if (what < 15 && set->modes && ours)
		mode(h, a);
	else if (set->removals && a != b)
		remove_device(h, a, b);
	faults_connect(h);
	oracle_check(&h->sim.oracle);
}

static void
disconnect_all(struct sim *s)
{
	for (uint32_t a = 0; a < s->nodes; a++)
		for (uint32_t b = 0; b < a; b++)
			sim_disconnect(s, a, b);
}

void
faults_heal(struct history *h)
{
	static const struct vdisk_trouble none;
	struct sim *s = &h->sim;

	memset(h->cut, 0, sizeof(h->cut));
	memset(h->due, 0, sizeof(h->due));
	s->lost_hints = s->failed_commits = 0;
	s->lag_ns = s->twice = s->flush_io = 0;
	/* What an old index made of a peer is mended by the next session. */
	if (s->replays > 0)
		disconnect_all(s);
	s->replays = 0;
	for (uint32_t i = 0; i < s->nodes; i++) {
		struct node *nd = &s->node[i];
		bool changed = nd->mode != FOLDER_SEND_RECEIVE;

		vdisk_set_away(nd->disk, VDISK_HERE);
		vdisk_set_room(nd->disk, INT64_MAX);
		vdisk_set_read_only(nd->disk, false);
		vdisk_set_trouble(nd->disk, &none);
		nd->mode = FOLDER_SEND_RECEIVE;
		if (h->set.hides) {
			vdisk_write(nd->disk, ".stignore", SLICE_LIT("*.ign\n"),
			    true);
			sim_hint(s, i, SLICE_LIT(".stignore"), SLICE_EMPTY,
			    false);
		}
		for (uint32_t k = 0; k < s->nodes; k++) {
			/* Who lies is put out. */
			const bool honest = k < history_honest(h);

			changed = changed || nd->knows[k] != honest;
			nd->knows[k] = honest;
			if (!honest)
				sim_disconnect(s, i, k);
			sim_darken(s, i, k, false);
		}
		if (nd->running && changed)
			nd->ops->setup(nd);
		sim_start(s, i);
	}
	faults_connect(h);
}

void
faults_admit(struct history *h)
{
	struct sim *s = &h->sim;

	for (uint32_t i = 0; i < s->nodes && h->set.liar; i++) {
		s->node[i].knows[s->nodes - 1] = true;
		setup(&s->node[i]);
	}
	faults_connect(h);
}

void
faults_fini(struct history *h)
{
	for (uint32_t i = 0; i < h->sim.nodes; i++)
		store_mem_free(h->backup[i]);
}
