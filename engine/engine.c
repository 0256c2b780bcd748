/*
 * The engine's one call: an event is given to the part it concerns.
 */
#include "engine/engine.h"

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/brake.h"
#include "engine/core_state.h"
#include "engine/folder.h"
#include "engine/pull.h"
#include "engine/scan.h"
#include "engine/trash.h"

struct engine *
engine_new(const struct log *log)
{
	struct engine *en = mem_zalloc(sizeof(*en));

	en->log = log;
	arena_init(&en->scratch);
	arena_init(&en->setup_arena[0]);
	arena_init(&en->setup_arena[1]);
	umap_init(&en->op);
	list_init(&en->sent);
	return en;
}

void
engine_free(struct engine *en)
{
	if (en == NULL)
		return;
	for (size_t i = 0; i < en->peer.len; i++)
		exchange_peer_free(en->peer.item[i]);
	exchange_sent_free(en);
	for (size_t i = 0; i < en->folder.len; i++)
		if (en->folder.item[i] != NULL)
			folder_free(en->folder.item[i]);
	for (struct umap_item *it = NULL;
	     (it = umap_next(&en->op, it)) != NULL;)
		mem_free(it->value);
	umap_fini(&en->op);
	for (size_t i = 0; i < en->spare_op.len; i++)
		mem_free(en->spare_op.item[i]);
	VEC_FINI(&en->spare_op);
	VEC_FINI(&en->folder);
	VEC_FINI(&en->peer);
	VEC_FINI(&en->effect);
	heap_fini(&en->timer);
	arena_fini(&en->scratch);
	arena_fini(&en->setup_arena[0]);
	arena_fini(&en->setup_arena[1]);
	mem_free(en);
}

static struct folder *
engine_folder_by_id(const struct engine *en, struct slice id)
{
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];

		if (f != NULL && !f->removed && slice_equal(f->cfg.id, id))
			return f;
	}
	return NULL;
}

static struct folder *
engine_folder_by_number(const struct engine *en, uint32_t number)
{
	return number < en->folder.len ? en->folder.item[number] : NULL;
}

/* A number that no folder has; numbers of freed folders are used again. */
static uint32_t
engine_free_number(struct engine *en)
{
	for (uint32_t i = 0; i < en->folder.len; i++)
		if (en->folder.item[i] == NULL)
			return i;
	*VEC_ADD(&en->folder) = NULL;
	return (uint32_t)en->folder.len - 1;
}

/* Before anybody asks who is shared with: those who go by another ID now. */
static void
engine_rename(struct engine *en)
{
	const struct setup *su = &en->setup;

	for (uint32_t i = 0; i < su->former_count; i++) {
		const struct setup_former *who = &su->former[i];

		exchange_peer_down(en, &who->was);
		for (size_t k = 0; k < en->folder.len; k++)
			if (en->folder.item[k] != NULL)
				folder_rename(en->folder.item[k], &who->was,
				    &who->now);
	}
}

static void
engine_setup(struct engine *en, const struct setup *in)
{
	const int at = 1 - en->setup_at;
	const struct setup *su = &en->setup;

	arena_clear(&en->setup_arena[at]);
	setup_copy(&en->setup, in, &en->setup_arena[at]);
	en->setup_at = at;
	engine_rename(en);
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];
		bool found = false;

		for (uint32_t k = 0; f != NULL && k < su->folder_count; k++)
			found =
			    found || slice_equal(su->folder[k].id, f->cfg.id);
		if (f != NULL && !found) {
			f->removed = true;
			folder_close(f);
		}
	}
	for (uint32_t i = 0; i < su->folder_count; i++) {
		struct folder *f = engine_folder_by_id(en, su->folder[i].id);

		if (f != NULL) {
			folder_setup(f, &su->folder[i]);
		} else {
			const uint32_t number = engine_free_number(en);

			en->folder.item[number] =
			    folder_new(en, number, &su->folder[i]);
		}
	}
	exchange_setup_changed(en);
}

static void
engine_command(struct engine *en, const struct event *ev)
{
	struct folder *f = engine_folder_by_id(en, ev->u.command.folder_id);

	if (f == NULL)
		return;
	switch (ev->u.command.kind) {
	case COMMAND_SCAN:
		if (f->ix == NULL) {
			folder_reopen(f);
			break;
		}
		folder_read_ignores(f); /* what is found is judged by them */
		if (ev->u.command.path.len == 0)
			scan_all(f);
		else
			scan_hint(f, ev->u.command.path, true);
		break;
	case COMMAND_OVERRIDE:
		folder_override(f);
		break;
	case COMMAND_REVERT:
		folder_revert(f);
		break;
	case COMMAND_IGNORES:
		folder_read_ignores(f);
		break;
	case COMMAND_CONFIRM:
		brake_confirm(f);
		break;
	case COMMAND_REJECT:
		folder_reject(f);
		break;
	case COMMAND_EMPTY_TRASH:
		trash_empty(f);
		break;
	case COMMAND_ADOPT:
		folder_adopt(f);
		break;
	case COMMAND_RETRY:
		if (f->ix == NULL)
			folder_reopen(f);
		else
			pull_retry(f);
		break;
	}
}

static void
engine_dispatch(struct engine *en, const struct event *ev)
{
	struct folder *f;

	switch (ev->kind) {
	case EVENT_START:
		ASSERT(!en->started);
		en->started = true;
		rng_init(&en->rng, ev->u.setup.seed);
		engine_setup(en, &ev->u.setup);
		break;
	case EVENT_SETUP:
		engine_setup(en, &ev->u.setup);
		break;
	case EVENT_TICK:
		break; /* timers fire in every step */
	case EVENT_CHANGES:
		f = engine_folder_by_number(en, ev->u.changes.folder);
		if (f != NULL)
			folder_hints(f, ev);
		break;
	case EVENT_PEER_UP:
		exchange_peer_up(en, ev);
		break;
	case EVENT_PEER_DOWN:
		exchange_peer_down(en, &ev->u.peer.device);
		break;
	case EVENT_MESSAGE:
		exchange_message(en, ev);
		break;
	case EVENT_DONE:
		if (!core_done(en, ev))
			payload_free(ev->u.done.payload);
		break;
	case EVENT_COMMAND:
		engine_command(en, ev);
		break;
	}
}

/* Begin commits that are due; free folders that are gone. */
static void
engine_step_end(struct engine *en)
{
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];

		if (f == NULL)
			continue;
		folder_step_end(f);
		if (f->removed && f->state == FOLDER_CLOSED && f->ops == 0) {
			folder_free(f);
			en->folder.item[i] = NULL;
		}
	}
}

void
engine_step(struct engine *en, const struct event *event, struct effects *out)
{
	const struct heap_node *first;

	arena_clear(&en->scratch);
	VEC_CLEAR(&en->effect);
	en->now = event->now;
	engine_dispatch(en, event);
	core_fire(en);
	engine_step_end(en);
	first = heap_first(&en->timer);
	*out = (struct effects){
		.item = en->effect.item,
		.count = en->effect.len,
		.wake_at_ns = first == NULL ? CLOCK_NEVER : first->at_ns,
	};
}
