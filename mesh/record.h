/*
 * Records of application data, TLS 1.3, one direction (RFC 8446, 5.2).
 *
 * GnuTLS makes the connection and keeps its keys; the bulk of the bytes then
 * goes through here, because GnuTLS's own way costs three copies and four
 * allocations a record and takes the slower of its two AES-GCMs for sealing
 * (docs/design/0010-large-files.md).  The cipher is GnuTLS's all the same.
 *
 * Only plain data is made or understood.  Whatever else a record turns out to
 * be (an alert, a new key, a ticket, damage) is left as it came, for GnuTLS to
 * judge; tls_gnutls.c carries the number of the next record to and fro.
 *
 * Thread: the one that owns it.
 */
#ifndef HOLDFAST_MESH_RECORD_H
#define HOLDFAST_MESH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/slice.h"

#define RECORD_DATA_LEN 16384u /* bytes of data in one, at most */
#define RECORD_HEADER_LEN 5u
#define RECORD_TAG_LEN 16u
#define RECORD_IV_LEN 12u
/* Header, data, its type, padding and tag: no more is allowed. */
#define RECORD_LEN_MAX (RECORD_HEADER_LEN + RECORD_DATA_LEN + 256u)
/* What opening one may write: the data with its type and padding. */
#define RECORD_ROOM (RECORD_DATA_LEN + 256u)
/* A whole one with `n` bytes of data, unpadded, on the wire. */
#define RECORD_LEN(n) (RECORD_HEADER_LEN + (n) + 1 + RECORD_TAG_LEN)

struct record {
	void *cipher; /* owned; NULL: no key */
	uint8_t iv[RECORD_IV_LEN];
	uint64_t seq; /* of the next one */
};

/*
 * Take a new key for the gnutls_cipher_algorithm_t `algorithm`.  Without one
 * that is known here `cipher` stays NULL: all is GnuTLS's.
 */
void record_set_key(struct record *r, int algorithm, struct slice key,
    struct slice iv, uint64_t seq);
void record_fini(struct record *r);

/* Seal `data` into RECORD_LEN(data.len) bytes at `out`. */
int record_seal(struct record *r, struct slice data, uint8_t *out,
    struct err *err);

/*
 * The length of the record that `in` begins with, header and all: the first
 * RECORD_HEADER_LEN bytes must be there.  0: none that record_open() opens.
 */
size_t record_len(struct slice in);
/*
 * Open the whole record `in` to `out`, which has at least RECORD_ROOM bytes or
 * as many as the record.  True: *len bytes of data, maybe none, and the next
 * number is due.  False: not plain data, or damaged; `in` is as before, `out`
 * means nothing.
 */
bool record_open(struct record *r, struct slice in, uint8_t *out, size_t *len);

#endif
