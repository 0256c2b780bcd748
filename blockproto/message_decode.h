/*
 * What the decoders of messages share: values out of single fields.
 *
 * Inside blockproto/ only; the contract for everybody else is message.h.  All
 * give 0, ERR_PROTOCOL (also for a known field of the wrong wire type, which
 * old peers drop for and no peer sends) or ERR_LIMIT.  A field that comes
 * twice is what it was the last time.
 */
#ifndef HOLDFAST_BLOCKPROTO_MESSAGE_DECODE_H
#define HOLDFAST_BLOCKPROTO_MESSAGE_DECODE_H

#include "blockproto/message.h"
#include "blockproto/message_pb.h"

int message_decode_u64(const struct message_pb_field *f, uint64_t *out,
    struct err *err);
int message_decode_i64(const struct message_pb_field *f, int64_t *out,
    struct err *err);
/* As protobuf does it: the low 32 bits. */
int message_decode_i32(const struct message_pb_field *f, int32_t *out,
    struct err *err);
int message_decode_bool(const struct message_pb_field *f, bool *out,
    struct err *err);
/* At most `max` bytes. */
int message_decode_bytes(const struct message_pb_field *f, size_t max,
    struct slice *out, struct err *err);
/* A `string`: valid UTF-8, at most LIMIT_STRING_LEN bytes. */
int message_decode_text(const struct message_pb_field *f, struct slice *out,
    struct err *err);
/* A nested message, still encoded. */
int message_decode_nested(const struct message_pb_field *f, struct slice *out,
    struct err *err);
/* How often a field is there; ERR_LIMIT when more than `max` times. */
int message_decode_count(struct slice body, uint32_t tag, uint32_t max,
    uint32_t *out, struct err *err);
/*
 * A Vector.  Over LIMIT_COUNTERS the count is kept and the counters are not:
 * entry_check() refuses it, and only it.
 */
int message_decode_version(struct slice body, struct version *out,
    struct arena *arena, struct err *err);
/* ClusterConfig. */
int message_decode_config(struct cluster_config *out, struct slice body,
    struct arena *arena, struct err *err);
/* Index and IndexUpdate. */
int message_decode_index(struct index_message *out, struct slice body,
    struct arena *arena, struct err *err);

#endif
