/*
 * The core's services: effects, their answers, timers.  See core.h.
 */
#include "engine/core.h"

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/core_state.h"
#include "engine/folder.h"

static uint64_t
core_add_op(struct engine *en, struct folder *f, core_done_fn *done, void *arg)
{
	const uint64_t id = ++en->next_id;
	struct core_op *op;

	op = en->spare_op.len > 0 ? en->spare_op.item[--en->spare_op.len]
				  : mem_alloc(sizeof(*op));
	*op = (struct core_op){ .f = f, .done = done, .arg = arg };
	umap_put(&en->op, id, op);
	if (f != NULL)
		f->ops++;
	return id;
}

static struct effect *
core_add_effect(struct engine *en, enum effect_kind kind)
{
	struct effect *ef = VEC_ADD(&en->effect);

	memset(ef, 0, sizeof(*ef));
	ef->kind = kind;
	return ef;
}

struct effect *
core_ask(struct folder *f, enum effect_kind kind, core_done_fn *done, void *arg)
{
	struct effect *ef = core_tell(f, kind);

	ASSERT(done != NULL);
	ef->id = core_add_op(f->en, f, done, arg);
	return ef;
}

struct effect *
core_tell(struct folder *f, enum effect_kind kind)
{
	struct effect *ef = core_add_effect(f->en, kind);

	ef->folder = f->number;
	return ef;
}

struct effect *
core_ask_peer(struct engine *en, enum effect_kind kind, core_done_fn *done,
    void *arg)
{
	struct effect *ef = core_add_effect(en, kind);

	if (done != NULL)
		ef->id = core_add_op(en, NULL, done, arg);
	return ef;
}

struct effect_note *
core_note(struct folder *f, enum note_kind kind)
{
	struct effect *ef = core_tell(f, EFFECT_NOTE);

	ef->u.note.kind = kind;
	return &ef->u.note;
}

bool
core_done(struct engine *en, const struct event *ev)
{
	struct core_op *op = umap_remove(&en->op, ev->u.done.id);
	struct core_op what;

	if (op == NULL)
		return false;
	what = *op;
	*VEC_ADD(&en->spare_op) = op;
	if (what.f != NULL) {
		ASSERT(what.f->ops > 0);
		what.f->ops--;
	}
	what.done(what.f, what.arg, ev);
	return true;
}

void
core_commit(struct folder *f, core_done_fn *done, void *arg)
{
	*VEC_ADD(&f->commit_wait) =
	    (struct folder_waiter){ .done = done, .arg = arg };
}

void
core_map_init(struct engine *en, struct map *m)
{
	map_init_seed(m, en->setup.hash_seed);
}

void
core_timer_init(struct core_timer *t,
    void (*fire)(struct engine *en, void *arg), void *arg)
{
	t->node.pos = HEAP_OUT;
	t->fire = fire;
	t->arg = arg;
}

void
core_timer_set(struct engine *en, struct core_timer *t, uint64_t at_ns)
{
	heap_remove(&en->timer, &t->node);
	heap_add(&en->timer, &t->node, at_ns);
}

void
core_timer_clear(struct engine *en, struct core_timer *t)
{
	heap_remove(&en->timer, &t->node);
}

void
core_fire(struct engine *en)
{
	/* What is set by a timer that fires is for the next step, due or not:
	 * a step stays as short as its parts think it is. */
	const uint64_t order = en->timer.next_order;

	for (;;) {
		struct heap_node *n = heap_first(&en->timer);
		struct core_timer *t;

		if (n == NULL || n->at_ns > en->now.mono_ns ||
		    n->order >= order)
			return;
		t = (struct core_timer *)(void *)((char *)n -
						  offsetof(struct core_timer,
						      node));
		heap_remove(&en->timer, n);
		t->fire(en, t->arg);
	}
}

struct now
core_now(const struct engine *en)
{
	return en->now;
}

struct arena *
core_scratch(struct engine *en)
{
	return &en->scratch;
}

const struct log *
core_log(const struct engine *en)
{
	return en->log;
}

struct rng *
core_rng(struct engine *en)
{
	return &en->rng;
}

const struct setup *
core_setup(const struct engine *en)
{
	return &en->setup;
}

uint64_t
core_self_short(const struct engine *en)
{
	return devid_short(&en->setup.self);
}
