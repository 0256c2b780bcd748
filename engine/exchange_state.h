/*
 * A connected peer.  Private to exchange*.c and the readers of status.  Thread:
 * loop.
 */
#ifndef HOLDFAST_ENGINE_EXCHANGE_STATE_H
#define HOLDFAST_ENGINE_EXCHANGE_STATE_H

#include "blockproto/blocks.h"
#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/path.h"
#include "engine/core_state.h"
#include "engine/exchange.h"

/* Something we asked of a peer. */
struct exchange_ask {
	uint32_t id;  /* on the wire */
	uint32_t len; /* bytes asked for; 0: a chunk map */
	struct folder *f;
	exchange_answer_fn *done;
	exchange_chunks_fn *chunks_done;
	void *arg;
};

/* A request of the peer's that waits for its turn, or is being read. */
struct exchange_serve {
	struct list_node node; /* in peer->serve_wait while it waits */
	struct peer *peer;
	int32_t id;
	uint32_t len;
	int64_t offset;
	bool chunks;                     /* a chunk map is wanted */
	const struct chunk_range *range; /* ... of these, owned; none: all */
	uint32_t range_count;
	bool from_temp;
	bool verify;
	struct digest hash;
	struct folder *f;  /* NULL once the folder is closed */
	struct slice path; /* owned */
};

/*
 * What its last ClusterConfig said of one folder.  Kept, because we may get to
 * know the folder, or have it open, only later; the peer says it once.
 */
struct exchange_offer {
	struct slice id, label; /* owned */
	bool paused;
	bool complete;            /* it lists itself and us */
	struct peer_state theirs; /* of its own index */
	/* What it has of our index; grows with what is sent to it. */
	struct peer_state ours;
	/* Of an introducer, in a folder that is not shared with it: whom it
	 * names, for when it is. */
	struct arena arena; /* owns them */
	const struct cc_device *device;
	uint32_t device_count;
};

struct peer {
	struct engine *en;
	struct devid device;
	uint32_t features;
	struct slice client, address; /* owned */
	bool up; /* false: gone, but answers are still due to it */
	VEC(struct exchange_offer) offer;
	bool cc_came; /* its first ClusterConfig */
	uint32_t next_id;
	struct umap ask; /* id -> struct exchange_ask, owned */
	uint64_t asked_bytes;
	uint64_t
	    answered_ns; /* its last answer, or when the oldest ask began */
	struct core_timer deadline; /* of its next answer */

	/* Serving. */
	struct list serve_wait; /* struct exchange_serve, in order */
	uint64_t serve_bytes;   /* being read, or read and not yet sent */
	uint32_t serve_ops;     /* reads and sends not yet answered */
};

void exchange_serve_request(struct peer *p, const struct request *rq);
void exchange_serve_chunks(struct peer *p, const struct chunks_request *rq);
/* The peer went: forget what waits. */
void exchange_serve_stop(struct peer *p);
/* Forget what waits for this folder: answer it with an error. */
void exchange_serve_folder_closed(struct peer *p, const struct folder *f);
/* Its ClusterConfig as it is now. */
void exchange_send_config(struct peer *p);
void exchange_send(struct peer *p, const struct message *m,
    struct payload *payload, core_done_fn *done, void *arg);
void exchange_drop(struct peer *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Free it when it is gone and nothing is due any more. */
void exchange_peer_release(struct peer *p);
/* The share of `f` with this peer; NULL when it is not shared with it. */
struct share *exchange_share(struct folder *f, const struct peer *p);
/* A folder by its wire ID, shared with this peer; else NULL. */
struct folder *exchange_folder(struct peer *p, struct slice id);

#endif
