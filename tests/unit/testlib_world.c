/*
 * The world.  See testlib_world.h.
 */
#include "testlib_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"
#include "engine/core_state.h"
#include "engine/folder.h"
#include "engine/pull.h"
#include "engine/store_mem.h"

#define STEPS_MAX 4000000u    /* that never rest: a livelock */
#define FAR_NS (20 * CLOCK_S) /* timers beyond it are housekeeping */
#define LOG_LINES 1000u

enum job_kind {
	JOB_EFFECT,  /* do it, tell of it */
	JOB_MESSAGE, /* arrives */
	JOB_HINT,
	JOB_PEER, /* up or down */
};

/* Something that will happen to a device. */
struct job {
	uint64_t at_ns;
	uint64_t order;
	enum job_kind kind;
	uint32_t dev;
	uint64_t life; /* of the device; an older one is dead */
	struct arena arena;
	struct effect effect;
	uint32_t from; /* MESSAGE, PEER */
	uint64_t link; /* MESSAGE: the connection it is sent on */
	int32_t type;
	uint8_t *body; /* owned */
	size_t body_len;
	bool up;
	struct change_hint hint[2];
	uint32_t hint_count;
};

struct device {
	struct testlib_world *w;
	uint32_t number;
	struct devid id;
	char name[8];
	struct engine *en; /* NULL: not running */
	struct log log;
	uint64_t life;
	uint64_t wake_at_ns;
	struct testlib_disk *disk;
	struct store *store;
	enum folder_mode mode;
	struct setup_folder folder;
	uint64_t link[TESTLIB_DEVICES];    /* 0: not connected */
	uint64_t session[TESTLIB_DEVICES]; /* the link its engine knows of */
	uint64_t last_ns[TESTLIB_DEVICES]; /* messages keep their order */
	uint64_t told_ns[TESTLIB_DEVICES]; /* ups and downs, too */
	uint64_t effects[EFFECT_NOTE + 1];
	uint64_t flushes; /* of these, COMMITs that flush people's files */
	int flush_code;   /* ... and what comes of that */
	int commit_code;  /* what comes of all COMMITs */
};

#define WORLD_FORMERS 8u

struct testlib_world {
	struct rng rng;
	struct setup_former former[WORLD_FORMERS];
	uint32_t formers;
	uint64_t entries;
	struct now now;
	struct device dev[TESTLIB_DEVICES];
	uint32_t count;
	uint32_t features;
	uint64_t delay_ns;
	uint64_t next_order, next_link;
	VEC(struct job *) heap; /* a heap by at_ns, order */
	uint64_t messages, payload_bytes;
	uint64_t asked_bytes, asked_most; /* requests without an answer */
	char *line[LOG_LINES];
	size_t lines;
};

/* Jobs */

static bool
job_before(const struct job *a, const struct job *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void
heap_up(struct testlib_world *w, size_t i)
{
	while (
	    i > 0 && job_before(w->heap.item[i], w->heap.item[(i - 1) / 2])) {
		struct job *t = w->heap.item[i];

		w->heap.item[i] = w->heap.item[(i - 1) / 2];
		w->heap.item[(i - 1) / 2] = t;
		i = (i - 1) / 2;
	}
}

static void
heap_down(struct testlib_world *w)
{
	size_t i = 0;

	for (;;) {
		size_t least = i;

		for (size_t c = 2 * i + 1; c <= 2 * i + 2; c++)
			if (c < w->heap.len &&
			    job_before(w->heap.item[c], w->heap.item[least]))
				least = c;
		if (least == i)
			return;
		struct job *t = w->heap.item[i];

		w->heap.item[i] = w->heap.item[least];
		w->heap.item[least] = t;
		i = least;
	}
}

static struct job *
job_new(struct testlib_world *w, struct device *dv, enum job_kind kind)
{
	struct job *job = mem_zalloc(sizeof(*job));

	job->kind = kind;
	job->dev = dv->number;
	job->life = dv->life;
	job->order = w->next_order++;
	arena_init(&job->arena);
	return job;
}

static void
job_add(struct testlib_world *w, struct job *job, uint64_t at_ns)
{
	job->at_ns = at_ns;
	*VEC_ADD(&w->heap) = job;
	heap_up(w, w->heap.len - 1);
}

static void
job_free(struct job *job)
{
	if (job->kind == JOB_EFFECT && job->effect.kind == EFFECT_WRITE_TEMP)
		payload_free(job->effect.u.write.payload);
	mem_free(job->body);
	arena_fini(&job->arena);
	mem_free(job);
}

static uint64_t
some_time(struct testlib_world *w)
{
	return w->now.mono_ns + 1000 + rng_below(&w->rng, w->delay_ns + 1);
}

/* Effects */

static void device_step(struct device *dv, const struct event *ev);

/* What the effect borrows, copied: it is done later. */
static void
effect_copy(struct job *job, const struct effect *ef)
{
	struct effect *out = &job->effect;
	struct arena *ar = &job->arena;

	*out = *ef;
	out->path = arena_dup(ar, ef->path);
	out->temp = arena_dup(ar, ef->temp);
	if (ef->kind == EFFECT_COPY_TEMP) {
		out->u.copy.from_temp = arena_dup(ar, ef->u.copy.from_temp);
	} else if (ef->kind == EFFECT_CHECK_TEMP) {
		const size_t len =
		    ef->u.check.count * sizeof(*ef->u.check.hash);
		void *hash = arena_alloc(ar, len);

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

static struct device *
device_of(struct testlib_world *w, const struct devid *id)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (devid_equal(&w->dev[i].id, id))
			return &w->dev[i];
	return NULL;
}

static void
answer_later(struct device *dv, const struct effect *ef)
{
	struct job *job = job_new(dv->w, dv, JOB_EFFECT);

	job->effect.kind = EFFECT_SEND; /* nothing but its DONE */
	job->effect.id = ef->id;
	job_add(dv->w, job, some_time(dv->w));
}

static void
do_send(struct device *dv, const struct effect *ef)
{
	struct testlib_world *w = dv->w;
	struct device *to = device_of(w, &ef->u.send.device);
	struct payload *p = ef->u.send.payload;
	struct buf body = { 0 };
	struct job *job;
	uint64_t at;

	w->messages++;
	if (ef->u.send.message.type == MESSAGE_INDEX ||
	    ef->u.send.message.type == MESSAGE_INDEX_UPDATE)
		w->entries += ef->u.send.message.u.index.entry_count;
	if (ef->u.send.message.type == MESSAGE_REQUEST)
		w->asked_bytes += ef->u.send.message.u.request.size;
	if (w->asked_bytes > w->asked_most)
		w->asked_most = w->asked_bytes;
	if (ef->u.send.message.type == MESSAGE_RESPONSE && p != NULL) {
		struct response rs = ef->u.send.message.u.response;

		rs.data = payload_slice(p);
		message_response_prefix(&rs, &body);
		buf_put(&body, payload_slice(p));
		w->payload_bytes += p->len;
		w->asked_bytes -= p->len;
	} else {
		message_encode(&ef->u.send.message, &body);
	}
	payload_free(p);
	if (to == NULL || dv->link[to->number] == 0 ||
	    dv->session[to->number] != dv->link[to->number]) {
		buf_fini(&body);
		if (ef->id != 0)
			answer_later(dv, ef);
		return;
	}
	job = job_new(w, to, JOB_MESSAGE);
	job->from = dv->number;
	job->link = dv->link[to->number];
	job->type = ef->u.send.message.type;
	job->body = body.ptr;
	job->body_len = body.len;
	at = some_time(w);
	if (at <= dv->last_ns[to->number])
		at = dv->last_ns[to->number] + 1;
	dv->last_ns[to->number] = at;
	job_add(w, job, at);
	if (ef->id != 0)
		answer_later(dv, ef);
}

static void
do_effect(struct device *dv, const struct effect *ef)
{
	struct testlib_world *w = dv->w;
	struct device *to;
	struct job *job;

	dv->effects[ef->kind]++;
	if (ef->kind == EFFECT_SEND) {
		do_send(dv, ef);
		return;
	}
	if (ef->kind == EFFECT_DROP_PEER) {
		to = device_of(w, &ef->u.drop.device);
		if (to != NULL && dv->session[to->number] != 0 &&
		    dv->link[to->number] == dv->session[to->number])
			testlib_world_disconnect(w, dv->number, to->number);
		return;
	}
	if (ef->kind == EFFECT_WATCH || ef->kind == EFFECT_NOTE) {
		ASSERT(ef->id == 0);
		return;
	}
	if (ef->kind == EFFECT_COMMIT) {
		store_mem_commit_begin(dv->store);
		dv->flushes += ef->u.commit.flush;
	}
	job = job_new(w, dv, JOB_EFFECT);
	effect_copy(job, ef);
	job_add(w, job, some_time(w));
}

static void
device_step(struct device *dv, const struct event *ev)
{
	struct effects out;

	engine_step(dv->en, ev, &out);
	dv->wake_at_ns = out.wake_at_ns;
	for (size_t i = 0; i < out.count; i++)
		do_effect(dv, &out.item[i]);
}

static void
hint_slice(struct device *dv, struct slice path)
{
	char text[4200];

	snprintf(text, sizeof(text), "%.*s", SLICE_FMT(path));
	testlib_world_hint(dv->w, dv->number, text);
}

/* An act of ours is seen by the watcher as anybody's. */
static void
hint_effect(struct device *dv, const struct effect *ef)
{
	if (ef->kind < EFFECT_FINISH_FILE || ef->kind > EFFECT_PUT_BACK)
		return;
	hint_slice(dv, ef->path);
	if (ef->kind == EFFECT_MOVE)
		hint_slice(dv, ef->u.move.to);
}

static const char *const act_name[] = { "FINISH", "LINK", "DIR", "MOVE",
	"REMOVE", "META", "PUT-BACK" };

static void
run_effect(struct device *dv, struct job *job)
{
	const struct effect *ef = &job->effect;
	struct event ev = { .kind = EVENT_DONE };

	if (ef->kind == EFFECT_COMMIT) {
		ev.u.done.flush_code = ef->u.commit.flush ? dv->flush_code : 0;
		ev.u.done.code = dv->commit_code;
		if (dv->commit_code == 0)
			store_mem_commit_end(dv->store);
		else
			store_mem_commit_fail(dv->store);
	} else if (ef->kind != EFFECT_SEND) {
		testlib_disk_set_time(dv->disk, dv->w->now.wall_ns);
		testlib_disk_do(dv->disk, ef, &ev, &job->arena);
		if (ev.u.done.code == 0)
			hint_effect(dv, ef);
		if (ef->kind == EFFECT_OPEN_FOLDER && ev.u.done.code == 0)
			ev.u.done.store = dv->store;
	}
	if (ef->id == 0)
		return;
	if (ef->kind >= EFFECT_FINISH_FILE && ef->kind <= EFFECT_PUT_BACK) {
		char text[4300];

		snprintf(text, sizeof(text), "%.*s%s%.*s code=%d",
		    SLICE_FMT(ef->path), ef->kind == EFFECT_MOVE ? " to " : "",
		    ef->kind == EFFECT_MOVE ? (int)ef->u.move.to.len : 0,
		    ef->kind == EFFECT_MOVE ? (const char *)ef->u.move.to.ptr
					    : "",
		    ev.u.done.code);
		testlib_world_say(dv->w, dv->number,
		    act_name[ef->kind - EFFECT_FINISH_FILE], text);
	}
	ev.u.done.id = ef->id;
	ev.now = dv->w->now;
	device_step(dv, &ev);
}

static void
run_message(struct device *dv, struct job *job)
{
	struct device *from = &dv->w->dev[job->from];
	struct message m;
	struct err err = { 0 };
	struct event ev = { .kind = EVENT_MESSAGE, .now = dv->w->now };
	int rc;

	if (dv->link[job->from] != job->link)
		return;
	rc = message_decode(&m, job->type, slice_of(job->body, job->body_len),
	    &job->arena, &err);
	if (rc < 0)
		fail_msg("%s: %s", message_name((enum message_type)job->type),
		    err.text);
	ev.u.message.device = from->id;
	ev.u.message.message = &m;
	if (m.type == MESSAGE_RESPONSE && m.u.response.data.len > 0)
		ev.u.message.payload =
		    payload_take(job->body, m.u.response.data);
	if (ev.u.message.payload != NULL)
		job->body = NULL;
	device_step(dv, &ev);
}

static void
run_peer(struct device *dv, const struct job *job)
{
	struct event ev = {
		.kind = job->up ? EVENT_PEER_UP : EVENT_PEER_DOWN,
		.now = dv->w->now,
	};

	if (job->up && dv->link[job->from] != job->link)
		return;
	dv->session[job->from] = job->up ? job->link : 0;
	ev.u.peer.device = dv->w->dev[job->from].id;
	ev.u.peer.features = dv->w->features;
	ev.u.peer.client = SLICE_LIT("world");
	ev.u.peer.address = SLICE_LIT("nowhere");
	device_step(dv, &ev);
}

static void
run_job(struct testlib_world *w, struct job *job)
{
	struct device *dv = &w->dev[job->dev];
	struct event ev = { .kind = EVENT_CHANGES, .now = w->now };

	if (dv->en == NULL || dv->life != job->life) {
		/* It was being done when the device died: maybe it was. */
		if (job->kind == JOB_EFFECT &&
		    job->effect.kind != EFFECT_SEND &&
		    job->effect.kind != EFFECT_COMMIT &&
		    job->effect.kind != EFFECT_OPEN_FOLDER &&
		    dv->life == job->life + 1 && rng_below(&w->rng, 2) == 0) {
			testlib_disk_set_time(dv->disk, w->now.wall_ns);
			testlib_disk_do(dv->disk, &job->effect, &ev,
			    &job->arena);
			payload_free(ev.u.done.payload);
		}
		return;
	}
	switch (job->kind) {
	case JOB_EFFECT:
		run_effect(dv, job);
		break;
	case JOB_MESSAGE:
		run_message(dv, job);
		break;
	case JOB_PEER:
		run_peer(dv, job);
		break;
	case JOB_HINT:
		ev.u.changes.hint = job->hint;
		ev.u.changes.count = job->hint_count;
		ev.u.changes.state = WATCH_FULL;
		device_step(dv, &ev);
		break;
	}
}

/* Time */

static struct device *
first_to_wake(struct testlib_world *w)
{
	struct device *best = NULL;

	for (uint32_t i = 0; i < w->count; i++) {
		struct device *dv = &w->dev[i];

		if (dv->en != NULL && dv->wake_at_ns != CLOCK_NEVER &&
		    (best == NULL || dv->wake_at_ns < best->wake_at_ns))
			best = dv;
	}
	return best;
}

static void
set_time(struct testlib_world *w, uint64_t mono_ns)
{
	if (mono_ns <= w->now.mono_ns)
		return;
	w->now.wall_ns += (int64_t)(mono_ns - w->now.mono_ns);
	w->now.mono_ns = mono_ns;
}

/* The next thing at or before `until`; false when there is none. */
static bool
step_until(struct testlib_world *w, uint64_t until)
{
	struct device *dv = first_to_wake(w);
	struct job *job = w->heap.len > 0 ? w->heap.item[0] : NULL;

	if (job != NULL && job->at_ns <= until &&
	    (dv == NULL || job->at_ns <= dv->wake_at_ns)) {
		w->heap.item[0] = w->heap.item[--w->heap.len];
		heap_down(w);
		set_time(w, job->at_ns);
		run_job(w, job);
		job_free(job);
		return true;
	}
	if (dv != NULL && dv->wake_at_ns <= until) {
		struct event ev = { .kind = EVENT_TICK };

		set_time(w, dv->wake_at_ns);
		ev.now = w->now;
		device_step(dv, &ev);
		return true;
	}
	return false;
}

bool
testlib_world_step(struct testlib_world *w)
{
	return step_until(w, w->now.mono_ns + FAR_NS);
}

bool
testlib_world_settle(struct testlib_world *w)
{
	for (uint32_t i = 0; i < STEPS_MAX; i++)
		if (!testlib_world_step(w))
			return true;
	return false;
}

void
testlib_world_run(struct testlib_world *w, uint64_t ns)
{
	const uint64_t until = w->now.mono_ns + ns;

	while (step_until(w, until))
		;
	set_time(w, until);
}

struct now
testlib_world_now(const struct testlib_world *w)
{
	return w->now;
}

/* Devices */

static void
world_log(void *arg, enum log_level level, const char *line)
{
	struct device *dv = arg;
	struct testlib_world *w = dv->w;
	char **at = &w->line[w->lines++ % LOG_LINES];
	char text[2300];

	snprintf(text, sizeof(text), "[%9.3f] %s %s %s",
	    (double)w->now.mono_ns / 1e6, dv->name, log_level_name(level),
	    line);
	mem_free(*at);
	*at = mem_strdup(text);
	if (getenv("WORLD_LOG") != NULL)
		printf("%s\n", text);
}

struct testlib_world *
testlib_world_new(uint64_t seed, uint32_t count)
{
	struct testlib_world *w = mem_zalloc(sizeof(*w));

	ASSERT(count <= TESTLIB_DEVICES);
	rng_init(&w->rng, seed);
	w->now.mono_ns = CLOCK_S;
	w->now.wall_ns = INT64_C(1700000000000000000);
	w->count = count;
	w->delay_ns = CLOCK_MS;
	for (uint32_t i = 0; i < count; i++) {
		struct device *dv = &w->dev[i];

		dv->w = w;
		dv->number = i;
		dv->name[0] = (char)('A' + i);
		memset(dv->id.b, (int)(i + 1) * 16, sizeof(dv->id.b));
		dv->log = (struct log){ LOG_DEBUG, world_log, dv };
		dv->disk = testlib_disk_new(i + 1);
		dv->store = store_mem_new();
		dv->folder.trash = true;
		dv->wake_at_ns = CLOCK_NEVER;
	}
	return w;
}

void
testlib_world_free(struct testlib_world *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		engine_free(w->dev[i].en);
		testlib_disk_free(w->dev[i].disk);
		store_mem_free(w->dev[i].store);
	}
	for (size_t i = 0; i < w->heap.len; i++)
		job_free(w->heap.item[i]);
	VEC_FINI(&w->heap);
	for (size_t i = 0; i < LOG_LINES; i++)
		mem_free(w->line[i]);
	mem_free(w);
}

void
testlib_world_set_mode(struct testlib_world *w, uint32_t dev,
    enum folder_mode mode)
{
	w->dev[dev].mode = mode;
}

struct setup_folder *
testlib_world_folder(struct testlib_world *w, uint32_t dev)
{
	return &w->dev[dev].folder;
}

void
testlib_world_set_features(struct testlib_world *w, uint32_t features)
{
	w->features = features;
}

void
testlib_world_set_delay(struct testlib_world *w, uint64_t ns)
{
	w->delay_ns = ns;
}

/* The engine hears of its configuration: EVENT_START or EVENT_SETUP. */
static void
device_setup(struct device *dv, enum event_kind kind)
{
	struct testlib_world *w = dv->w;
	struct setup_device sd[TESTLIB_DEVICES] = { 0 };
	struct devid other[TESTLIB_DEVICES];
	struct setup_folder sf = dv->folder;
	struct event ev = { .kind = kind, .now = w->now };
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->count; i++) {
		if (i == dv->number)
			continue;
		sd[n].id = w->dev[i].id;
		sd[n].name = slice_str(w->dev[i].name);
		other[n++] = w->dev[i].id;
	}
	sf.id = SLICE_LIT("f");
	sf.path = SLICE_LIT("/f");
	sf.mode = dv->mode;
	sf.device = other;
	sf.device_count = n;
	ev.u.setup.self = dv->id;
	ev.u.setup.name = slice_str(dv->name);
	ev.u.setup.seed = rng_u64(&w->rng);
	ev.u.setup.device = sd;
	ev.u.setup.device_count = n;
	ev.u.setup.folder = &sf;
	ev.u.setup.folder_count = 1;
	ev.u.setup.former = w->former;
	ev.u.setup.former_count = w->formers;
	device_step(dv, &ev);
}

void
testlib_world_start(struct testlib_world *w, uint32_t dev)
{
	struct device *dv = &w->dev[dev];

	ASSERT(dv->en == NULL);
	dv->life++;
	dv->en = engine_new(&dv->log);
	device_setup(dv, EVENT_START);
}

void
testlib_world_setup(struct testlib_world *w, uint32_t dev)
{
	device_setup(&w->dev[dev], EVENT_SETUP);
}

static void
tell_peer(struct testlib_world *w, uint32_t dev, uint32_t other, bool up)
{
	struct device *dv = &w->dev[dev];
	struct job *job = job_new(w, dv, JOB_PEER);
	uint64_t at = some_time(w);

	/* One session ends before the next begins. */
	if (at <= dv->told_ns[other])
		at = dv->told_ns[other] + 1;
	dv->told_ns[other] = at;
	job->from = other;
	job->up = up;
	job->link = dv->link[other];
	job_add(w, job, at);
}

void
testlib_world_connect(struct testlib_world *w, uint32_t a, uint32_t b)
{
	if (w->dev[a].link[b] != 0 || w->dev[a].en == NULL ||
	    w->dev[b].en == NULL)
		return;
	w->dev[a].link[b] = w->dev[b].link[a] = ++w->next_link;
	/* Nothing is sent on it before both know. */
	tell_peer(w, a, b, true);
	tell_peer(w, b, a, true);
	w->dev[a].last_ns[b] = w->dev[b].told_ns[a];
	w->dev[b].last_ns[a] = w->dev[a].told_ns[b];
}

void
testlib_world_disconnect(struct testlib_world *w, uint32_t a, uint32_t b)
{
	if (w->dev[a].link[b] == 0)
		return;
	w->dev[a].link[b] = w->dev[b].link[a] = 0;
	tell_peer(w, a, b, false);
	tell_peer(w, b, a, false);
}

void
testlib_world_kill(struct testlib_world *w, uint32_t dev)
{
	struct device *dv = &w->dev[dev];

	for (uint32_t i = 0; i < w->count; i++)
		testlib_world_disconnect(w, dev, i);
	engine_free(dv->en);
	dv->en = NULL;
	memset(dv->session, 0, sizeof(dv->session));
	dv->life++;
	store_mem_crash(dv->store);
	/* What was being done on the disk is done, or not, before anybody
	 * looks again. */
	testlib_world_run(w, w->delay_ns + 2000);
	dv->life++;
}

void
testlib_world_start_all(struct testlib_world *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (w->dev[i].en == NULL)
			testlib_world_start(w, i);
	for (uint32_t i = 0; i < w->count; i++)
		for (uint32_t k = 0; k < i; k++)
			testlib_world_connect(w, k, i);
}

void
testlib_world_rotate(struct testlib_world *w, uint32_t dev)
{
	struct device *dv = &w->dev[dev];
	struct devid was = dv->id;

	ASSERT(w->formers < WORLD_FORMERS);
	for (uint32_t i = 0; i < w->count; i++)
		testlib_world_disconnect(w, dev, i);
	testlib_world_run(w, w->delay_ns + 2000);
	/* Another short ID, too. */
	dv->id.b[0] = (uint8_t)(dv->id.b[0] + w->formers + 1);
	for (uint32_t i = 0; i < w->formers; i++)
		if (devid_equal(&w->former[i].now, &was))
			w->former[i].now = dv->id;
	w->former[w->formers++] = (struct setup_former){ was, dv->id };
	for (uint32_t i = 0; i < w->count; i++)
		if (w->dev[i].en != NULL)
			device_setup(&w->dev[i], EVENT_SETUP);
}

uint64_t
testlib_world_entries(const struct testlib_world *w)
{
	return w->entries;
}

struct testlib_disk *
testlib_world_disk(struct testlib_world *w, uint32_t dev)
{
	testlib_disk_set_time(w->dev[dev].disk, w->now.wall_ns);
	return w->dev[dev].disk;
}

struct engine *
testlib_world_engine(struct testlib_world *w, uint32_t dev)
{
	return w->dev[dev].en;
}

/* Of a directory a real watcher tells name by name; `subtree` stands for it. */
static void
hint_below(struct testlib_world *w, uint32_t dev, const char *path,
    const char *other, bool subtree)
{
	struct device *dv = &w->dev[dev];
	struct job *job;

	if (dv->en == NULL)
		return;
	job = job_new(w, dv, JOB_HINT);
	job->hint[0].path = arena_dup(&job->arena, slice_str(path));
	job->hint[0].subtree = job->hint[1].subtree = subtree;
	job->hint_count = 1;
	if (other != NULL) {
		job->hint[1].path = arena_dup(&job->arena, slice_str(other));
		job->hint_count = 2;
	}
	job_add(w, job, some_time(w));
}

void
testlib_world_hint(struct testlib_world *w, uint32_t dev, const char *path)
{
	hint_below(w, dev, path, NULL, false);
}

void
testlib_world_write(struct testlib_world *w, uint32_t dev, const char *path,
    const char *text)
{
	if (!testlib_disk_write(testlib_world_disk(w, dev), path,
		slice_str(text)))
		return;
	testlib_world_say(w, dev, strlen(text) < 40 ? text : "writes", path);
	testlib_world_hint(w, dev, path);
}

void
testlib_world_mkdir(struct testlib_world *w, uint32_t dev, const char *path)
{
	if (!testlib_disk_mkdir(testlib_world_disk(w, dev), path))
		return;
	testlib_world_say(w, dev, "makes", path);
	testlib_world_hint(w, dev, path);
}

void
testlib_world_remove(struct testlib_world *w, uint32_t dev, const char *path)
{
	if (!testlib_disk_remove(testlib_world_disk(w, dev), path))
		return;
	testlib_world_say(w, dev, "removes", path);
	hint_below(w, dev, path, NULL, true);
}

void
testlib_world_rename(struct testlib_world *w, uint32_t dev, const char *from,
    const char *to)
{
	if (!testlib_disk_rename(testlib_world_disk(w, dev), from, to))
		return;
	testlib_world_say(w, dev, "renames", from);
	testlib_world_say(w, dev, "... to", to);
	hint_below(w, dev, from, to, true); /* the two come together */
}

void
testlib_world_command(struct testlib_world *w, uint32_t dev,
    enum command_kind kind)
{
	struct event ev = { .kind = EVENT_COMMAND, .now = w->now };

	ev.u.command.kind = kind;
	ev.u.command.folder_id = SLICE_LIT("f");
	device_step(&w->dev[dev], &ev);
}

/* Looking at it */

uint64_t
testlib_world_effects(const struct testlib_world *w, uint32_t dev,
    enum effect_kind kind)
{
	return w->dev[dev].effects[kind];
}

uint64_t
testlib_world_flushes(const struct testlib_world *w, uint32_t dev)
{
	return w->dev[dev].flushes;
}

void
testlib_world_fail_flushes(struct testlib_world *w, uint32_t dev, int code)
{
	w->dev[dev].flush_code = code;
}

void
testlib_world_fail_commits(struct testlib_world *w, uint32_t dev, int code)
{
	w->dev[dev].commit_code = code;
}

uint64_t
testlib_world_messages(const struct testlib_world *w)
{
	return w->messages;
}

uint64_t
testlib_world_asked_most(const struct testlib_world *w)
{
	return w->asked_most;
}

uint64_t
testlib_world_payload_bytes(const struct testlib_world *w)
{
	return w->payload_bytes;
}

void
testlib_world_say(struct testlib_world *w, uint32_t dev, const char *what,
    const char *path)
{
	char text[4300];

	snprintf(text, sizeof(text), "person %s %s", what, path);
	world_log(&w->dev[dev], LOG_INFO, text);
}

/* What a device believes of what it does not have, and why. */
static void
print_rows(const struct device *dv)
{
	struct folder *f = dv->en->folder.item[0];
	struct arena ar = { 0 };
	struct slice after = SLICE_EMPTY;
	const struct row *row;

	/* One that halted has closed it. */
	while (f->ix != NULL && (row = index_next(f->ix, after, &ar)) != NULL) {
		int64_t done, total;

		after = row->path;
		if (row->local == row->global &&
		    getenv("WORLD_ALL_ROWS") == NULL)
			continue;
		printf("%s row %.*s flags=%u reason=%s\n", dv->name,
		    SLICE_FMT(row->path), row->flags,
		    reason_name(pull_reason(f, row->path, &done, &total)));
		for (uint32_t i = 0; i < row->version_count; i++) {
			const struct row_version *v = &row->version[i];

			printf("    %s%s %c%s held=%llx known=%llx %s\n",
			    row->local == (int32_t)i ? "L" : " ",
			    row->global == (int32_t)i ? "G" : " ",
			    "fd??l"[v->entry.type],
			    v -> entry.deleted ? " gone" : "",
			    (unsigned long long)v->holders.word[0],
			    (unsigned long long)v->shadows.word[0],
			    version_text(v->entry.version, &ar));
		}
	}
	arena_fini(&ar);
}

void
testlib_world_print_log(const struct testlib_world *w)
{
	const size_t from = w->lines > LOG_LINES ? w->lines - LOG_LINES : 0;

	for (size_t i = from; i < w->lines; i++)
		printf("%s\n", w->line[i % LOG_LINES]);
	for (uint32_t i = 0; i < w->count; i++)
		if (w->dev[i].en != NULL)
			print_rows(&w->dev[i]);
	fflush(stdout);
}

bool
testlib_world_is_same(struct testlib_world *w)
{
	struct arena ar = { 0 };
	const char *first = NULL;
	bool same = true;

	for (uint32_t i = 0; i < w->count; i++) {
		const char *text;

		if (w->dev[i].en == NULL)
			continue;
		text = testlib_disk_dump(w->dev[i].disk, &ar);
		if (first == NULL)
			first = text;
		same = same && strcmp(first, text) == 0;
	}
	arena_fini(&ar);
	return same;
}

void
testlib_world_check_same(struct testlib_world *w)
{
	struct arena ar = { 0 };
	const char *first = NULL;

	for (uint32_t i = 0; i < w->count; i++) {
		const char *text;

		if (w->dev[i].en == NULL)
			continue;
		text = testlib_disk_dump(w->dev[i].disk, &ar);
		if (first == NULL)
			first = text;
		if (strcmp(first, text) != 0) {
			testlib_world_print_log(w);
			printf("--- first\n%s--- %s\n%s", first, w->dev[i].name,
			    text);
			fail_msg("trees differ");
		}
	}
	arena_fini(&ar);
}

void
testlib_world_check_no_temps(struct testlib_world *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		if (w->dev[i].en == NULL ||
		    testlib_disk_temps(w->dev[i].disk) == 0)
			continue;
		testlib_world_print_log(w);
		fail_msg("%s: %zu temps left", w->dev[i].name,
		    testlib_disk_temps(w->dev[i].disk));
	}
}
