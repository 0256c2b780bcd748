/*
 * The closed set of messages two devices exchange, as values.
 *
 * BEP v1 (BEP-FACTS.md 4.2, 5, 7) and, in a part of its own, what only two
 * Holdfast nodes that both announced it may send (docs/protocol.md).  Decoding
 * meets every limit of limits.h; slices and arrays live in the arena given, or
 * in the frame that was decoded.
 */
#ifndef HOLDFAST_BLOCKPROTO_MESSAGE_H
#define HOLDFAST_BLOCKPROTO_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "blockproto/entry.h"
#include "blockproto/version.h"
#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"

/* Features of a Holdfast node, announced in its Hello (field 2047). */
enum feature {
	FEATURE_ZSTD = 1u << 0,    /* frames with compression 2 */
	FEATURE_CHUNKS = 1u << 1,  /* chunk maps and free byte ranges */
	FEATURE_ECHO = 1u << 2,    /* "say this number again" */
	FEATURE_SIGNAL = 1u << 3,  /* words to open a direct way by */
	FEATURE_MEMBERS = 1u << 4, /* the membership log, handed on */
	FEATURE_FORWARD = 1u << 5, /* TCP connections, carried */
};

struct hello {
	struct slice device_name;
	struct slice client_name; /* "syncthing", "holdfast" */
	struct slice client_version;
	int32_t num_connections;
	int64_t timestamp; /* Unix ns */
	uint32_t features; /* 0 when the peer is no Holdfast node */
};

enum message_type {
	MESSAGE_CLUSTER_CONFIG = 0,
	MESSAGE_INDEX = 1,
	MESSAGE_INDEX_UPDATE = 2,
	MESSAGE_REQUEST = 3,
	MESSAGE_RESPONSE = 4,
	MESSAGE_PROGRESS = 5,
	MESSAGE_PING = 6,
	MESSAGE_CLOSE = 7,
	/* Ours; only after mutual consent.  docs/protocol.md */
	MESSAGE_CHUNKS_REQUEST = 2001, /* FEATURE_CHUNKS */
	MESSAGE_CHUNKS = 2002,
	MESSAGE_ECHO = 2003,    /* FEATURE_ECHO */
	MESSAGE_SIGNAL = 2004,  /* FEATURE_SIGNAL */
	MESSAGE_MEMBERS = 2005, /* FEATURE_MEMBERS */
	MESSAGE_FORWARD = 2006, /* FEATURE_FORWARD */
	MESSAGE_UNKNOWN = -1,   /* skipped, counts as traffic */
};

enum message_compression { /* per device setting; also Device.compression */
	COMPRESSION_METADATA = 0,
	COMPRESSION_NEVER = 1,
	COMPRESSION_ALWAYS = 2,
};

struct cc_device {
	struct devid id;
	struct slice name;
	const struct slice *address;
	uint32_t address_count;
	enum message_compression compression;
	struct slice cert_name;
	int64_t max_sequence;
	bool introducer;
	uint64_t index_id;
	bool skip_introduction_removals;
	struct slice encryption_password_token;
};

struct cc_folder {
	struct slice id;
	struct slice label;
	int32_t type;
	bool paused; /* stop_reason != RUNNING */
	const struct cc_device *device;
	uint32_t device_count;
};

struct cluster_config {
	const struct cc_folder *folder;
	uint32_t folder_count;
	bool secondary;
};

struct index_message { /* Index and IndexUpdate */
	struct slice folder;
	const struct entry *entry;
	uint32_t entry_count;
	int64_t last_sequence;
	int64_t prev_sequence;
};

struct request {
	int32_t id;
	struct slice folder;
	struct slice name;
	int64_t offset;
	int32_t size;
	struct slice hash; /* 32 bytes, or empty where a peer sends none */
	bool from_temporary;
	int32_t block_no;
};

enum response_code {
	RESPONSE_OK = 0,
	RESPONSE_GENERIC = 1,
	RESPONSE_NO_SUCH_FILE = 2,
	RESPONSE_INVALID_FILE = 3,
};

struct response {
	int32_t id;
	struct slice data; /* decoded: borrows from the frame, never copied */
	enum response_code code;
};

struct progress_update {
	bool forget;
	struct slice name;
	struct version version;
	const int32_t *block;
	uint32_t block_count;
	int32_t block_size;
};

struct progress {
	struct slice folder;
	const struct progress_update *update;
	uint32_t update_count;
};

struct close_message {
	struct slice reason;
};

/* A chunk map: content-defined chunks of one version, in order. */
struct chunk {
	uint32_t len;
	uint64_t hash; /* first 8 bytes of the chunk's SHA-256, big-endian */
};

/* A part of the file of at least one byte, cut into chunks by itself. */
struct chunk_range {
	int64_t offset;
	int64_t len;
};

struct chunks_request {
	int32_t id;
	struct slice folder;
	struct slice name;
	struct version version;
	/* In order, apart from each other; none: the whole file. */
	const struct chunk_range *range;
	uint32_t range_count; /* up to LIMIT_CHUNK_RANGES */
};

struct chunks {
	int32_t id;
	enum response_code code;
	const struct chunk *chunk;
	uint32_t count;
};

/* "Say this number again": how long does it take?  BEP's Ping has no answer. */
struct echo {
	uint64_t id;
	bool reply;
	bool refused; /* a reply: policy does not let you ask */
	bool more;    /* a question: what do you know of me? */
	/* A reply to such. */
	struct slice name; /* what the asker is called there */
	struct slice seen; /* where it comes from: "192.168.1.23:22000" */
	uint64_t uptime_s;
};

/* What it says is for mesh/punch.h. */
struct signal {
	struct slice body; /* up to LIMIT_SIGNAL_LEN */
};

/* What it says is for mesh/members_talk.h. */
struct members_message {
	struct slice body; /* up to LIMIT_MEMBERS_LEN */
};

/* What a word about a carried connection is; on the wire, by these numbers. */
enum forward_word {
	FORWARD_WORD_OPEN = 1,
	FORWARD_WORD_ACCEPT = 2,
	FORWARD_WORD_DATA = 3,
	FORWARD_WORD_CREDIT = 4,
	FORWARD_WORD_END = 5,
	FORWARD_WORD_RESET = 6,
};

/* What it means is for mesh/forward.h, of words of the future, too. */
struct forward_message {
	uint32_t word;
	uint64_t channel;
	bool own;          /* the sender opened that channel */
	uint32_t port;     /* OPEN */
	uint32_t credit;   /* OPEN, ACCEPT, CREDIT: bytes */
	uint32_t code;     /* RESET: enum forward_code */
	struct slice data; /* DATA: up to LIMIT_FORWARD_DATA */
};

struct message {
	enum message_type type;
	union {
		struct cluster_config cluster_config;
		struct index_message index; /* INDEX and INDEX_UPDATE */
		struct request request;
		struct response response;
		struct progress progress;
		struct close_message close;
		struct chunks_request chunks_request;
		struct chunks chunks;
		struct echo echo;
		struct signal signal;
		struct members_message members;
		struct forward_message forward;
	} u;
};

/* "index", "request", ...: for logs. */
const char *message_name(enum message_type type);

/*
 * The message's protobuf bytes, appended to `out`.  RESPONSE writes all but
 * the data itself (field header included), which the caller sends right after:
 * message_response_prefix() is that, so that block data is never copied.
 */
void message_encode(const struct message *m, struct buf *out);
void message_response_prefix(const struct response *r, struct buf *out);
/*
 * From protobuf bytes.  ERR_PROTOCOL or ERR_LIMIT with the reason; entries are
 * decoded but not judged (entry_check() is the caller's).  An unknown type
 * gives MESSAGE_UNKNOWN.  Borrows `body`; the rest lives in `arena`.
 */
int message_decode(struct message *out, int32_t type, struct slice body,
    struct arena *arena, struct err *err);

void message_hello_encode(const struct hello *h, struct buf *out);
int message_hello_decode(struct hello *out, struct slice body,
    struct arena *arena, struct err *err);

/* The frame header (type, compression); BEP-FACTS.md 4.1. */
void message_header_encode(int32_t type, int32_t compression, struct buf *out);
int message_header_decode(int32_t *type, int32_t *compression,
    struct slice body, struct err *err);

#endif
