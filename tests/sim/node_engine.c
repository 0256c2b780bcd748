/*
 * A device that is our engine: its effects done on the disk, its messages
 * through the real encoding.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/brake.h"
#include "engine/core_state.h"
#include "engine/engine.h"
#include "engine/folder.h"
#include "engine/intent.h"
#include "engine/pull_state.h"
#include "engine/status.h"
#include "engine/store_mem.h"
#include "sim.h"

/* A little less than brake.c's minute: what it counts anew is not blamed. */
#define TAKEN_QUIET_NS (55 * CLOCK_S)
#define ALLOWED_NS (5 * CLOCK_MIN)

static void step(struct node *nd, struct event *ev);

/* What the effect borrows, copied: it is done later. */
static void
effect_copy(struct arena *ar, struct effect *out, const struct effect *ef)
{
	*out = *ef;
	out->path = arena_dup(ar, ef->path);
	out->temp = arena_dup(ar, ef->temp);
	if (ef->kind == EFFECT_COPY_TEMP) {
		out->u.copy.from_temp = arena_dup(ar, ef->u.copy.from_temp);
	} else if (ef->kind == EFFECT_CHECK_TEMP) {
		const size_t len =
		    ef->u.check.count * sizeof(*ef->u.check.hash);
		void *hash = arena_alloc(ar, len + 1);

		memcpy(hash, ef->u.check.hash, len);
		out->u.check.hash = hash;
	} else if (ef->kind == EFFECT_CHUNK_FILE) {
		struct chunk_range *range =
		    arena_array(ar, ef->u.chunk.count + 1, sizeof(*range));

		for (uint32_t i = 0; i < ef->u.chunk.count; i++)
			range[i] = ef->u.chunk.range[i];
		out->u.chunk.range = range;
	} else if (ef->kind == EFFECT_SYNC_TEMPS ||
		   ef->kind == EFFECT_SYNC_DIRS) {
		struct slice *name =
		    arena_array(ar, ef->u.sync.count + 1, sizeof(*name));

		for (uint32_t i = 0; i < ef->u.sync.count; i++)
			name[i] = arena_dup(ar, ef->u.sync.name[i]);
		out->u.sync.name = name;
	} else if (ef->kind == EFFECT_FINISH_FILE) {
		out->u.finish.keep = arena_dup(ar, ef->u.finish.keep);
	} else if (ef->kind == EFFECT_MAKE_LINK) {
		out->u.link.target = arena_dup(ar, ef->u.link.target);
	} else if (ef->kind == EFFECT_MOVE) {
		out->u.move.to = arena_dup(ar, ef->u.move.to);
	}
}

static void
send(struct node *nd, const struct effect *ef)
{
	sim_send(nd, sim_node_of(nd->sim, &ef->u.send.device),
	    &ef->u.send.message, ef->u.send.payload);
}

static void
note(struct node *nd, const struct effect_note *n)
{
	if (n->kind == NOTE_CONFLICT)
		sim_count(nd->sim, COUNT_CONFLICT);
	if (n->kind == NOTE_HELD)
		sim_count(nd->sim, COUNT_HELD);
}

static void
ask(struct node *nd, const struct effect *ef)
{
	const uint32_t to = ef->kind == EFFECT_DROP_PEER
				? sim_node_of(nd->sim, &ef->u.drop.device)
				: SIM_NODES;
	struct job *job;

	if (ef->kind == EFFECT_SEND)
		send(nd, ef);
	else if (ef->kind == EFFECT_NOTE)
		note(nd, &ef->u.note);
	else if (ef->kind == EFFECT_COMMIT)
		store_mem_commit_begin(nd->store);
	if (to < nd->sim->nodes && nd->session[to] != 0 &&
	    nd->link[to] == nd->session[to]) {
		sim_say(nd, "drops %s: %.*s", nd->sim->node[to].name,
		    SLICE_FMT(ef->u.drop.reason));
		sim_disconnect(nd->sim, nd->number, to);
	}
	if (ef->kind == EFFECT_NOTE || ef->kind == EFFECT_WATCH ||
	    ((ef->kind == EFFECT_SEND || ef->kind == EFFECT_DROP_PEER) &&
		ef->id == 0))
		return;
	job = sim_job(nd, JOB_EFFECT);
	if (ef->kind == EFFECT_SEND || ef->kind == EFFECT_DROP_PEER) {
		job->effect.kind = EFFECT_SEND; /* nothing but its DONE */
		job->effect.id = ef->id;
	} else {
		effect_copy(&nd->sim->arena, &job->effect, ef);
	}
	sim_later(nd, job);
}

static void
step(struct node *nd, struct event *ev)
{
	struct effects out;

	ev->now = sim_now(nd);
	engine_step(nd->impl, ev, &out);
	nd->wake_at_ns = out.wake_at_ns;
	for (size_t i = 0; i < out.count; i++)
		ask(nd, &out.item[i]);
}

/* Configuration */

struct config {
	struct setup_device device[SIM_NODES];
	struct devid other[SIM_NODES];
	struct setup_folder folder;
	struct setup_former former[SIM_FORMERS];
};

static void
configure(struct node *nd, struct config *cfg, struct setup *out)
{
	/* Another each time: it must not show in anything the engine does, or
	 * the second run of a history is not as the first. */
	static uint64_t hash_seed;
	const struct sim *s = nd->sim;
	uint32_t n = 0;

	memset(cfg, 0, sizeof(*cfg));
	out->hash_seed = hash_seed += UINT64_C(0x9e3779b97f4a7c15);
	for (uint32_t i = 0; i < s->nodes; i++) {
		if (i == nd->number || !nd->knows[i])
			continue;
		cfg->device[n].id = s->node[i].id;
		cfg->device[n].name = slice_str(s->node[i].name);
		cfg->other[n++] = s->node[i].id;
	}
	cfg->folder.id = SLICE_LIT("f");
	cfg->folder.path = SLICE_LIT("/f");
	cfg->folder.mode = nd->mode;
	cfg->folder.device = cfg->other;
	cfg->folder.device_count = n;
	cfg->folder.trash = true;
	cfg->folder.trash_age_ns = nd->sim->trash_age_ns;
	cfg->folder.brake_percent = nd->sim->brake > 0;
	cfg->folder.brake_files = nd->sim->brake;
	cfg->folder.rescan_ns = nd->watches ? 0 : CLOCK_MIN;
	for (uint32_t i = 0; i < s->formers; i++)
		cfg->former[i] = (struct setup_former){ s->former[i].was,
			s->node[s->former[i].node].id };
	out->former = cfg->former;
	out->former_count = s->formers;
	out->self = nd->id;
	out->name = slice_str(nd->name);
	out->seed = nd->life * 1000 + nd->number;
	out->device = cfg->device;
	out->device_count = n;
	out->folder = &cfg->folder;
	out->folder_count = 1;
}

static void
engine_log(void *arg, enum log_level level, const char *line)
{
	sim_say(arg, "  %s %s", log_level_name(level), line);
}

static void
start(struct node *nd)
{
	struct event ev = { .kind = EVENT_START };
	struct config cfg;

	nd->log = (struct log){ nd->sim->debug ? LOG_DEBUG : LOG_ERROR,
		engine_log, nd };
	configure(nd, &cfg, &ev.u.setup);
	nd->impl = engine_new(&nd->log);
	step(nd, &ev);
}

static void
setup(struct node *nd)
{
	struct event ev = { .kind = EVENT_SETUP };
	struct config cfg;

	configure(nd, &cfg, &ev.u.setup);
	step(nd, &ev);
}

/* The end */

static struct folder *
folder(const struct node *nd)
{
	const struct engine *en = nd->impl;

	return en->folder.len > 0 ? en->folder.item[0] : NULL;
}

static void
stop_counts(struct node *nd)
{
	const struct folder *f = folder(nd);

	if (store_mem_count(nd->store, STORE_INTENT) > 0 &&
	    !vdisk_is_flushed(nd->disk))
		sim_count(nd->sim, COUNT_KILL_INTENDED);
	if (vdisk_has_kept(nd->disk))
		sim_count(nd->sim, COUNT_KILL_KEPT);
	if (f != NULL && f->pull != NULL && f->pull->recover != NULL &&
	    store_mem_count(nd->store, STORE_INTENT) > 0)
		sim_count(nd->sim, COUNT_KILL_IN_RECOVERY);
}

static void
stop(struct node *nd, bool power)
{
	(void)power;
	stop_counts(nd);
	engine_free(nd->impl);
	nd->impl = NULL;
}

static bool
is_disk_effect(enum effect_kind kind)
{
	return kind != EFFECT_SEND && kind != EFFECT_COMMIT;
}

static void
abandon(struct node *nd, struct job *job, bool done)
{
	const struct effect *ef = &job->effect;
	struct event ev;

	if (job->kind == JOB_ANSWER) {
		payload_free(job->answer->u.done.payload);
		return;
	}
	if (done && is_disk_effect(ef->kind)) {
		vdisk_do(nd->disk, ef, &ev, &nd->sim->arena);
		payload_free(ev.u.done.payload);
	}
	if (ef->kind == EFFECT_COMMIT && done &&
	    store_mem_is_committing(nd->store)) {
		if (ef->u.commit.flush && vdisk_is_writable(nd->disk))
			vdisk_flush(nd->disk);
		store_mem_commit_end(nd->store);
	}
	if (ef->kind == EFFECT_WRITE_TEMP)
		payload_free(ef->u.write.payload);
}

static void
free_node(struct node *nd)
{
	engine_free(nd->impl);
	nd->impl = NULL;
}

/* Effects */

static const char *const act_name[] = { "finish", "link", "mkdir", "move",
	"remove", "meta", "put back", "keep" };

static const char *const effect_name[] = {
	[EFFECT_OPEN_FOLDER] = "open",
	[EFFECT_CLOSE_FOLDER] = "close",
	[EFFECT_CHECK_ROOT] = "check root",
	[EFFECT_MAKE_MARKER] = "make marker",
	[EFFECT_COMMIT] = "commit",
	[EFFECT_SEND] = "send",
	[EFFECT_DROP_PEER] = "drop peer",
	[EFFECT_LIST_DIR] = "list",
	[EFFECT_STAT] = "stat",
	[EFFECT_HASH_FILE] = "hash",
	[EFFECT_READ_FILE] = "read",
	[EFFECT_READ_BLOCK] = "read block",
	[EFFECT_CHUNK_FILE] = "chunk",
	[EFFECT_WRITE_TEMP] = "write temp",
	[EFFECT_COPY_TEMP] = "copy temp",
	[EFFECT_CHECK_TEMP] = "check temp",
	[EFFECT_SEAL_TEMP] = "seal temp",
	[EFFECT_SYNC_TEMPS] = "flush temps",
	[EFFECT_DROP_TEMP] = "drop temp",
	[EFFECT_LIST_TEMPS] = "list temps",
	[EFFECT_KEEP_VERSION] = "keep version",
	[EFFECT_CLEAN_TRASH] = "clean trash",
	[EFFECT_SYNC_DIRS] = "flush names",
	[EFFECT_NOTE] = "note",
};

static bool
is_act(enum effect_kind kind)
{
	return kind >= EFFECT_FINISH_FILE && kind <= EFFECT_PUT_BACK;
}

/*
 * The brake, told by what is done on the disk alone: with one writer and no
 * renames, what an act takes away is what a peer took.  Each path once, until
 * that peer was quiet for a minute.
 */
static void
took_away(struct node *nd, const struct effect *ef, const struct identity *kept)
{
	struct sim *s = nd->sim;
	const uint64_t now = s->now.mono_ns;

	if (s->brake == 0 || now < nd->allowed_ns ||
	    (kept->type != IDENTITY_FILE && kept->type != IDENTITY_LINK))
		return;
	if (now - nd->taken_ns > TAKEN_QUIET_NS)
		VEC_CLEAR(&nd->taken);
	nd->taken_ns = now;
	for (size_t i = 0; i < nd->taken.len; i++)
		if (slice_equal(nd->taken.item[i], ef->path))
			return;
	*VEC_ADD(&nd->taken) = ef->path;
	/* It counts what is planned; two minutes' plans may come at once. */
	if (nd->taken.len > 2 * (size_t)s->brake * (s->nodes - 1))
		oracle_fault(&s->oracle,
		    "not braked: %s lost %zu files to others, of %u", nd->name,
		    nd->taken.len, s->brake);
}

/* An act of ours is seen by the watcher as anybody's. */
static void
acted(struct node *nd, const struct effect *ef, int code, bool changed)
{
	const bool moves = ef->kind == EFFECT_MOVE;

	if (!is_act(ef->kind))
		return;
	if (code == 0 && changed)
		sim_hint(nd->sim, nd->number, ef->path,
		    moves                            ? ef->u.move.to
		    : ef->kind == EFFECT_FINISH_FILE ? ef->u.finish.keep
						     : SLICE_EMPTY,
		    false);
	if (code == 0) {
		nd->acted = moves ? ef->u.move.to : ef->path;
		nd->acted_ns = nd->sim->now.mono_ns;
	}
	if (code == ERR_CHANGED)
		sim_count(nd->sim, COUNT_CHANGED_AT_ACT);
	if (nd->sim->story)
		sim_say(nd, "%s %s%s%s: %s",
		    act_name[ef->kind - EFFECT_FINISH_FILE],
		    path_print(&nd->sim->arena, ef->path), moves ? " to " : "",
		    moves ? path_print(&nd->sim->arena, ef->u.move.to) : "",
		    code == 0 ? "done" : err_name(code));
}

static void
count_effect(struct node *nd, const struct effect *ef, int code)
{
	struct sim *s = nd->sim;

	if (code == ERR_IO &&
	    (ef->kind == EFFECT_SYNC_DIRS || ef->kind == EFFECT_SYNC_TEMPS))
		sim_count(s, COUNT_SYNC_FAILED);
	else if (code == ERR_IO)
		sim_count(s, COUNT_IO_ERROR);
	else if (code == ERR_FULL)
		sim_count(s, COUNT_FULL);
	else if (code == ERR_READ_ONLY)
		sim_count(s, COUNT_READ_ONLY);
	else if (code == ERR_CHANGED && (ef->kind == EFFECT_DROP_TEMP ||
					    ef->kind == EFFECT_KEEP_VERSION))
		sim_count(s, COUNT_OPEN_WRITE_KEPT);
	else if (code == 0 && ef->kind == EFFECT_KEEP_VERSION)
		sim_count(s, COUNT_TRASHED);
	if ((ef->kind == EFFECT_SYNC_TEMPS || ef->kind == EFFECT_SYNC_DIRS) &&
	    ef->u.sync.count >= 9)
		sim_count(s, COUNT_MANY_FLUSHED);
}

/* Where flushes fail they do when it matters most: a temp is to be put. */
static bool
fails_at_worst(struct node *nd)
{
	struct sim *s = nd->sim;

	return s->flush_io > 0 && vdisk_has_unflushed_temps(nd->disk) &&
	       choice_strikes(&s->choice, 3);
}

/* People's files, before what is said of them. */
static int
commit_flush(struct node *nd)
{
	struct sim *s = nd->sim;

	if (!vdisk_is_writable(nd->disk))
		return 0;
	if (choice_strikes(&s->choice, s->flush_io) || fails_at_worst(nd)) {
		sim_count(s, COUNT_COMMIT_FLUSH_FAILED);
		sim_say(nd, "  flush before a commit: io");
		if (vdisk_has_unflushed_temps(nd->disk)) {
			sim_count(s, COUNT_FLUSH_STAGED);
			nd->hurt = true;
		}
		vdisk_fail_flushes(nd->disk);
		s->flush_failed = true;
		return ERR_IO;
	}
	vdisk_flush(nd->disk);
	return 0;
}

static int
commit(struct node *nd)
{
	struct sim *s = nd->sim;
	static const struct err broken = { .code = ERR_IO, .text = "weather" };

	if (vdisk_is_full(nd->disk) && choice_strikes(&s->choice, 2)) {
		if (store_mem_count(nd->store, STORE_INTENT) > 0)
			sim_count(s, COUNT_FULL_AT_COMMIT);
		store_mem_commit_fail(nd->store);
		return ERR_FULL;
	}
	if (choice_strikes(&s->choice, s->failed_commits)) {
		sim_count(s, COUNT_COMMIT_FAILED);
		store_mem_commit_fail(nd->store);
		store_mem_set_error(nd->store, &broken);
		return ERR_IO;
	}
	store_mem_commit_end(nd->store);
	return 0;
}

/* The store as a new process would find it. */
static void
open_store(struct node *nd, const struct effect *ef, struct event *ev)
{
	static const struct err sound;

	store_mem_set_error(nd->store, &sound);
	store_mem_crash(nd->store);
	if (ef->u.open.rebuild) {
		store_mem_free(nd->store);
		nd->store = store_mem_new();
		ev->u.done.store_rebuilt = true;
	}
	ev->u.done.store = nd->store;
}

/*
 * It is done and nobody knows yet: people, and what else the device does, come
 * in between.
 */
static bool
is_told_late(struct node *nd, const struct effect *ef)
{
	return ef->kind != EFFECT_COMMIT && ef->kind != EFFECT_SEND &&
	       ef->kind != EFFECT_OPEN_FOLDER &&
	       ef->kind != EFFECT_CLOSE_FOLDER &&
	       choice_strikes(&nd->sim->choice, nd->sim->late);
}

static void
tell_late(struct node *nd, const struct event *ev)
{
	struct job *job = sim_job(nd, JOB_ANSWER);

	job->answer = arena_alloc(&nd->sim->arena, sizeof(*job->answer));
	*job->answer = *ev;
	sim_count(nd->sim, COUNT_LATE);
	sim_much_later(nd, job);
}

static void
answer(struct node *nd, struct job *job)
{
	step(nd, job->answer);
}

static void
effect(struct node *nd, struct job *job)
{
	const struct effect *ef = &job->effect;
	struct event ev = { .kind = EVENT_DONE };
	const int64_t before = vdisk_changes(nd->disk);
	int code = 0;

	if (ef->kind == EFFECT_COMMIT) {
		if (ef->u.commit.flush)
			ev.u.done.flush_code = commit_flush(nd);
		code = ev.u.done.code = commit(nd);
		ev.u.done.text = slice_str(err_name(code));
	} else if (ef->kind != EFFECT_SEND) {
		vdisk_do(nd->disk, ef, &ev, &nd->sim->arena);
		code = ev.u.done.code;
		count_effect(nd, ef, code);
		acted(nd, ef, code, vdisk_changes(nd->disk) != before);
		if (code == 0 && is_act(ef->kind))
			took_away(nd, ef, &ev.u.done.kept);
	}
	if (ef->kind == EFFECT_WRITE_TEMP)
		payload_free(ef->u.write.payload);
	if (ef->kind == EFFECT_OPEN_FOLDER && code == 0)
		open_store(nd, ef, &ev);
	if (code != 0 && code != ERR_NOT_FOUND && !is_act(ef->kind))
		sim_say(nd, "  %s: %s", effect_name[ef->kind], err_name(code));
	/* What could not be filed, named or finished waits in staging, with its
	 * intent, for the next start. */
	if (code != 0 && (ef->kind >= EFFECT_FINISH_FILE || code == ERR_IO ||
			     code == ERR_FULL || code == ERR_READ_ONLY))
		nd->sim->debts = true;
	sim_mix(nd->sim, (uint64_t)ef->kind << 8 ^ (uint64_t)(uint32_t)code);
	if (ef->id == 0) {
		payload_free(ev.u.done.payload);
		return;
	}
	ev.u.done.id = ef->id;
	if (is_told_late(nd, ef))
		tell_late(nd, &ev);
	else
		step(nd, &ev);
}

/* The others */

static void
peer(struct node *nd, uint32_t other, bool up)
{
	struct event ev = { .kind = up ? EVENT_PEER_UP : EVENT_PEER_DOWN };

	ev.u.peer.device = nd->sim->node[other].id;
	ev.u.peer.features = sim_features(nd, other);
	ev.u.peer.client = SLICE_LIT("sim");
	ev.u.peer.address = SLICE_LIT("nowhere");
	step(nd, &ev);
}

/* What an index says: for --debug. */
static void
tell_index(struct node *nd, uint32_t from, const struct message *m)
{
	struct arena *ar = &nd->sim->arena;

	if (!nd->sim->debug ||
	    (m->type != MESSAGE_INDEX && m->type != MESSAGE_INDEX_UPDATE))
		return;
	for (uint32_t i = 0; i < m->u.index.entry_count; i++) {
		const struct entry *e = &m->u.index.entry[i];

		sim_say(nd, "  hears of %s: %s %c%s%s %s",
		    nd->sim->node[from].name, path_print(ar, e->name),
		    "fd??l"[e->type], e -> deleted ? " gone" : "",
		    e->invalid ? " invalid" : "", version_text(e->version, ar));
	}
}

static void
message(struct node *nd, uint32_t from, const struct message *m,
    struct payload *p)
{
	struct event ev = { .kind = EVENT_MESSAGE };

	tell_index(nd, from, m);
	ev.u.message.device = nd->sim->node[from].id;
	ev.u.message.message = m;
	ev.u.message.payload = p;
	step(nd, &ev);
}

static uint32_t
features(const struct node *nd)
{
	return nd->sim->features;
}

static void
hints(struct node *nd, const struct job *job)
{
	struct event ev = { .kind = EVENT_CHANGES };

	ev.u.changes.hint = job->hint;
	ev.u.changes.count = job->hint_count;
	ev.u.changes.overflow = job->overflow;
	ev.u.changes.state = WATCH_FULL;
	step(nd, &ev);
}

static void
tick(struct node *nd)
{
	struct event ev = { .kind = EVENT_TICK };

	step(nd, &ev);
}

static void
command(struct node *nd, enum command_kind kind)
{
	struct event ev = { .kind = EVENT_COMMAND };

	ev.u.command.kind = kind;
	ev.u.command.folder_id = SLICE_LIT("f");
	step(nd, &ev);
}

static void
scan(struct node *nd)
{
	command(nd, COMMAND_SCAN);
}

static bool
confirm(struct node *nd)
{
	struct folder *f = folder(nd);

	if (f == NULL || f->ix == NULL || !brake_is_on(f))
		return false;
	sim_count(nd->sim, COUNT_CONFIRMED);
	sim_say(nd, "person confirms what is held");
	VEC_CLEAR(&nd->taken);
	nd->allowed_ns = nd->sim->now.mono_ns + ALLOWED_NS;
	command(nd, COMMAND_CONFIRM);
	return true;
}

static void
resolve(struct node *nd, bool theirs)
{
	command(nd, theirs ? COMMAND_REVERT : COMMAND_OVERRIDE);
}

/* At rest? */

static bool
is_need(const struct need_totals *n)
{
	return n->items != 0 || n->deletes != 0 || n->bytes != 0;
}

/* Names that clash are problems for good; and so is what is behind them. */
static bool
is_problem(struct sim *s, const struct status_folder *f)
{
	if (f->problem_count != 0 && s->clashes)
		sim_count(s, COUNT_FOLDED_CLASH);
	return f->problem_count != 0 && !s->clashes;
}

static void
say_intent(struct node *nd, struct slice record)
{
	struct intent in = { 0 };

	intent_decode(record, &in, &nd->sim->arena);
	oracle_fault(&nd->sim->oracle,
	    "no quiet: %s has an intent of kind %d for %.*s", nd->name,
	    (int)in.kind, SLICE_FMT(in.path));
}

static bool
is_well(struct node *nd)
{
	struct sim *s = nd->sim;
	struct arena *ar = &s->arena;
	const struct folder *fo = folder(nd);
	struct status_report rp;
	struct status_folder f;
	struct slice record;
	uint64_t id;

	status_report(nd->impl, sim_now(nd), ar, &rp);
	f = rp.folder[0];
	if (f.state != STATUS_IN_SYNC && !s->clashes)
		oracle_fault(&s->oracle, "no quiet: %s is %s, %s", nd->name,
		    status_state_name(f.state), reason_name(f.reason));
	else if (!f.idle && !s->clashes)
		oracle_fault(&s->oracle, "no quiet: %s is busy", nd->name);
	else if (is_need(&f.need) && !s->clashes)
		oracle_fault(&s->oracle, "no quiet: %s needs something",
		    nd->name);
	else if (is_problem(s, &f))
		oracle_fault(&s->oracle, "no quiet: %s: %s %.*s", nd->name,
		    reason_name(f.problem[0].reason),
		    SLICE_FMT(f.problem[0].path));
	else if (!s->debts && index_next_intent(fo->ix, 0, &id, &record, ar))
		say_intent(nd, record);
	for (uint32_t i = 0; i < f.share_count; i++)
		if (f.share[i].connected && !s->clashes && !s->uneven &&
		    (!f.share[i].known || is_need(&f.share[i].need)))
			oracle_fault(&s->oracle,
			    "untruthful: %s thinks another is behind",
			    nd->name);
	return s->oracle.why[0] == '\0';
}

const struct node_ops node_engine_ops = {
	.name = "engine",
	.start = start,
	.stop = stop,
	.peer = peer,
	.message = message,
	.features = features,
	.effect = effect,
	.answer = answer,
	.abandon = abandon,
	.hints = hints,
	.tick = tick,
	.setup = setup,
	.scan = scan,
	.resolve = resolve,
	.confirm = confirm,
	.is_well = is_well,
	.free = free_node,
};
