/*
 * The inside of the coordinator: shared by coord_server.c, coord_server_tell.c
 * (effects), coord_server_log.c (entries), coord_server_where.c (addresses,
 * signals), coord_server_mail.c (boxes and letters).
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_COORD_SERVER_IMPL_H
#define HOLDFAST_MESH_COORD_SERVER_IMPL_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"
#include "mesh/coord_server.h"
#include "mesh/members.h"

#define COORD_SERVER_NOTES 64u /* of refusals, at once */
#define COORD_SERVER_RUNS 4u   /* of one device, remembered */

struct server_node {
	struct devid id;
	struct server_domain *domain;
	struct coord_server_guest *guest; /* NULL: it is not here */
	struct buf where; /* its last PUBLISH; empty: not known */
	bool told;        /* those who want it think it is here */
	VEC(struct server_node *) want;
	VEC(struct server_node *) watch; /* who want it */
	struct list_node gone; /* in server->gone, while only remembered */
	uint64_t gone_ns;
	uint64_t run[COORD_SERVER_RUNS]; /* of its HELLOs, newest first */
};

struct server_domain {
	struct coord_id id;
	struct members *members;
	struct map node; /* devid -> struct server_node */
	struct list applicants;
	size_t here;
	size_t bytes; /* of its entries */
};

struct server_box {
	struct list_node node; /* in server->boxes */
	uint32_t number;
	struct devid owner;
	struct server_domain *domain;
	uint64_t until_ns;
	unsigned strangers; /* who wrote to it */
};

enum server_guest_state {
	SERVER_NEW,
	SERVER_STRANGER,
	SERVER_APPLICANT,
	SERVER_MEMBER,
};

struct coord_server_guest {
	void *owner;
	struct devid id;
	struct addr from;
	bool may_found, dropped;
	enum server_guest_state state;
	uint64_t serial;
	struct list *in; /* which list `line` is in; NULL: none */
	struct list_node line;
	uint64_t heard_ns;
	unsigned tokens, vain, letters;
	uint64_t token_ns;
	uint32_t box;                  /* it wrote to; 0: to none */
	struct coord_id domain;        /* APPLICANT: what it says */
	struct server_domain *applied; /* ... and what we have of it */
	struct list_node application;
	uint64_t seq; /* of its HELLO */
	uint8_t head[32];
	uint64_t run;
	struct members *bringing; /* a domain that we have not */
	size_t brought;           /* bytes of it */
	struct buf held;          /* what it said too early */
	struct server_node *node; /* MEMBER */
};

struct coord_server {
	struct rng rng;
	struct map domain; /* coord_id -> struct server_domain */
	VEC(struct server_domain *) order;
	struct umap by_serial; /* guests that are not dropped */
	uint64_t serial;
	/* Each oldest first: by `heard_ns`, `gone_ns`, `until_ns`. */
	struct list young, stranger, here, gone, boxes;
	size_t strangers;
	struct umap by_number; /* boxes */
	uint16_t stun[2];
	VEC(struct coord_server_effect) effect;
	size_t effect_at;
	struct arena arena; /* of the effects */
	struct buf scratch;
	unsigned notes;
	uint64_t noted_ns, unnoted;
	uint64_t visits, sends, bytes;
};

/* --- coord_server_tell.c --- */
struct coord_server_effect *coord_server_effect(struct coord_server *s,
    enum coord_server_kind kind, struct coord_server_guest *g);
void coord_server_send_bytes(struct coord_server *s,
    struct coord_server_guest *g, struct slice bytes);
/* In the effects' arena. */
struct slice coord_server_encode(struct coord_server *s,
    const struct coord_message *m);
void coord_server_send(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m);
void coord_server_note(struct coord_server *s,
    const struct coord_server_guest *g, const struct coord_id *domain,
    const char *what, const char *text);
void coord_server_note_refusal(struct coord_server *s,
    const struct coord_server_guest *g, const char *what, const char *text,
    struct now now);
/* `text` NULL: what the code says. */
void coord_server_refuse(struct coord_server *s, struct coord_server_guest *g,
    enum coord_type of, enum coord_code code, const char *text);

/* --- coord_server.c --- */
void coord_server_drop(struct coord_server *s, struct coord_server_guest *g,
    enum coord_code code, bool vain, struct now now);
struct server_domain *coord_server_find(const struct coord_server *s,
    const struct coord_id *id);
struct server_node *coord_server_find_node(const struct server_domain *d,
    const struct devid *id);
struct server_node *coord_server_add_node(struct server_domain *d,
    const struct devid *id);
void coord_server_try_free_node(struct coord_server *s, struct server_node *n);
bool coord_server_is_member(const struct server_domain *d,
    const struct devid *id, struct now now);
/* Members may be none any more, and applicants be some. */
void coord_server_recheck(struct coord_server *s, struct server_domain *d,
    struct now now);

/* --- coord_server_log.c --- */
void coord_server_take(struct coord_server *s, struct coord_server_guest *g,
    struct server_domain *d, uint64_t seq, const struct slice *entry,
    size_t count, struct now now);
/* All that `from` holds. */
void coord_server_take_all(struct coord_server *s, struct coord_server_guest *g,
    struct server_domain *d, const struct members *from, struct now now);
/* To one that has `seq` entries, the last of which is `head`. */
void coord_server_send_lacking(struct coord_server *s,
    struct coord_server_guest *g, const struct server_domain *d, uint64_t seq,
    const uint8_t head[32]);

/* --- coord_server_where.c --- */
void coord_server_member_came(struct coord_server *s,
    struct coord_server_guest *g, struct server_domain *d, struct now now);
void coord_server_member_left(struct coord_server *s,
    struct coord_server_guest *g, struct now now);
void coord_server_publish(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m);
void coord_server_want(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m);
void coord_server_signal(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m);
void coord_server_expire_gone(struct coord_server *s, struct now now);
uint64_t coord_server_gone_due(const struct coord_server *s);

/* --- coord_server_mail.c --- */
void coord_server_box(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now);
void coord_server_mail(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now);
void coord_server_expire_boxes(struct coord_server *s, struct now now);
uint64_t coord_server_boxes_due(const struct coord_server *s);
void coord_server_free_boxes(struct coord_server *s);

#endif
