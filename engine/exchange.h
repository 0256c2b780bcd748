/*
 * The exchange: ClusterConfig, indexes and requests with connected peers.
 *
 * Private to engine/.  It decides what to tell whom and puts what it is told
 * into the indexes; what follows from that is pull.c's.  BEP-FACTS.md 5, 7.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_EXCHANGE_H
#define HOLDFAST_ENGINE_EXCHANGE_H

#include "engine/folder.h"

struct peer; /* a connected device */

/* Events, given on by engine.c. */
void exchange_peer_up(struct engine *en, const struct event *ev);
void exchange_peer_down(struct engine *en, const struct devid *dev);
void exchange_message(struct engine *en, const struct event *ev);
void exchange_setup_changed(struct engine *en);
/* At the engine's end: */
void exchange_peer_free(struct peer *peer);
void exchange_sent_free(struct engine *en); /* whose DONE never comes */
/* A folder began or ceased to run, or its shares changed: tell the peers. */
void exchange_folder_changed(struct folder *f);
/* The folder's shares were made anew: find their peers again. */
void exchange_bind_shares(struct folder *f);

/* The folder is not shared with that device any more: as if it went away. */
void exchange_share_gone(struct folder *f, struct share *sh);
/* The folder's index is about to be closed: fail what was asked for it. */
void exchange_folder_closing(struct folder *f);
/* Its configured name or short ID, fit to print; lives to the step's end. */
const char *exchange_peer_name(const struct peer *peer);

/*
 * Ask the share's device for bytes.  `done` gets code 0 and the payload (its
 * own: payload_free() or hand on), or a failure: ERR_NOT_FOUND (the peer has
 * not what it announced), ERR_IO, ERR_CLOSED (it went away).  The data's length
 * has been checked against `rq->size`, its hash not.  Always answered once,
 * unless exchange_cancel() comes first.  `rq->id` is chosen here.
 * Returns the request's number (not 0).
 */
typedef void exchange_answer_fn(struct folder *f, void *arg, int code,
    struct payload *payload);
uint64_t exchange_request(struct folder *f, struct share *sh,
    struct request *rq, exchange_answer_fn *done, void *arg);
void exchange_cancel(struct folder *f, struct share *sh, uint64_t number);
/*
 * The same for a chunk map of the version, or of ranges of it; whether the map
 * is one of them is the caller's to check.
 */
typedef void exchange_chunks_fn(struct folder *f, void *arg, int code,
    const struct chunk *chunk, uint32_t count);
uint64_t exchange_request_chunks(struct folder *f, struct share *sh,
    struct chunks_request *rq, exchange_chunks_fn *done, void *arg);
/* May another `len` bytes be asked of it now? (LIMIT_FETCH_*) */
bool exchange_has_room(const struct share *sh, uint32_t len);
uint64_t exchange_asked_bytes(const struct share *sh); /* outstanding */
uint32_t exchange_features(const struct share *sh);
/*
 * A peer that has this block of the unfinished file in a temporary, as it says,
 * and room to be asked for it with `from_temporary`; NULL: none.  Ask it only
 * when nobody with the whole file can be asked; it may well not have it.
 */
struct exchange_temp {
	struct slice name;
	struct version version;
	uint32_t block_size;
	uint32_t block, len;
};
struct share *exchange_temp_source(struct folder *f,
    const struct exchange_temp *want);
/* It had not: do not ask it again for this file until it says more. */
void exchange_temp_failed(struct folder *f, const struct share *sh,
    struct slice name);
/* Our index grew: send what is durable to whoever does not have it. */
void exchange_index_grew(struct folder *f);

#endif
