/*
 * The coordinator: what it knows and whom it tells, without a socket or a file.
 *
 *   NEW -> MEMBER               its log says so
 *      \-> APPLICANT -> MEMBER  it has entries that we lack, and brings them
 *      \-> STRANGER             without a domain: letters alone
 *
 * A guest is a connection whose device has shown who it is.  What is done about
 * what a guest says comes out as effects, to be taken with coord_server_next()
 * after every call here.  Entries are checked with members.h, so nobody here
 * decides who is a member.
 *
 * Rules
 *   - a domain is taken on from a guest who may found (the caller's to say) and
 *     is a member of what it brings; entry by entry, each proven.
 *   - who hears what: entries, the members of that domain that are here; where
 *     a device is, those of its domain who want it; a signal, its device.
 *     Nobody else costs anything: the work grows with those concerned.
 *   - a device that left is shown, not here, for LIMIT_COORD_GONE_NS.
 *   - a member that is none any more is told and let go at once.
 *   - the newest connection of a member is its only one.
 *   - each guest has tokens for what it says; who has none left goes.
 *   - a box is its owner's for LIMIT_COORD_BOX_NS, here or not, and takes
 *     letters of LIMIT_COORD_BOX_STRANGERS strangers.
 *
 * Thread: loop.  Pure: time comes in, randomness is a seeded generator.
 */
#ifndef HOLDFAST_MESH_COORD_SERVER_H
#define HOLDFAST_MESH_COORD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/clock.h"
#include "mesh/coord.h"

/* Opaque. */
struct coord_server;
struct coord_server_guest;

enum coord_server_kind {
	COORD_SERVER_SEND, /* `bytes`, whole messages, to `guest` */
	COORD_SERVER_DROP, /* hang up on `guest` when that is sent */
	COORD_SERVER_KEEP, /* `bytes` is entry `seq` of `domain`: to the disk */
	COORD_SERVER_NOTE, /* one for the audit log */
};

struct coord_server_effect {
	enum coord_server_kind kind;
	struct coord_server_guest *guest;
	void *owner; /* of the guest */
	bool vain;   /* DROP: it was nothing, and costs its source */
	struct coord_id domain;
	uint64_t seq;
	struct slice bytes;
	/* NOTE: who did what; texts are for people. */
	const char *what;
	struct devid actor;
	const char *from, *text;
};

struct coord_server *coord_server_new(uint64_t seed);
void coord_server_free(struct coord_server *s); /* accepts NULL */
/* Ports of STUN on this host, told to guests from now on; 0: none. */
void coord_server_set_stun(struct coord_server *s, uint16_t a, uint16_t b);

/* An entry as it was kept, in the order in which it was.  ERR_CORRUPT. */
int coord_server_restore(struct coord_server *s, const struct coord_id *domain,
    uint64_t seq, struct slice entry, struct err *err);

/*
 * A device is connected `from` there.  `may_found`: it may bring a domain that
 * we do not have.  Until coord_server_leave(), which each guest wants once.
 */
struct coord_server_guest *coord_server_enter(struct coord_server *s,
    void *owner, const struct devid *id, const struct addr *from,
    bool may_found, struct now now);
/* Is it a member of a domain now? */
bool coord_server_is_in(const struct coord_server_guest *g);
/* Is this device a member of any domain here?  Costs a look at each. */
bool coord_server_knows(const struct coord_server *s, const struct devid *id,
    struct now now);
/* It says that.  Nothing after its DROP. */
void coord_server_hear(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now);
/* It says what is no message. */
void coord_server_garbled(struct coord_server *s, struct coord_server_guest *g,
    struct now now);
void coord_server_leave(struct coord_server *s, struct coord_server_guest *g,
    struct now now);
void coord_server_tick(struct coord_server *s, struct now now);
uint64_t coord_server_wake_at(const struct coord_server *s);
/*
 * What is to be done, in order; false when that is all.  What it points to
 * lives until that.  No other call here before.
 */
bool coord_server_next(struct coord_server *s, struct coord_server_effect *out);

struct coord_server_state {
	size_t domains, members, strangers, boxes; /* members: that are here */
	uint64_t visits;       /* devices looked at, since the beginning */
	uint64_t sends, bytes; /* told, since the beginning */
};
void coord_server_state(const struct coord_server *s,
    struct coord_server_state *out);

struct coord_server_domain {
	struct coord_id id;
	const char *name;
	uint64_t entries;
	size_t members, here;
};
/* In the order in which they were taken on; false past the end. */
bool coord_server_domain_at(const struct coord_server *s, size_t i,
    struct coord_server_domain *out);

#endif
