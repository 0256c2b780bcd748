/*
 * Our discovery server: devices tell it where they are, and anybody who knows a
 * device's ID is told.  Syncthing's global discovery v3, the side that answers;
 * finder.h is the one that asks.  BEP-FACTS.md 10.2.
 *
 *	POST, with its certificate  {"addresses": [...]}  -> 204
 *	GET ?device=ID                                    -> 200 {"addresses",
 *	                                                     "seen"}, or 404
 *
 * Rules
 *   - a device is who its certificate says, and speaks for itself alone.  The
 *     caller says whether it may.
 *   - what it says replaces what it said, and is forgotten after
 *     DISCO_LIFE_S; it is asked to come again long before that.
 *   - an unspecified host is the one the request came from; nothing a header
 *     says changes that.  Loopback is for those on this machine, from those on
 *     this machine; what is of a link is for nobody.  No relay's token stays.
 *   - a device that is known may always come again; new ones have to find room,
 *     LIMIT_DISCO_SOURCE of one source and LIMIT_DISCO_DEVICES in all.
 *   - each request costs its source a token (doorman.h).
 *   - it is in memory alone: after a restart devices tell it again.
 *
 * Thread: loop.  Pure: time comes in, randomness is a seeded generator.
 */
#ifndef HOLDFAST_MESH_DISCO_H
#define HOLDFAST_MESH_DISCO_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "mesh/addr.h"
#include "mesh/http.h"

#define DISCO_ADDRESSES 16u /* kept of one device; the rest is left out */
#define DISCO_LIFE_S 3600u
#define DISCO_AGAIN_S 1200u /* and up to DISCO_JITTER_S more */
#define DISCO_JITTER_S 300u
#define DISCO_MISS_S 60u /* who asked in vain may ask again */
#define DISCO_DENIED_S 300u

/* Opaque. */
struct disco;

struct disco_asker {
	const struct devid *id; /* its certificate's; NULL: it showed none */
	bool may;               /* tell where it is */
	const struct addr *from;
};

struct disco *disco_new(uint64_t seed);
void disco_free(struct disco *ds); /* accepts NULL */
/*
 * Append the whole answer to `out`.  Returns its status; one of 400 and more
 * but 404 means that the request was vain.
 */
int disco_answer(struct disco *ds, const struct http_request *q,
    const struct disco_asker *who, struct now now, struct buf *out);
/* To what was no request; `status` is http_parse()'s. */
void disco_refuse(int status, struct buf *out);

struct disco_state {
	size_t devices;                    /* known now, or lately */
	uint64_t announced, found, missed; /* since the beginning */
	uint64_t refused;                  /* all other answers */
};
void disco_state(const struct disco *ds, struct disco_state *out);

/* --- JSON, in disco_jansson.c --- */

/*
 * The addresses of an announcement that can be told to others, as texts that
 * each end in NUL, at most DISCO_ADDRESSES and LIMIT_DISCO_LEN bytes.  Those
 * that cannot are left out.  ERR_PROTOCOL when it is no announcement.
 */
int disco_decode(struct slice body, const struct addr *from, struct buf *out,
    struct err *err);
/* Those of them that concern who asks; `near`: from this machine.  False, and
 * nothing, when none does. */
bool disco_encode(struct slice texts, int64_t seen_wall_ns, bool near,
    struct buf *out);

#endif
