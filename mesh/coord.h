/*
 * What a node and its coordinator say to each other, and the bytes of it.
 *
 * A coordinator is a drop box: it keeps a domain's membership log, where its
 * devices can be reached, and passes small sealed words between two of them.
 * It sees public keys, names and addresses, and may lie; what it says is a hint
 * (addresses), or proves itself (entries of the log, members.h), or is not for
 * it to read (mail, pake.h).  docs/design/0013-coordinator.md.
 *
 *	member:    TLS, HELLO -> WELCOME, ENTRIES...; then both as they need
 *	stranger:  TLS, HELLO without a domain -> WELCOME; then MAIL alone
 *
 * On TCP in TLS 1.3, ALPN "holdfast-coord/1"; the client shows its device's
 * certificate, so who it is needs no words.  A frame is a 32-bit length,
 * big-endian, of at most COORD_FRAME_MAX, and a message: protobuf, field 1 its
 * type, unknown fields skipped, unknown types answered with nothing.
 *
 * Pure.  Thread: any.
 */
#ifndef HOLDFAST_MESH_COORD_H
#define HOLDFAST_MESH_COORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/addr.h"

#define COORD_FRAME_MAX (256u * 1024u)
#define COORD_ENTRY_MAX 4096u   /* bytes of one signed entry of a log */
#define COORD_ENTRIES_MAX 1024u /* in one message */
#define COORD_SIGNAL_MAX 1200u  /* bytes of a signal or a letter */
#define COORD_ADDRESSES_MAX 32u /* of one device */
#define COORD_WANT_MAX 1024u    /* devices in one message */
#define COORD_TEXT_MAX 200u
#define COORD_VERSION 1u
#define COORD_PORT_DEFAULT 22075

enum coord_type {
	COORD_HELLO = 1,   /* both: who needs what; first */
	COORD_WELCOME = 2, /* to the client */
	COORD_REFUSED = 3, /* to the client: why; it may hang up after */
	COORD_PING = 4,    /* both; answered with PONG */
	COORD_PONG = 5,
	COORD_ENTRIES = 6, /* both: of the log, in order, from `seq` on */
	COORD_PUBLISH = 7, /* to the server: where I am, all of it */
	COORD_WANT = 8,    /* to the server: of whom to be told, all of them */
	COORD_WHERE = 9,   /* to the client: where that device is */
	COORD_SIGNAL = 10, /* both: to another member that is here now */
	COORD_BOX = 11,  /* both: open (0) or close a box for letters; number */
	COORD_MAIL = 12, /* both: a letter in a box */
};

enum coord_code {
	COORD_OK = 0,
	COORD_NOT_MEMBER = 1,  /* of that domain, by the log it has */
	COORD_NO_DOMAIN = 2,   /* it has no such domain and takes no new ones */
	COORD_BAD_ENTRY = 3,   /* an entry that does not follow or verify */
	COORD_NOT_HERE = 4,    /* a signal's device, or a box's owner */
	COORD_NO_BOX = 5,      /* no such box, or it is used up */
	COORD_TOO_MUCH = 6,    /* a limit; later again */
	COORD_BEHIND = 7,      /* an entry that others have overtaken */
	COORD_BAD_MESSAGE = 8, /* it ends the connection */
	COORD_CLONE = 9, /* a HELLO: two machines have this device's key */
};

struct coord_id { /* of a domain: digest of its first entry */
	uint8_t b[32];
};

struct coord_message {
	enum coord_type type;
	union {
		struct {
			uint32_t version;
			bool has_domain;
			struct coord_id domain;
			uint64_t seq;     /* entries of the log it has */
			uint8_t head[32]; /* digest of the last of these */
			uint64_t run; /* of the process, random; 0: unknown */
		} hello;
		struct {
			uint32_t version;
			struct addr seen;      /* the client's, from there */
			uint16_t stun_port[2]; /* 0: none; on the same host */
			uint32_t idle_s; /* say something at least so often */
			uint64_t seq;    /* entries it has */
		} welcome;
		struct {
			enum coord_code code;
			enum coord_type of; /* what was refused; 0: unknown */
			char text[COORD_TEXT_MAX + 1];
		} refused;
		struct {
			uint64_t seq; /* of the first; the first entry has 1 */
			struct slice *entry;
			size_t count;
		} entries;
		struct {
			struct devid id; /* WHERE only */
			struct addr *addr;
			size_t count; /* WHERE, 0: it is not here now */
			bool here;    /* WHERE: connected now */
		} where;
		struct {
			struct devid *id;
			size_t count;
		} want;
		struct {
			struct devid peer; /* to; when it comes: from */
			struct slice body;
		} signal;
		struct {
			uint32_t box; /* BOX 0: open one */
			bool close;
			uint64_t stranger; /* MAIL: which, to the box's owner;
					      0 from a stranger */
			struct slice body; /* MAIL */
		} mail;
	} u;
};

/* A value: a coordinator as a person wrote it. */
struct coord_url {
	struct addr at;
	struct devid id; /* none: whoever is there first */
	bool near;       /* it is on this machine: so may be who it knows */
};

/*
 * From "tcp://HOST[:PORT][/][?id=DEVICE-ID]"; without a port 22075.
 * ERR_INVALID says what is wrong.
 */
int coord_parse_url(struct coord_url *out, struct slice text, struct err *err);

/* Append one whole frame. */
void coord_encode(const struct coord_message *m, struct buf *out);
/*
 * One frame from the front of `in`.  1: *used bytes of it; 0: not whole yet;
 * ERR_PROTOCOL; ERR_UNSUPPORTED: skip *used bytes.  Slices point into `in`,
 * arrays live in `ar`.
 * Addresses that are not understood are left out.
 */
int coord_decode(struct coord_message *out, struct slice in, size_t *used,
    struct arena *ar, struct err *err);
/* How many entries, from the first on, go into one message. */
size_t coord_entries_fit(const struct slice *entry, size_t count);
/* "not a member": for people, never NULL. */
const char *coord_code_text(enum coord_code code);

#endif
