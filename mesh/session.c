/*
 * A session; see session.h.
 *
 *   WANT_HELLO --Hello--> WANT_CONFIG --ClusterConfig--> OPEN --Close--> ENDED
 *
 * Invariants
 *   - `out` is the message being written; it leaves only when it is whole.
 *   - `queued` counts exactly the bytes of `out` and all lanes not yet
 *     written.
 *   - what the last event borrowed (`block`, `arena`) lives until the next
 *     session_next().
 */
#include "mesh/session.h"

#include <string.h>

#include "blockproto/compress.h"
#include "blockproto/frame.h"
#include "engine/base/arena.h"
#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define SESSION_PING_NS (60 * CLOCK_S)  /* BEP: within 45 to 90 s */
#define SESSION_DEAD_NS (300 * CLOCK_S) /* BEP: nothing came for so long */
#define SESSION_ECHOES 8                /* answers that wait to be sent */
#define SESSION_COMPRESS_MIN 128        /* bytes; as Syncthing */
#define SESSION_ZSTD_MIN 4096           /* bytes; below, LZ4 is quicker */

enum session_state {
	SESSION_WANT_HELLO,
	SESSION_WANT_CONFIG,
	SESSION_OPEN,
	SESSION_ENDED,
};

enum session_lane { LANE_CONTROL, LANE_DATA, LANE_FORWARD, LANES };

/* One message on its way out. */
struct session_item {
	struct list_node node;
	uint64_t tag;
	bool echo;               /* the answer to one */
	bool config;             /* the ClusterConfig */
	struct payload *payload; /* owned; follows the head; may be NULL */
	size_t at;               /* bytes already written */
	size_t head_len;
	uint8_t head[]; /* frame header and message, or its front part */
};

struct session {
	enum session_state state;
	enum message_compression compression;
	uint32_t own_features;

	/* In. */
	struct frame_reader reader;
	struct frame frame; /* complete, not yet handed out */
	bool has_frame;
	uint8_t *block; /* owned; of the last event, which lies in it */
	struct arena arena;
	struct message message;
	struct arena hello_arena; /* holds what `hello` borrows */
	struct hello hello;
	bool has_hello;

	/* Out. */
	struct list lane[LANES];
	struct session_item *out;
	enum session_lane last_lane;
	size_t queued;
	bool config_sent, closing;
	bool config_gone; /* it is on its way: others may follow */
	unsigned echoes;  /* answers that wait to be sent */
	VEC(uint64_t) sent;
	size_t sent_at;
	struct buf scratch, packed;

	uint64_t opened_ns, received_ns, written_ns;
	uint64_t part_ns; /* when the frame that is coming in began */
	uint64_t part_len;
};

static void
session_item_free(struct session_item *it)
{
	if (it == NULL)
		return;
	payload_free(it->payload);
	mem_free(it);
}

static size_t
session_item_len(const struct session_item *it)
{
	return it->head_len + (it->payload != NULL ? it->payload->len : 0);
}

static struct session_item *
session_item_new(struct slice head, struct slice body, struct payload *payload,
    uint64_t tag)
{
	struct session_item *it = mem_alloc(sizeof(*it) + head.len + body.len);

	*it = (struct session_item){ .tag = tag,
		.payload = payload,
		.head_len = head.len + body.len };
	if (head.len > 0)
		memcpy(it->head, head.ptr, head.len);
	if (body.len > 0)
		memcpy(it->head + head.len, body.ptr, body.len);
	return it;
}

static void
session_push(struct session *s, enum session_lane lane, struct session_item *it)
{
	list_add(&s->lane[lane], &it->node);
	s->queued += session_item_len(it);
}

struct session *
session_new(const struct session_config *cfg, uint64_t now_ns)
{
	struct session *s = mem_zalloc(sizeof(*s));
	struct buf body = { 0 }, frame = { 0 };

	s->compression = cfg->compression;
	s->own_features = cfg->hello.features;
	s->opened_ns = s->received_ns = s->written_ns = now_ns;
	s->last_lane = LANE_FORWARD;
	frame_reader_init(&s->reader, true);
	for (int i = 0; i < LANES; i++)
		list_init(&s->lane[i]);
	if (!cfg->silent) {
		message_hello_encode(&cfg->hello, &body);
		frame_put_hello(&frame, buf_slice(&body));
		session_push(s, LANE_CONTROL,
		    session_item_new(buf_slice(&frame), SLICE_EMPTY, NULL, 0));
	}
	buf_fini(&body);
	buf_fini(&frame);
	return s;
}

static void
session_clear_lanes(struct session *s)
{
	struct list_node *node;

	for (int i = 0; i < LANES; i++)
		while ((node = list_first(&s->lane[i])) != NULL) {
			struct session_item *it =
			    LIST_ITEM(node, struct session_item, node);

			list_remove(&s->lane[i], node);
			s->queued -= session_item_len(it);
			session_item_free(it);
		}
}

void
session_free(struct session *s)
{
	if (s == NULL)
		return;
	session_clear_lanes(s);
	session_item_free(s->out);
	frame_reader_fini(&s->reader);
	if (s->has_frame)
		mem_free(s->frame.block);
	mem_free(s->block);
	arena_fini(&s->arena);
	arena_fini(&s->hello_arena);
	buf_fini(&s->scratch);
	buf_fini(&s->packed);
	VEC_FINI(&s->sent);
	mem_free(s);
}

/* --- in --------------------------------------------------------------- */

uint8_t *
session_space(struct session *s, size_t *len)
{
	ASSERT(!s->has_frame);
	return frame_reader_space(&s->reader, len);
}

int
session_add(struct session *s, size_t n, uint64_t now_ns, struct err *err)
{
	int rc;

	ASSERT(!s->has_frame);
	s->received_ns = now_ns;
	if (s->part_len == 0)
		s->part_ns = now_ns;
	s->part_len += n;
	rc = frame_reader_add(&s->reader, n, &s->frame, err);
	if (rc < 0)
		return rc;
	s->has_frame = rc == 1;
	if (s->has_frame)
		s->part_len = 0;
	return 0;
}

static int
session_take_hello(struct session *s, struct session_event *out,
    struct err *err)
{
	int rc;

	rc = message_hello_decode(&s->hello,
	    slice_of(s->frame.body, s->frame.len), &s->hello_arena, err);
	if (rc < 0)
		return rc;
	/* The frame goes; the Hello stays as long as the session. */
	s->hello.device_name = arena_dup(&s->hello_arena, s->hello.device_name);
	s->hello.client_name = arena_dup(&s->hello_arena, s->hello.client_name);
	s->hello.client_version =
	    arena_dup(&s->hello_arena, s->hello.client_version);
	s->has_hello = true;
	s->state = SESSION_WANT_CONFIG;
	*out =
	    (struct session_event){ .kind = SESSION_HELLO, .hello = &s->hello };
	return 1;
}

/* Types that are not for this session are skipped unread, as BEP wants. */
static bool
session_knows(const struct session *s, int32_t type)
{
	if (type >= MESSAGE_CLUSTER_CONFIG && type <= MESSAGE_CLOSE)
		return true;
	if (type == MESSAGE_CHUNKS_REQUEST || type == MESSAGE_CHUNKS)
		return (session_features(s) & FEATURE_CHUNKS) != 0;
	if (type == MESSAGE_ECHO)
		return (session_features(s) & FEATURE_ECHO) != 0;
	if (type == MESSAGE_SIGNAL)
		return (session_features(s) & FEATURE_SIGNAL) != 0;
	if (type == MESSAGE_MEMBERS)
		return (session_features(s) & FEATURE_MEMBERS) != 0;
	if (type == MESSAGE_FORWARD)
		return (session_features(s) & FEATURE_FORWARD) != 0;
	return false;
}

/* *body becomes the plain bytes of the frame, in s->block. */
static int
session_unpack(struct session *s, struct slice *body, struct err *err)
{
	const int32_t kind = s->frame.compression;
	struct buf plain = { 0 };
	int rc;

	s->block = s->frame.block;
	*body = slice_of(s->frame.body, s->frame.len);
	s->frame.block = s->frame.body = NULL;
	if (kind == COMPRESS_NONE)
		return 0;
	if (kind != COMPRESS_LZ4 &&
	    (kind != COMPRESS_ZSTD ||
		(session_features(s) & FEATURE_ZSTD) == 0))
		return err_set(err, ERR_PROTOCOL,
		    "message with unknown compression %d", (int)kind);
	rc = compress_undo((enum compress_kind)kind, *body, LIMIT_FRAME_LEN,
	    &plain, err);
	if (rc < 0) {
		buf_fini(&plain);
		return rc;
	}
	mem_free(s->block);
	s->block = plain.ptr;
	*body = buf_slice(&plain);
	return 0;
}

static int
session_check_order(struct session *s, enum message_type type, struct err *err)
{
	if (type == MESSAGE_CLOSE) {
		s->state = SESSION_ENDED;
		return 0;
	}
	if (s->state == SESSION_WANT_CONFIG) {
		if (type != MESSAGE_CLUSTER_CONFIG)
			return err_set(err, ERR_PROTOCOL,
			    "the first message is %s, not the ClusterConfig",
			    message_name(type));
		s->state = SESSION_OPEN;
	}
	return 0;
}

/* 1: an event; 0: nothing to hand on; or a failure. */
static int
session_take_message(struct session *s, struct session_event *out,
    struct err *err)
{
	struct message *m = &s->message;
	struct slice body = SLICE_EMPTY;
	int rc;

	if (s->state == SESSION_ENDED || !session_knows(s, s->frame.type))
		return 0;
	rc = session_unpack(s, &body, err);
	if (rc < 0)
		return rc;
	rc = message_decode(m, s->frame.type, body, &s->arena, err);
	if (rc < 0 || m->type == MESSAGE_UNKNOWN)
		return rc;
	rc = session_check_order(s, m->type, err);
	if (rc < 0 || m->type == MESSAGE_PING)
		return rc;
	*out = (struct session_event){ .kind = SESSION_MESSAGE, .message = m };
	if (m->type == MESSAGE_RESPONSE && m->u.response.data.len > 0) {
		out->payload = payload_take(s->block, m->u.response.data);
		s->block = NULL;
	}
	return 1;
}

int
session_next(struct session *s, struct session_event *out, struct err *err)
{
	int rc = 0;

	mem_free(s->block);
	s->block = NULL;
	arena_clear(&s->arena);
	if (s->sent_at < s->sent.len) {
		*out = (struct session_event){ .kind = SESSION_SENT,
			.tag = s->sent.item[s->sent_at++] };
		if (s->sent_at == s->sent.len) {
			VEC_CLEAR(&s->sent);
			s->sent_at = 0;
		}
		return 1;
	}
	if (!s->has_frame)
		return 0;
	if (s->frame.kind == FRAME_HELLO)
		rc = session_take_hello(s, out, err);
	else
		rc = session_take_message(s, out, err);
	mem_free(s->frame.block);
	s->frame.block = s->frame.body = NULL;
	s->has_frame = false;
	return rc;
}

/* --- out -------------------------------------------------------------- */

/* The compressed form in s->packed, when the policy and the result say so. */
static int32_t
session_pack(struct session *s, const struct message *m, struct slice body)
{
	const bool is_data = m->type == MESSAGE_RESPONSE ||
			     m->type == MESSAGE_REQUEST ||
			     m->type == MESSAGE_FORWARD;

	buf_clear(&s->packed);
	if (body.len < SESSION_COMPRESS_MIN ||
	    s->compression == COMPRESSION_NEVER ||
	    (s->compression == COMPRESSION_METADATA && is_data))
		return COMPRESS_NONE;
	if (body.len >= SESSION_ZSTD_MIN &&
	    (session_features(s) & FEATURE_ZSTD) != 0)
		return compress_zstd(body, &s->packed) == 0 ? COMPRESS_ZSTD
							    : COMPRESS_NONE;
	return compress_lz4(body, &s->packed) == 0 ? COMPRESS_LZ4
						   : COMPRESS_NONE;
}

/* Frame header in front of `body`; `payload` is the end of the body. */
static struct session_item *
session_frame(const struct message *m, int32_t compression, struct slice body,
    struct payload *payload, uint64_t tag)
{
	const size_t tail = payload != NULL ? payload->len : 0;
	struct session_item *it;
	struct buf head = { 0 };

	frame_put_header(&head, m->type, compression, body.len + tail);
	it = session_item_new(buf_slice(&head), body, payload, tag);
	buf_fini(&head);
	return it;
}

/* A RESPONSE: its data stays where it lies, unless all is to be compressed. */
static struct session_item *
session_frame_response(struct session *s, const struct message *m,
    struct payload *payload, uint64_t tag)
{
	struct response r = m->u.response;
	int32_t compression;

	if (payload == NULL && r.data.len > 0) {
		payload = payload_new(r.data.len);
		memcpy(payload->data, r.data.ptr, r.data.len);
	}
	r.data = payload != NULL ? payload_slice(payload) : SLICE_EMPTY;
	message_response_prefix(&r, &s->scratch);
	if (payload == NULL || s->compression != COMPRESSION_ALWAYS)
		return session_frame(m, COMPRESS_NONE, buf_slice(&s->scratch),
		    payload, tag);
	buf_put(&s->scratch, r.data);
	compression = session_pack(s, m, buf_slice(&s->scratch));
	payload_free(payload);
	return session_frame(m, compression,
	    buf_slice(compression == COMPRESS_NONE ? &s->scratch : &s->packed),
	    NULL, tag);
}

static struct session_item *
session_frame_plain(struct session *s, const struct message *m, uint64_t tag)
{
	int32_t compression;

	message_encode(m, &s->scratch);
	compression = session_pack(s, m, buf_slice(&s->scratch));
	return session_frame(m, compression,
	    buf_slice(compression == COMPRESS_NONE ? &s->scratch : &s->packed),
	    NULL, tag);
}

int
session_send(struct session *s, const struct message *m,
    struct payload *payload, uint64_t tag, struct err *err)
{
	enum session_lane lane = LANE_CONTROL;
	struct session_item *it;

	ASSERT(payload == NULL || m->type == MESSAGE_RESPONSE);
	if (s->closing) {
		payload_free(payload);
		return err_set(err, ERR_CLOSED, "the session is closing");
	}
	buf_clear(&s->scratch);
	if (m->type == MESSAGE_RESPONSE) {
		it = session_frame_response(s, m, payload, tag);
		lane = LANE_DATA;
	} else {
		it = session_frame_plain(s, m, tag);
		if (m->type == MESSAGE_FORWARD)
			lane = LANE_FORWARD;
	}
	/* Scratch memory of one huge message is not kept for ever. */
	if (s->scratch.cap > LIMIT_ARENA_KEEP)
		buf_fini(&s->scratch);
	if (s->packed.cap > LIMIT_ARENA_KEEP)
		buf_fini(&s->packed);
	if (m->type == MESSAGE_CLOSE) {
		session_clear_lanes(s);
		s->closing = true;
	} else if (session_item_len(it) > LIMIT_FRAME_LEN ||
		   s->queued + session_item_len(it) > LIMIT_SENDQ_LEN) {
		session_item_free(it);
		return err_set(err, ERR_LIMIT,
		    "the queue to the peer is full (%zu bytes wait)",
		    s->queued);
	}
	it->config = m->type == MESSAGE_CLUSTER_CONFIG;
	if (it->config)
		s->config_sent = true;
	it->echo = m->type == MESSAGE_ECHO && m->u.echo.reply;
	s->echoes += it->echo;
	session_push(s, lane, it);
	return 0;
}

void
session_answer(struct session *s, const struct echo *echo)
{
	struct message m = { .type = MESSAGE_ECHO, .u.echo = *echo };

	m.u.echo.reply = true;
	m.u.echo.more = false;
	if (s->echoes < SESSION_ECHOES && s->config_sent)
		(void)session_send(s, &m, NULL, 0, NULL);
}
/* The lanes take turns, message by message; but the ClusterConfig is first. */
static struct session_item *
session_pop(struct session *s)
{
	for (int i = 1; i <= LANES; i++) {
		const enum session_lane lane =
		    (enum session_lane)(((int)s->last_lane + i) % LANES);
		struct list_node *node = list_first(&s->lane[lane]);
		struct session_item *it;

		if (node == NULL || (lane != LANE_CONTROL && !s->config_gone))
			continue;
		it = LIST_ITEM(node, struct session_item, node);
		list_remove(&s->lane[lane], node);
		s->last_lane = lane;
		s->config_gone = s->config_gone || it->config;
		return it;
	}
	return NULL;
}

bool
session_output(struct session *s, struct slice *out)
{
	struct session_item *it;

	if (s->out == NULL)
		s->out = session_pop(s);
	it = s->out;
	if (it == NULL)
		return false;
	if (it->at < it->head_len)
		*out = slice_of(it->head + it->at, it->head_len - it->at);
	else
		*out = slice_from(payload_slice(it->payload),
		    it->at - it->head_len);
	return true;
}

void
session_output_done(struct session *s, size_t n, uint64_t now_ns)
{
	struct session_item *it = s->out;

	ASSERT(it != NULL);
	ASSERT(n <= session_item_len(it) - it->at);
	it->at += n;
	s->queued -= n;
	s->written_ns = now_ns;
	if (it->at < session_item_len(it))
		return;
	if (it->tag != 0)
		*VEC_ADD(&s->sent) = it->tag;
	if (it->echo)
		s->echoes--;
	session_item_free(it);
	s->out = NULL;
}

size_t
session_queued(const struct session *s)
{
	return s->queued;
}

const struct hello *
session_hello(const struct session *s)
{
	return s->has_hello ? &s->hello : NULL;
}

uint32_t
session_features(const struct session *s)
{
	return s->has_hello ? s->own_features & s->hello.features : 0;
}

/* --- time ------------------------------------------------------------- */

/* Bytes that come one by one keep no connection: a message has a pace.  So
 * long after it began the one that is coming in is too slow, ns. */
static uint64_t
session_slow_after(const struct session *s)
{
	const uint64_t ns = (s->part_len / LIMIT_SLOW_LEN + 1) * CLOCK_S;

	return ns > LIMIT_SLOW_NS ? ns : LIMIT_SLOW_NS;
}

static bool
session_is_slow(const struct session *s, uint64_t now_ns)
{
	return s->part_len > 0 && now_ns - s->part_ns >= session_slow_after(s);
}

int
session_tick(struct session *s, uint64_t now_ns, struct err *err)
{
	static const struct message ping = { .type = MESSAGE_PING };

	if (!s->has_hello && now_ns - s->opened_ns >= LIMIT_HELLO_NS)
		return err_set(err, ERR_CLOSED, "no Hello within %u s",
		    (unsigned)(LIMIT_HELLO_NS / CLOCK_S));
	if (now_ns - s->received_ns >= SESSION_DEAD_NS)
		return err_set(err, ERR_CLOSED, "silent for %u s",
		    (unsigned)(SESSION_DEAD_NS / CLOCK_S));
	if (session_is_slow(s, now_ns))
		return err_set(err, ERR_CLOSED,
		    "a message comes at less than %u bytes a second",
		    LIMIT_SLOW_LEN);
	if (s->queued > 0 && now_ns - s->written_ns >= SESSION_DEAD_NS)
		return err_set(err, ERR_CLOSED, "took no data for %u s",
		    (unsigned)(SESSION_DEAD_NS / CLOCK_S));
	if (s->config_sent && s->queued == 0 && !s->closing &&
	    now_ns - s->written_ns >= SESSION_PING_NS)
		return session_send(s, &ping, NULL, 0, err);
	return 0;
}

uint64_t
session_wake_at(const struct session *s)
{
	uint64_t at = s->received_ns + SESSION_DEAD_NS;

	/* When it will be slow, if nothing more comes. */
	if (s->part_len > 0 && s->part_ns + session_slow_after(s) < at)
		at = s->part_ns + session_slow_after(s);
	if (!s->has_hello && s->opened_ns + LIMIT_HELLO_NS < at)
		at = s->opened_ns + LIMIT_HELLO_NS;
	if (s->queued > 0 && s->written_ns + SESSION_DEAD_NS < at)
		at = s->written_ns + SESSION_DEAD_NS;
	if (s->config_sent && s->queued == 0 && !s->closing &&
	    s->written_ns + SESSION_PING_NS < at)
		at = s->written_ns + SESSION_PING_NS;
	return at;
}
