/*
 * Events for people and scripts: a bounded memory of what happened.
 *
 * The daemon puts them in; the local API gives them out by number.  Numbers
 * grow by one and begin anew with each start of the daemon; the oldest are
 * forgotten.  Thread: loop.
 */
#ifndef HOLDFAST_CLI_EVENTS_H
#define HOLDFAST_CLI_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/slice.h"
#include "engine/effect.h"
#include "engine/reason.h"

#define EVENTS_KEPT 2048u

enum events_type {
	EVENTS_STARTED, /* the daemon */
	EVENTS_STOPPING,
	EVENTS_CONFIG_LOADED,  /* the configuration was read again */
	EVENTS_CONFIG_REFUSED, /* it has mistakes: text */
	EVENTS_FOLDER_STATE,   /* text: state; reason */
	EVENTS_SCAN,           /* a scan ended: count, bytes */
	EVENTS_LOCAL_CHANGE,   /* path, action */
	EVENTS_REMOTE_CHANGE,  /* path, action, device */
	EVENTS_CONFLICT,       /* path: the copy */
	EVENTS_ITEM_FAILED,    /* path, reason, text */
	EVENTS_DEVICE_UP,      /* text: address */
	EVENTS_DEVICE_DOWN,    /* text: why */
	EVENTS_DEVICE_NEED,    /* what it lacks changed: count, bytes */
	EVENTS_PENDING_DEVICE, /* a stranger knocked: device, text: name */
	EVENTS_PENDING_FOLDER, /* device offers folder; text: label */
	EVENTS_INTRODUCED,     /* device, text: name */
	EVENTS_HELD,           /* device's mass change waits: count, reason */
	EVENTS_TYPE_COUNT
};

/* Borrows; events_put() copies. */
struct events_item {
	uint64_t id; /* given by events_put() */
	int64_t wall_ns;
	enum events_type type;
	enum reason reason;
	struct slice folder; /* ID */
	struct slice path, text, action;
	struct slice device_name;
	struct devid device; /* none: no device */
	int64_t count, bytes;
};

struct events; /* opaque */

struct events *events_new(void);
void events_free(struct events *ev); /* accepts NULL */
/*
 * `wake` is called after each events_put(): someone may be waiting.  One at a
 * time (the API); NULL for none.
 */
void events_set_wake(struct events *ev, void (*wake)(void *arg), void *arg);
/* The same without an event: what is waited for is no event. */
void events_wake(struct events *ev);
uint64_t events_put(struct events *ev, const struct events_item *item);
/* A note of the engine as an event. */
uint64_t events_put_note(struct events *ev, int64_t wall_ns,
    struct slice folder_id, struct slice device_name,
    const struct effect_note *note);
uint64_t events_last(const struct events *ev); /* 0: none yet */
/* The first event with id > `since`; NULL: none.  Borrowed until a put. */
const struct events_item *events_next(const struct events *ev, uint64_t since);
/* "folder.state", "change.local", ...: stable. */
const char *events_type_name(enum events_type t);

#endif
