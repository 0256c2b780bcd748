/*
 * The inside of the writer: shared by writer*.c, for nobody else.
 *
 * writer.c gathers batches and leads each through its stages, in order.  The
 * others do one thing each for it and know no order: writer_intent.c says what
 * is written down of an item, and whether it is still to be done; writer_act.c
 * changes its name on disk; writer_clean.c sees to what came off that name.
 *
 * Thread: loop.  An item belongs to one list at a time, by item->node: the
 * ready ones, or those of its batch.
 */
#ifndef HOLDFAST_ENGINE_WRITER_STATE_H
#define HOLDFAST_ENGINE_WRITER_STATE_H

#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/writer.h"

/* Conflict names tried, a second apart each. */
#define WRITER_KEEP_TRIES 1000u

/* In the order of time. */
enum batch_stage {
	BATCH_STAGING,
	BATCH_INTENDED,
	BATCH_ACTING,
	BATCH_NAMED,
	BATCH_FLUSHING,
	BATCH_PUTTING,
	BATCH_CLEANING,
	BATCH_FILING,
};

struct batch {
	struct list_node node; /* in writer->batches, oldest first */
	struct writer *wr;
	enum batch_stage stage;
	struct list items;
	uint32_t left; /* answers due in this stage */
	int code;      /* STAGING: why it failed */
	char text[200];
};

/* Directories that are flushed together, each once. */
struct writer_dirs {
	struct map seen;
	struct slice *name; /* in scratch */
	uint32_t count;
};

struct writer {
	struct pull *pl;
	struct list ready;
	struct list batches;
	struct buf record; /* scratch, for one intent */
};

/* `n` may leave the batch meanwhile; no other may. */
#define BATCH_EACH(b, n)                                                       \
	for (struct list_node *n = list_first(&(b)->items), *n##_next;         \
	     n != NULL && (n##_next = list_next(&(b)->items, n), true);        \
	     n = n##_next)
#define ITEM_OF(n) LIST_ITEM(n, struct item, node)

/* writer.c */
/* `it` goes out of its batch, which goes on without it; it is the caller's. */
void writer_leave(struct batch *b, struct item *it);
/* What is seen at its names from here on is a person's doing again. */
void writer_disown(struct item *it);
/* It leaves and is parked, or planned anew, as `code` says. */
void writer_fail(struct batch *b, struct item *it, int code, struct slice text);
/* The answer to writer_act(): done, failed, or to be tried again.  Once each;
 * the item may have left.  With the last one the batch goes on, or is freed. */
void writer_acted(struct batch *b);
/* Nothing is in it any more: frees it, and the next may begin. */
void writer_end(struct batch *b);
/* Of item->keep_tries: each try another.  In scratch. */
struct slice writer_conflict_name(const struct item *it);
/* For `cap` directories at most, to be asked for in this step. */
void writer_dirs_init(struct writer_dirs *dirs, struct folder *f, size_t cap);
/* Borrows `path` until they are flushed. */
void writer_dirs_add(struct writer_dirs *dirs, struct slice path);
/* Ask for it, with `done`; ends `dirs`. */
void writer_dirs_flush(struct writer_dirs *dirs, struct folder *f,
    core_done_fn *done, void *arg);

/* writer_intent.c */
/*
 * Does the index still ask for this?  No: something came since that makes what
 * we had the winner, or a rule that ignores it.
 */
bool writer_is_wanted(const struct item *it);
/* ... and is what is here what it was when this was planned?  Takes over how
 * it looks now. */
bool writer_is_current(struct item *it);
/* Put down what is about to be done, to be committed before; false: there is
 * nothing to be put down. */
bool writer_intend(struct writer *wr, struct item *it);
/* Nothing is half done: the intent, if there is one, goes with the next
 * commit. */
void writer_drop_intent(struct item *it);

/* writer_act.c */
/*
 * Change the name on disk.  When that is done item->seen says what is at the
 * name, item->kept what came off it and is in the temp; who failed has left the
 * batch.  writer_acted() in any case, in a later step.
 */
void writer_act(struct item *it);
/* The attributes that the act shall leave. */
struct effect_meta writer_act_meta(const struct item *it);

/* writer_clean.c */
/*
 * The rows are durable: tell of the changes, and see that what came off the
 * names is in the trash can, under a name of its own, or dropped.  Frees the
 * batch when that is done, at once or later.
 */
void writer_clean(struct batch *b);

#endif
