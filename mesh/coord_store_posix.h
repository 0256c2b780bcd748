/*
 * What a coordinator keeps on disk: a log of entries for each domain, and the
 * audit log.  docs/formats.md 6.
 *
 * Both are only ever appended to.  What a crash left half written at the end is
 * dropped at the next opening; what is damaged in the middle ends that domain's
 * log there, with a line in the log: its members bring the rest again.
 *
 * What was appended is on disk after a flush, which may be had in two halves:
 * coord_store_take_late() on the loop, coord_store_sync() on a worker.
 *
 * Thread: loop, but for coord_store_sync().
 */
#ifndef HOLDFAST_MESH_COORD_STORE_POSIX_H
#define HOLDFAST_MESH_COORD_STORE_POSIX_H

#include "engine/base/err.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "mesh/coord.h"
#include "mesh/coord_audit.h"

/* Opaque. */
struct coord_store;

/* What is to be flushed; owns its descriptors.  Zeroed: nothing. */
struct coord_store_late {
	int fd[LIMIT_COORD_UNFLUSHED];
	size_t count;
	bool has_dir; /* the last of them is the directory: a log is new */
};

/* An entry that was kept; an error ends that domain's log before it. */
typedef int coord_store_entry_fn(void *arg, const struct coord_id *domain,
    uint64_t seq, struct slice entry, struct err *err);

/* Makes `dir` when it is not there, and reads what is in it. */
int coord_store_open(struct coord_store **out, const char *dir,
    coord_store_entry_fn *on_entry, void *arg, const struct log *log,
    struct err *err);
void coord_store_close(struct coord_store *st); /* accepts NULL */
/* Append an entry; it is on disk after the next flush. */
int coord_store_keep(struct coord_store *st, const struct coord_id *domain,
    uint64_t seq, struct slice entry, struct err *err);
int coord_store_flush(struct coord_store *st, struct err *err);
bool coord_store_is_late(const struct coord_store *st);
/* Gives all that was kept since the last flush was taken. */
void coord_store_take_late(struct coord_store *st,
    struct coord_store_late *out);
/* Bring it to the disk and close it.  Any thread; touches no store. */
int coord_store_sync(struct coord_store_late *late, struct err *err);
/* Append a line to the audit log. */
int coord_store_note(struct coord_store *st,
    const struct coord_audit_note *note, struct err *err);

#endif
