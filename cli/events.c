/*
 * A ring of events; see events.h.  Each keeps its texts in one allocation.
 */
#include "cli/events.h"

#include "engine/base/assert.h"
#include "engine/base/mem.h"

struct events_slot {
	struct events_item item;
	uint8_t *text; /* owned: what the slices of item point into */
};

struct events {
	struct events_slot slot[EVENTS_KEPT]; /* id % EVENTS_KEPT */
	uint64_t last;
	void (*wake)(void *arg);
	void *wake_arg;
};

static const char *const events_names[EVENTS_TYPE_COUNT] = {
	[EVENTS_STARTED] = "started",
	[EVENTS_STOPPING] = "stopping",
	[EVENTS_CONFIG_LOADED] = "config.loaded",
	[EVENTS_CONFIG_REFUSED] = "config.refused",
	[EVENTS_FOLDER_STATE] = "folder.state",
	[EVENTS_SCAN] = "folder.scanned",
	[EVENTS_LOCAL_CHANGE] = "change.local",
	[EVENTS_REMOTE_CHANGE] = "change.remote",
	[EVENTS_CONFLICT] = "conflict",
	[EVENTS_ITEM_FAILED] = "item.failed",
	[EVENTS_DEVICE_UP] = "device.up",
	[EVENTS_DEVICE_DOWN] = "device.down",
	[EVENTS_DEVICE_NEED] = "device.need",
	[EVENTS_PENDING_DEVICE] = "pending.device",
	[EVENTS_PENDING_FOLDER] = "pending.folder",
	[EVENTS_INTRODUCED] = "introduced",
	[EVENTS_HELD] = "folder.held",
};

struct events *
events_new(void)
{
	return mem_zalloc(sizeof(struct events));
}

void
events_free(struct events *ev)
{
	if (ev == NULL)
		return;
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		mem_free(ev->slot[i].text);
	mem_free(ev);
}

void
events_wake(struct events *ev)
{
	if (ev->wake != NULL)
		ev->wake(ev->wake_arg);
}

void
events_set_wake(struct events *ev, void (*wake)(void *arg), void *arg)
{
	ev->wake = wake;
	ev->wake_arg = arg;
}

static struct slice
events_keep(uint8_t **at, struct slice s)
{
	struct slice kept = slice_of(*at, s.len);

	if (s.len > 0)
		memcpy(*at, s.ptr, s.len);
	*at += s.len;
	return kept;
}

uint64_t
events_put(struct events *ev, const struct events_item *item)
{
	const uint64_t id = ++ev->last;
	struct events_slot *slot = &ev->slot[id % EVENTS_KEPT];
	uint8_t *at;

	ASSERT((unsigned)item->type < EVENTS_TYPE_COUNT);
	mem_free(slot->text);
	slot->text =
	    mem_alloc(item->folder.len + item->path.len + item->text.len +
		      item->action.len + item->device_name.len);
	at = slot->text;
	slot->item = *item;
	slot->item.id = id;
	slot->item.folder = events_keep(&at, item->folder);
	slot->item.path = events_keep(&at, item->path);
	slot->item.text = events_keep(&at, item->text);
	slot->item.action = events_keep(&at, item->action);
	slot->item.device_name = events_keep(&at, item->device_name);
	events_wake(ev);
	return id;
}

static enum events_type
events_type_of(enum note_kind kind)
{
	switch (kind) {
	case NOTE_FOLDER_STATE:
		return EVENTS_FOLDER_STATE;
	case NOTE_SCAN:
		return EVENTS_SCAN;
	case NOTE_LOCAL_CHANGE:
		return EVENTS_LOCAL_CHANGE;
	case NOTE_REMOTE_CHANGE:
		return EVENTS_REMOTE_CHANGE;
	case NOTE_CONFLICT:
		return EVENTS_CONFLICT;
	case NOTE_ITEM_FAILED:
		return EVENTS_ITEM_FAILED;
	case NOTE_PEER_STATE:
		return EVENTS_DEVICE_NEED;
	case NOTE_PENDING_FOLDER:
		return EVENTS_PENDING_FOLDER;
	case NOTE_HELD:
		return EVENTS_HELD;
	case NOTE_INTRODUCED:
		return EVENTS_INTRODUCED;
	}
	return EVENTS_FOLDER_STATE;
}

uint64_t
events_put_note(struct events *ev, int64_t wall_ns, struct slice folder_id,
    struct slice device_name, const struct effect_note *note)
{
	struct events_item item = {
		.wall_ns = wall_ns,
		.type = events_type_of(note->kind),
		.reason = note->reason,
		.folder = folder_id,
		.path = note->path,
		.text = note->text,
		.action = note->action,
		.device = note->device,
		.device_name = device_name,
		.count = note->count,
		.bytes = note->bytes,
	};

	/* These notes have the folder's ID where others have a path. */
	if (note->kind == NOTE_PENDING_FOLDER ||
	    note->kind == NOTE_FOLDER_STATE) {
		item.folder = note->path;
		item.path = SLICE_EMPTY;
	}
	return events_put(ev, &item);
}

uint64_t
events_last(const struct events *ev)
{
	return ev->last;
}

const struct events_item *
events_next(const struct events *ev, uint64_t since)
{
	const uint64_t oldest =
	    ev->last > EVENTS_KEPT ? ev->last - EVENTS_KEPT + 1 : 1;
	const uint64_t id = since + 1 > oldest ? since + 1 : oldest;

	if (since >= ev->last)
		return NULL;
	return &ev->slot[id % EVENTS_KEPT].item;
}

const char *
events_type_name(enum events_type t)
{
	ASSERT((unsigned)t < EVENTS_TYPE_COUNT);
	return events_names[t];
}
