#include "engine/disk_task.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/payload.h"

int64_t
disk_task_hash_len(const struct effect *e)
{
	int64_t len = 0;

	if (e->kind == EFFECT_CHUNK_FILE && e->u.chunk.count > 0) {
		for (uint32_t i = 0; i < e->u.chunk.count; i++)
			len += e->u.chunk.range[i].len;
		return len;
	}
	if (e->want.type == IDENTITY_FILE)
		return e->want.size;
	return e->kind == EFFECT_HASH_FILE ? e->u.hash.size : INT64_MAX;
}

static bool
disk_is_big(const struct effect *e)
{
	return disk_task_hash_len(e) > (int64_t)DISK_BIG_FROM;
}

enum disk_queue
disk_task_queue(const struct effect *e)
{
	switch (e->kind) {
	case EFFECT_READ_BLOCK:
		return QUEUE_SERVE;
	case EFFECT_WRITE_TEMP:
	case EFFECT_SEAL_TEMP:
		return QUEUE_WRITE;
	case EFFECT_COPY_TEMP:
	case EFFECT_CHECK_TEMP:
		return QUEUE_COPY;
	case EFFECT_HASH_FILE:
	case EFFECT_CHUNK_FILE:
		return disk_is_big(e) ? QUEUE_BIG : QUEUE_HASH;
	case EFFECT_OPEN_FOLDER:
	case EFFECT_CLOSE_FOLDER:
	case EFFECT_CHECK_ROOT:
	case EFFECT_MAKE_MARKER:
	case EFFECT_COMMIT:
	case EFFECT_SEND:
	case EFFECT_DROP_PEER:
	case EFFECT_LIST_DIR:
	case EFFECT_STAT:
	case EFFECT_READ_FILE:
	case EFFECT_SYNC_TEMPS:
	case EFFECT_DROP_TEMP:
	case EFFECT_LIST_TEMPS:
	case EFFECT_FINISH_FILE:
	case EFFECT_MAKE_LINK:
	case EFFECT_MAKE_DIR:
	case EFFECT_MOVE:
	case EFFECT_REMOVE:
	case EFFECT_SET_META:
	case EFFECT_PUT_BACK:
	case EFFECT_KEEP_VERSION:
	case EFFECT_CLEAN_TRASH:
	case EFFECT_SYNC_DIRS:
	case EFFECT_WATCH:
	case EFFECT_NOTE:
		break;
	}
	return QUEUE_ACT;
}

bool
disk_task_is_flush(enum effect_kind kind)
{
	return kind == EFFECT_SYNC_TEMPS || kind == EFFECT_SYNC_DIRS;
}

/* The slices of an effect that its kind alone has. */
static void
task_slices(struct effect *e, struct slice *out[2])
{
	out[0] = out[1] = NULL;
	if (e->kind == EFFECT_OPEN_FOLDER) {
		out[0] = &e->u.open.path;
		e->u.open.folder_id = SLICE_EMPTY;
	} else if (e->kind == EFFECT_COPY_TEMP) {
		out[0] = &e->u.copy.from_temp;
	} else if (e->kind == EFFECT_FINISH_FILE) {
		out[0] = &e->u.finish.keep;
	} else if (e->kind == EFFECT_MAKE_LINK) {
		out[0] = &e->u.link.target;
	} else if (e->kind == EFFECT_MOVE) {
		out[0] = &e->u.move.to;
	}
}

static size_t
task_extra(const struct effect *e)
{
	struct effect copy = *e;
	struct slice *own[2];
	size_t len = e->path.len + e->temp.len;

	task_slices(&copy, own);
	if (own[0] != NULL)
		len += own[0]->len;
	if (e->kind == EFFECT_CHECK_TEMP)
		len += e->u.check.count * sizeof(struct digest);
	if (e->kind == EFFECT_CHUNK_FILE)
		len += e->u.chunk.count * sizeof(struct chunk_range);
	if (disk_task_is_flush(e->kind)) {
		len += e->u.sync.count * sizeof(struct slice);
		for (uint32_t i = 0; i < e->u.sync.count; i++)
			len += e->u.sync.name[i].len;
	}
	return len;
}

static void
task_keep(struct slice *s, uint8_t **at)
{
	if (s->len > 0)
		memcpy(*at, s->ptr, s->len);
	s->ptr = *at;
	*at += s->len;
}

struct task *
disk_task_new(const struct effect *effect)
{
	struct task *t = mem_alloc(sizeof(*t) + task_extra(effect));
	uint8_t *at = (uint8_t *)(t + 1);
	struct slice *own[2];

	memset(t, 0, sizeof(*t));
	t->effect = *effect;
	if (disk_task_is_flush(effect->kind)) { /* aligned: first */
		struct slice *name = (struct slice *)(void *)at;

		at += effect->u.sync.count * sizeof(*name);
		for (uint32_t i = 0; i < effect->u.sync.count; i++) {
			name[i] = effect->u.sync.name[i];
			task_keep(&name[i], &at);
		}
		t->effect.u.sync.name = name;
	}
	if (effect->kind == EFFECT_CHECK_TEMP) {
		const size_t len =
		    effect->u.check.count * sizeof(struct digest);

		if (len > 0)
			memcpy(at, effect->u.check.hash, len);
		t->effect.u.check.hash = (const void *)at;
		at += len;
	}
	if (effect->kind == EFFECT_CHUNK_FILE) { /* aligned: first */
		const size_t len =
		    effect->u.chunk.count * sizeof(struct chunk_range);

		if (len > 0)
			memcpy(at, effect->u.chunk.range, len);
		t->effect.u.chunk.range = (const void *)at;
		at += len;
	}
	task_keep(&t->effect.path, &at);
	task_keep(&t->effect.temp, &at);
	task_slices(&t->effect, own);
	if (own[0] != NULL)
		task_keep(own[0], &at);
	return t;
}

void
disk_task_free(struct task *t)
{
	if (t->effect.kind == EFFECT_WRITE_TEMP)
		payload_free(t->effect.u.write.payload);
	mem_free(t);
}

uint64_t
disk_task_weight(const struct task *t)
{
	switch (disk_task_queue(&t->effect)) {
	case QUEUE_SERVE:
		return t->effect.u.read.len;
	case QUEUE_WRITE:
		return t->effect.kind == EFFECT_WRITE_TEMP
			   ? t->effect.u.write.payload->len
			   : 0;
	case QUEUE_COPY:
		return t->effect.kind == EFFECT_COPY_TEMP
			   ? (uint64_t)t->effect.u.copy.len
			   : (uint64_t)t->effect.u.check.size;
	case QUEUE_HASH:
		return (uint64_t)disk_task_hash_len(&t->effect);
	case QUEUE_ACT:
	case QUEUE_BIG:
	case QUEUES:
		break;
	}
	/* A whole directory is as good as many small acts. */
	if (t->effect.kind == EFFECT_LIST_DIR)
		return DISK_BATCH_LEN / 4;
	return t->effect.kind == EFFECT_CLEAN_TRASH ? DISK_BATCH_LEN : 0;
}
