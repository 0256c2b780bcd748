/*
 * The audit log of a coordinator: one JSON line an event, each bound to the one
 * before by its digest.
 *
 *	{"n":7,"time":"...","what":"add","actor":"ID","from":"IP:PORT",
 *	 "domain":"HEX","text":"...","prev":"HEX","hash":"HEX"}
 *
 * `hash` is the SHA-256 of the line up to and without `,"hash"`; `prev` is the
 * hash of the line before (zeros before the first).  So a line that was changed
 * or taken out shows.  Who rewrites all of it, and has the whole file, is not
 * found out by the file alone: the last hash, noted elsewhere, tells.
 *
 * Pure.  Thread: any.
 */
#ifndef HOLDFAST_MESH_COORD_AUDIT_H
#define HOLDFAST_MESH_COORD_AUDIT_H

#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/buf.h"
#include "engine/base/digest.h"
#include "engine/base/err.h"
#include "mesh/coord.h"

/* Where a log stands: zeroed before its first line. */
struct coord_audit {
	uint64_t n; /* of the last line */
	struct digest hash;
};

struct coord_audit_note {
	int64_t wall_ns;
	const char *what;
	struct devid actor; /* none: the coordinator itself */
	const char *from;
	struct coord_id domain; /* zero: none */
	const char *text;
};

/* Append the line, with its newline, and go on to it. */
void coord_audit_put(struct coord_audit *at,
    const struct coord_audit_note *note, struct buf *out);
/*
 * Does `line`, without its newline, follow?  Goes on to it.  At a zeroed `at`
 * any number and `prev` are taken: older lines may have been put away.
 * ERR_CORRUPT says what is wrong.
 */
int coord_audit_check(struct coord_audit *at, struct slice line,
    struct err *err);
/* The bytes of `log` in whole lines. */
size_t coord_audit_whole(struct slice log);

#endif
