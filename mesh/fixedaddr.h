/*
 * The private address that a device keeps: one of IPv6, one of IPv4.
 *
 * They name a device where a name is wanted that is a number and never
 * changes: neither with its network nor with a start, a pairing or a name of
 * its own.  Nothing is routed by them: there is no interface, and the kernel
 * of no device knows them.
 *
 *	IPv6	fd6b:e6d7:f1d6::/48 and 80 bits of a digest of the device ID:
 *		for everybody the same, whoever knows the ID can work it out
 *	IPv4	100.64.0.0/10 and 22 bits of the same digest.  Of a domain's
 *		members no two have the same: who comes later in the log takes
 *		the next that is free
 *
 * A number of IPv4 that was given is never given to another, though its device
 * leave; a device whose key was replaced (ROTATE) keeps it.  Devices that are
 * no members have what their digest says, and may meet there.
 *
 * Pure.  Thread: any; one at a time.  docs/protocol.md, section 11.
 */
#ifndef HOLDFAST_MESH_FIXEDADDR_H
#define HOLDFAST_MESH_FIXEDADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/slice.h"
#include "mesh/members.h"

#define FIXEDADDR_TEXT_MAX 46 /* with NUL */

/* A value; network order. */
struct fixedaddr {
	uint8_t v4[4], v6[16];
};

struct fixedaddr_text {
	char v4[FIXEDADDR_TEXT_MAX], v6[FIXEDADDR_TEXT_MAX];
};

/* Of the members of a log, past ones too.  Opaque. */
struct fixedaddr_book;

/* As the log says now; `ms` is not kept. */
struct fixedaddr_book *fixedaddr_book_new(const struct members *ms);
void fixedaddr_book_free(struct fixedaddr_book *book); /* accepts NULL */

/* Of any device; `book` may be NULL: there is no log. */
void fixedaddr_of(const struct fixedaddr_book *book, const struct devid *id,
    struct fixedaddr *out);
/* Canonical, as people see them. */
void fixedaddr_print(const struct fixedaddr *a, struct fixedaddr_text *out);
/* Is it one of the two, however it is written?  A port does not belong. */
bool fixedaddr_is(const struct fixedaddr *a, struct slice text);

#endif
