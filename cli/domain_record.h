/*
 * What is in HOME/domain, as bytes: docs/formats.md, "The domain".
 *
 *	log        entries as they were taken, each with a checksum; grows
 *	pin        the domain, and the highest head of its log we have seen
 *	members    what the log says of others, for whoever reads the
 *	           configuration; made anew from the log
 *	pending    devices that know a code and wait for a person
 *	invites    codes that are good, and how often they were guessed at
 *	ballot     entries that want more signatures, as in the log; under
 *	           number 0 the wishes that a person denied
 *	owner.key  the owner's secret key, where the domain was founded
 *	owner.next a secret key that the log does not name as an owner's yet
 *
 * Pure.
 */
#ifndef HOLDFAST_CLI_DOMAIN_RECORD_H
#define HOLDFAST_CLI_DOMAIN_RECORD_H

#include "cli/config.h"
#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "mesh/coord.h"
#include "mesh/join.h"
#include "mesh/sign.h"

#define DOMAIN_RECORD_MAX (64u * 1024u * 1024u) /* bytes of a log */

/* One entry of the log file. */
void domain_record_put(uint64_t seq, struct slice entry, struct buf *out);
/*
 * The next one off the front of `rest`.  1: there is one; 0: the file ends
 * here; ERR_CORRUPT: what follows is torn or damaged.  Borrows.
 */
int domain_record_next(struct slice *rest, uint64_t *seq, struct slice *entry,
    struct err *err);

struct domain_pin {
	struct coord_id domain;
	uint64_t seq;
	uint8_t head[32];
};
void domain_record_put_pin(const struct domain_pin *pin, struct buf *out);
int domain_record_pin(struct domain_pin *out, struct slice text,
    struct err *err);

/* The list for config_world; what cannot be read is left out. */
void domain_record_put_members(const struct config_member *m, size_t count,
    struct buf *out);
size_t domain_record_members(struct slice text, struct arena *ar,
    const struct config_member **out);

struct domain_waiting {
	struct join_asker who;
	int64_t wall_s;
};
void domain_record_put_waiting(const struct domain_waiting *w, size_t count,
    struct buf *out);
size_t domain_record_waiting(struct slice text, struct arena *ar,
    struct domain_waiting **out);

/* A code that is good; secret, wipe it. */
struct domain_invite {
	struct join_code code;
	struct devid coordinator; /* whose box it is */
	int64_t expires_wall_s;
	unsigned wrong; /* guesses */
	bool approve;
};
void domain_record_put_invites(const struct domain_invite *in, size_t count,
    struct buf *out);
size_t domain_record_invites(struct slice text, struct arena *ar,
    struct domain_invite **out);

/*
 * A secret key as text: as a device ID, which has check characters, but with
 * "HFR-" in front, so that neither is taken for the other.
 */
#define DOMAIN_KEY_TEXT_MAX (4 + DEVID_TEXT_LEN + 1)
void domain_record_key_text(const struct sign_secret *key,
    char out[DOMAIN_KEY_TEXT_MAX]);
int domain_record_key(struct sign_secret *out, struct slice text,
    struct err *err);
/* An owner's public key likewise, with "HFO-" in front. */
void domain_record_public_text(const struct sign_public *key,
    char out[DOMAIN_KEY_TEXT_MAX]);
int domain_record_public(struct sign_public *out, struct slice text,
    struct err *err);

#endif
