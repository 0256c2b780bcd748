/*
 * The finder: asks servers where devices are, and tells them where we are.
 *
 * Syncthing's global discovery v3.  Which server to ask next, how long an
 * answer holds, when to try one again that failed: that is decided here.
 * globe_uv.c does it, https_curl.c is the HTTP below; what is found becomes a
 * way to a peer in mesh.h.  BEP-FACTS.md 10.2, docs/protocol.md.
 *
 * A server is believed in nothing but "try there": whoever answers at an
 * address has to prove that it is the device.
 *
 * Rules
 *   - nobody is asked unless a person wrote a server into the configuration.
 *   - announced: a second after our addresses changed, then when the server
 *     says (1 min to 2 h; 30 min when it does not say).
 *   - looked up: a device that is wanted.  A good answer holds 5 min, a bad
 *     one as long as the server says, else 1, 2, 4 ... 10 min.
 *   - a server that fails is left alone 10, 20, 40 ... 300 s, or as long as it
 *     asks for (5 s to 1 h).  All pauses but the server's own: +-25 %.
 *
 * Thread: loop.  Pure: time comes in, randomness is a seeded generator.
 */
#ifndef HOLDFAST_MESH_FINDER_H
#define HOLDFAST_MESH_FINDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "mesh/addr.h"

#define FINDER_URL_MAX 512  /* bytes of a server's address, with NUL */
#define FINDER_ADDRESSES 8u /* believed of one answer */
#define FINDER_WHY_MAX 160u

/* A value; what a person wrote, taken apart. */
struct finder_server {
	char url[FINDER_URL_MAX]; /* without the options below */
	struct devid id;          /* who it must be; none: any with a good CA */
	bool announce, lookup;
	bool near; /* it is on this machine: so may be who it knows */
};

/*
 * From "https://HOST[:PORT]/[PATH]?id=DEVICE-ID&noannounce&nolookup".
 * ERR_INVALID says what is wrong.
 */
int finder_parse_server(struct finder_server *out, struct slice text,
    struct err *err);

/* Opaque. */
struct finder;

enum finder_kind { FINDER_ANNOUNCE, FINDER_LOOKUP };

/* A question to be put to a server. */
struct finder_ask {
	enum finder_kind kind;
	uint64_t server; /* number; for finder_server_of() */
	struct devid id; /* LOOKUP: who is sought */
};

struct finder_answer {
	int status;            /* of HTTP; 0: there was no answer */
	const char *why;       /* then */
	uint64_t retry_s;      /* Retry-After; 0: not said */
	uint64_t reannounce_s; /* Reannounce-After; 0: not said */
};

struct finder *finder_new(uint64_t seed);
void finder_free(struct finder *f); /* accepts NULL */

/* The configured servers; what is known of those that stay is kept. */
void finder_set_servers(struct finder *f, const struct finder_server *server,
    size_t count, uint64_t now_ns);
/*
 * Where we can be reached; none: nothing is announced.  What is on loopback
 * concerns servers there alone.
 */
void finder_set_own(struct finder *f, const struct addr *addr, size_t count,
    uint64_t now_ns);
/* The devices that are sought now, all of them. */
void finder_want(struct finder *f, const struct devid *id, size_t count,
    uint64_t now_ns);
/* Ask again now, whoever did not forbid it. */
void finder_refresh(struct finder *f, uint64_t now_ns);

/* The next question that is due; false when none is.  It counts as put. */
bool finder_next(struct finder *f, uint64_t now_ns, struct finder_ask *out);
uint64_t finder_wake_at(const struct finder *f);
void finder_answered(struct finder *f, const struct finder_ask *ask,
    const struct finder_answer *answer, uint64_t now_ns);

/* NULL when it is configured no longer. */
const struct finder_server *finder_server_of(const struct finder *f,
    uint64_t number);
/* The URL of a question; false when it is too long or the server is gone. */
bool finder_url(const struct finder *f, const struct finder_ask *ask,
    char out[FINDER_URL_MAX + 80]);

struct finder_state {
	const struct finder_server *server;
	bool announced;  /* the last announcement was taken */
	const char *why; /* of the last failure; "" when it answered */
};
/* How it stands with server `i`; false past the end. */
bool finder_state_at(const struct finder *f, size_t i,
    struct finder_state *out);

/* May an address be tried that a server told?  `near` as in finder_server. */
bool finder_believes(const struct addr *addr, bool near);

/* --- JSON, in finder_jansson.c --- */

/* The body of an announcement: what that server is to know of us. */
void finder_encode(const struct finder *f, const struct finder_server *server,
    struct buf *out);
/*
 * The addresses of an answer that may be tried, at most FINDER_ADDRESSES.
 * Those that are not understood are left out.  ERR_PROTOCOL when it is not an
 * answer.
 */
int finder_decode(struct slice body, bool near,
    struct addr out[FINDER_ADDRESSES], size_t *count, struct err *err);

/* For finder_jansson.c: our address `i` that concerns that server, or NULL. */
const struct addr *finder_own_at(const struct finder *f,
    const struct finder_server *server, size_t i);

#endif
