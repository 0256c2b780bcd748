/*
 * TLS with GnuTLS; see tls.h.
 *
 * The ciphertext's way: the socket reads into `in`; what is sealed goes into
 * `out`, which changes hands with the caller's buffer.  On the way out writes
 * gather in `gather` until a record is full.
 *
 * Handshakes are GnuTLS's.  After that records of plain data go past it
 * (record.h), and those of any other kind through it: it is lent the numbers of
 * the next records and one record to pull, and then asked for its keys, which
 * may be new.  So it answers alerts, renews keys and refuses what is damaged as
 * it always does.  The next record of the same direction goes through it as
 * well: a key that was asked for is due, a message in two parts is not whole.
 *
 * Invariants
 *   - `rx` and `tx` hold the true numbers, and GnuTLS's while it works.
 *   - GnuTLS sees whole records only, once the handshake is over.
 */
#include "mesh/tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include <gnutls/gnutls.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "mesh/record.h"
#include "mesh/tls_proof_gnutls.h"

/*
 * GnuTLS renews a key of AES-GCM when the number of a record ends in these bits
 * (RFC 8446, 5.5: no more than 2^24.5 with one): it must see that one.
 */
#define TLS_RENEW_MASK UINT64_C(0xffffff)
#define TLS_RENEW_FROM UINT64_C(0xfffff0)

struct tls {
	gnutls_session_t session;
	enum tls_protocol protocol;
	uint8_t *in; /* owned, TLS_INPUT_LEN bytes; NULL while idle */
	size_t in_at, in_len;
	size_t in_lent; /* GnuTLS pulls no further */
	bool in_ended;
	struct buf out;
	uint8_t *gather; /* owned, RECORD_DATA_LEN bytes; NULL while unused */
	size_t gathered;
	uint8_t *plain; /* owned, RECORD_ROOM bytes; NULL while unused */
	size_t plain_at, plain_len;
	struct record rx, tx;
	bool rx_lend, tx_lend; /* the next record is GnuTLS's */
	bool said;             /* a word of ours went out */
	bool ready;
	struct tls_proof proof; /* after the handshake */
};

static ssize_t
tls_pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
	struct tls *tls = ptr;
	const size_t left = tls->in_lent - tls->in_at;

	if (left == 0 && tls->in_ended && !tls->ready)
		return 0;
	if (left == 0) {
		gnutls_transport_set_errno(tls->session, EAGAIN);
		return -1;
	}
	if (len > left)
		len = left;
	memcpy(data, tls->in + tls->in_at, len);
	tls->in_at += len;
	return (ssize_t)len;
}

static int
tls_pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
	const struct tls *tls = ptr;

	(void)ms;
	return tls->in_lent > tls->in_at || tls->in_ended ? 1 : 0;
}

static ssize_t
tls_push(gnutls_transport_ptr_t ptr, const giovec_t *iov, int count)
{
	struct tls *tls = ptr;
	size_t sum = 0;

	for (int i = 0; i < count; i++) {
		tls->said = true;
		buf_put(&tls->out, slice_of(iov[i].iov_base, iov[i].iov_len));
		sum += iov[i].iov_len;
	}
	return (ssize_t)sum;
}

static int
tls_fail(struct err *err, int rc, const char *what)
{
	return err_set(err, ERR_PROTOCOL, "%s: %s", what, gnutls_strerror(rc));
}

int
tls_open(struct tls **out, const struct identity *id, enum tls_role role,
    enum tls_protocol protocol, struct err *err)
{
	static const enum tls_proof_way way[] = {
		[TLS_BEP] = TLS_PROOF_TCP,
		[TLS_RELAY] = TLS_PROOF_RELAY,
		[TLS_COORD] = TLS_PROOF_COORD,
		[TLS_COORD_WEB] = TLS_PROOF_COORD_WEB,
	};
	struct tls *tls = mem_zalloc(sizeof(*tls));
	int rc;

	*out = NULL;
	tls->protocol = protocol;
	rc = tls_proof_session(&tls->session, id, role, way[protocol], err);
	if (rc < 0) {
		mem_free(tls);
		return rc;
	}
	gnutls_transport_set_ptr(tls->session, tls);
	gnutls_transport_set_pull_function(tls->session, tls_pull);
	gnutls_transport_set_pull_timeout_function(tls->session,
	    tls_pull_timeout);
	gnutls_transport_set_vec_push_function(tls->session, tls_push);
	*out = tls;
	return 0;
}

void
tls_close(struct tls *tls)
{
	if (tls == NULL)
		return;
	tls_proof_fini(&tls->proof);
	gnutls_deinit(tls->session);
	record_fini(&tls->rx);
	record_fini(&tls->tx);
	mem_free(tls->in);
	mem_free(tls->gather);
	mem_free(tls->plain);
	buf_fini(&tls->out);
	mem_free(tls);
}

uint8_t *
tls_input_space(struct tls *tls, size_t *len)
{
	if (tls->in == NULL)
		tls->in = mem_alloc(TLS_INPUT_LEN);
	if (tls->in_at == tls->in_len) {
		tls->in_at = tls->in_len = 0;
	} else if (tls->in_at > 0 && /* part of a record, most times */
		   tls->in_len - tls->in_at < TLS_INPUT_LEN / 2) {
		memmove(tls->in, tls->in + tls->in_at,
		    tls->in_len - tls->in_at);
		tls->in_len -= tls->in_at;
		tls->in_at = 0;
	}
	*len = TLS_INPUT_LEN - tls->in_len;
	return tls->in + tls->in_len;
}

void
tls_input_add(struct tls *tls, size_t n)
{
	ASSERT(n <= TLS_INPUT_LEN - tls->in_len);
	tls->in_len += n;
}

void
tls_input_end(struct tls *tls)
{
	tls->in_ended = true;
}

/* --- GnuTLS's turn ------------------------------------------------------ */

static void
tls_put_seq(const struct tls *tls, bool read, uint64_t seq)
{
	unsigned char be[8];

	for (unsigned i = 0; i < 8; i++)
		be[i] = (unsigned char)(seq >> (56 - 8 * i));
	gnutls_record_set_state(tls->session, read, be);
}

/* Before GnuTLS reads or writes: the numbers, and `len` bytes of input. */
static void
tls_lend(struct tls *tls, size_t len)
{
	if (tls->rx.cipher != NULL)
		tls_put_seq(tls, true, tls->rx.seq);
	if (tls->tx.cipher != NULL)
		tls_put_seq(tls, false, tls->tx.seq);
	tls->in_lent = tls->in_at + len;
}

static int
tls_take_key(struct tls *tls, bool read, struct record *r, struct err *err)
{
	gnutls_datum_t iv, key;
	unsigned char be[8];
	uint64_t seq = 0;
	int rc;

	rc = gnutls_record_get_state(tls->session, read, NULL, &iv, &key, be);
	if (rc < 0)
		return tls_fail(err, rc, "TLS keys");
	for (unsigned i = 0; i < 8; i++)
		seq = seq << 8 | be[i];
	/* A new key comes with a new IV. */
	if (r->cipher != NULL && iv.size == RECORD_IV_LEN &&
	    memcmp(r->iv, iv.data, RECORD_IV_LEN) == 0)
		r->seq = seq;
	else
		record_set_key(r, (int)gnutls_cipher_get(tls->session),
		    slice_of(key.data, key.size), slice_of(iv.data, iv.size),
		    seq);
	return 0;
}

/* After it: its numbers, and keys when they are new. */
static int
tls_take_back(struct tls *tls, struct err *err)
{
	const int rc = tls_take_key(tls, true, &tls->rx, err);

	tls->in_lent = tls->in_at;
	return rc < 0 ? rc : tls_take_key(tls, false, &tls->tx, err);
}

/* Words a person can act on, where GnuTLS's own do not help. */
static int
tls_handshake_failed(struct tls *tls, int rc, struct err *err)
{
	if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return err_set(err, ERR_PROTOCOL, "TLS: the peer refused: %s",
		    gnutls_alert_get_name(gnutls_alert_get(tls->session)));
	if (rc == GNUTLS_E_PREMATURE_TERMINATION)
		return err_set(err, ERR_PROTOCOL,
		    "TLS: the peer hung up during the handshake");
	if (rc == GNUTLS_E_UNEXPECTED_PACKET_LENGTH ||
	    rc == GNUTLS_E_UNSUPPORTED_VERSION_PACKET ||
	    rc == GNUTLS_E_UNEXPECTED_PACKET)
		return err_set(err, ERR_PROTOCOL, "TLS: not a TLS 1.3 peer: %s",
		    gnutls_strerror(rc));
	return tls_fail(err, rc, "TLS handshake");
}

bool
tls_has_alpn(const struct tls *tls)
{
	gnutls_datum_t name;

	return gnutls_alpn_get_selected_protocol(tls->session, &name) >= 0;
}

bool
tls_is_web(const struct tls *tls)
{
	return tls->protocol == TLS_COORD_WEB &&
	       !tls_proof_speaks(tls->session, TLS_PROOF_COORD);
}

int
tls_handshake(struct tls *tls, struct err *err)
{
	int rc;

	if (tls->ready)
		return 1;
	tls->in_lent = tls->in_len;
	do
		rc = gnutls_handshake(tls->session);
	while (rc == GNUTLS_E_INTERRUPTED ||
	       (rc < 0 && rc != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(rc)));
	if (rc == GNUTLS_E_AGAIN)
		return 0;
	if (rc < 0) {
		const int failed = tls_handshake_failed(tls, rc, err);

		/* Who knocks without a ClientHello for us gets silence. */
		if (tls->said)
			gnutls_alert_send_appropriate(tls->session, rc);
		return failed;
	}
	rc = tls_is_web(tls) && !tls_proof_is_shown(tls->session)
		 ? 0
		 : tls_proof_take(&tls->proof, tls->session, err);
	if (rc == 0)
		rc = tls_take_back(tls, err);
	tls->ready = rc == 0;
	return rc == 0 ? 1 : rc;
}

const struct devid *
tls_peer(const struct tls *tls)
{
	ASSERT(tls->ready);
	return &tls->proof.peer;
}

int
tls_check_name(const struct tls *tls, const char *name, struct err *err)
{
	ASSERT(tls->ready);
	return tls_proof_check_name(&tls->proof, name, err);
}

const char *
tls_text(const struct tls *tls)
{
	return tls->proof.text;
}

/* --- reading ------------------------------------------------------------ */

/* The record `in` is for GnuTLS.  1: go on, maybe with data in `plain`. */
static int
tls_read_lent(struct tls *tls, struct slice in, struct err *err)
{
	const size_t at = tls->in_at;
	ssize_t n;
	int rc;

	tls_lend(tls, in.len);
	do
		n = gnutls_record_recv(tls->session, tls->plain, RECORD_ROOM);
	while (n == GNUTLS_E_INTERRUPTED);
	if (n > 0 || (n == GNUTLS_E_AGAIN && tls->in_at > at)) {
		rc = tls_take_back(tls, err);
		if (rc < 0)
			return rc;
		tls->rx_lend = n < 0;
		tls->tx_lend |= n < 0;
		tls->plain_len = n > 0 ? (size_t)n : 0;
		return 1;
	}
	if (n == 0)
		return err_set(err, ERR_CLOSED, "the peer closed");
	if (n == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return err_set(err, ERR_PROTOCOL, "TLS: the peer refused: %s",
		    gnutls_alert_get_name(gnutls_alert_get(tls->session)));
	gnutls_alert_send_appropriate(tls->session, (int)n);
	return tls_fail(err, (int)n, "TLS read");
}

/* The next record.  1: it is whole; 0: more input is needed. */
static int
tls_next_record(const struct tls *tls, struct slice *in, bool *sealed,
    struct err *err)
{
	const size_t have = tls->in_len - tls->in_at;
	size_t len = 0;

	*sealed = false;
	*in = slice_of(tls->in + tls->in_at, have);
	if (have >= RECORD_HEADER_LEN) {
		len = record_len(*in);
		*sealed = len > 0;
		if (!*sealed) /* GnuTLS knows what to say to that */
			return 1;
		in->len = len;
	}
	if (len > 0 && len <= have)
		return 1;
	return tls->in_ended ? err_set(err, ERR_CLOSED, "the peer closed") : 0;
}

/*
 * Read a record: its data to `out`, *n bytes, or to `plain` when `out` has no
 * room for what else is in it.  1: done; 0: more input is needed.
 */
static int
tls_read_record(struct tls *tls, uint8_t *out, size_t len, size_t *n,
    struct err *err)
{
	const bool direct = len >= RECORD_ROOM;
	struct slice in;
	bool sealed;
	int rc = tls_next_record(tls, &in, &sealed, err);

	if (rc <= 0)
		return rc;
	if (tls->plain == NULL)
		tls->plain = mem_alloc(RECORD_ROOM);
	tls->plain_at = tls->plain_len = 0;
	if (!sealed || tls->rx.cipher == NULL || tls->rx_lend ||
	    !record_open(&tls->rx, in, direct ? out : tls->plain,
		direct ? n : &tls->plain_len))
		return tls_read_lent(tls, in, err);
	tls->in_at += in.len;
	return 1;
}

int
tls_read(struct tls *tls, uint8_t *out, size_t len, size_t *n, struct err *err)
{
	int rc = 1;

	*n = 0;
	while (rc == 1 && *n == 0) {
		const size_t left = tls->plain_len - tls->plain_at;

		if (left > 0) {
			*n = left < len ? left : len;
			memcpy(out, tls->plain + tls->plain_at, *n);
			tls->plain_at += *n;
		} else {
			rc = tls_read_record(tls, out, len, n, err);
		}
	}
	return rc;
}

/* --- writing ------------------------------------------------------------ */

static int
tls_write_lent(struct tls *tls, struct slice data, struct err *err)
{
	tls_lend(tls, 0);
	/* The push function takes everything, so a record goes in one go. */
	while (data.len > 0) {
		const ssize_t rc =
		    gnutls_record_send(tls->session, data.ptr, data.len);

		if (rc < 0)
			return tls_fail(err, (int)rc, "TLS write");
		data = slice_from(data, (size_t)rc);
	}
	tls->tx_lend = false;
	return tls_take_back(tls, err);
}

static int
tls_seal(struct tls *tls, struct slice data, struct err *err)
{
	const size_t len = RECORD_LEN(data.len);
	int rc;

	if (tls->tx_lend || tls->tx.cipher == NULL ||
	    (tls->tx.seq & TLS_RENEW_MASK) >= TLS_RENEW_FROM)
		return tls_write_lent(tls, data, err);
	buf_reserve(&tls->out, len);
	rc = record_seal(&tls->tx, data, tls->out.ptr + tls->out.len, err);
	if (rc == 0)
		tls->out.len += len;
	return rc;
}

int
tls_flush(struct tls *tls, struct err *err)
{
	const size_t len = tls->gathered;

	tls->gathered = 0;
	return len == 0 ? 0 : tls_seal(tls, slice_of(tls->gather, len), err);
}

int
tls_write(struct tls *tls, struct slice plain, struct err *err)
{
	int rc = 0;

	while (plain.len > 0 && rc == 0) {
		size_t n = RECORD_DATA_LEN - tls->gathered;

		if (n > plain.len)
			n = plain.len;
		if (n == RECORD_DATA_LEN) {
			rc = tls_seal(tls, slice_of(plain.ptr, n), err);
		} else {
			if (tls->gather == NULL)
				tls->gather = mem_alloc(RECORD_DATA_LEN);
			memcpy(tls->gather + tls->gathered, plain.ptr, n);
			tls->gathered += n;
			if (tls->gathered == RECORD_DATA_LEN)
				rc = tls_flush(tls, err);
		}
		plain = slice_from(plain, n);
	}
	return rc;
}

void
tls_end(struct tls *tls)
{
	if (!tls->ready)
		return;
	tls_lend(tls, 0);
	(void)gnutls_bye(tls->session, GNUTLS_SHUT_WR);
	(void)tls_take_back(tls, NULL);
}

size_t
tls_output_len(const struct tls *tls)
{
	return tls->out.len;
}

void
tls_output_take(struct tls *tls, struct buf *out)
{
	const struct buf full = tls->out;

	ASSERT(out->len == 0);
	tls->out = *out;
	*out = full;
}

void
tls_idle(struct tls *tls)
{
	if (tls->in != NULL && tls->in_at == tls->in_len) {
		mem_free(tls->in);
		tls->in = NULL;
		tls->in_at = tls->in_len = 0;
	}
	if (tls->gather != NULL && tls->gathered == 0) {
		mem_free(tls->gather);
		tls->gather = NULL;
	}
	if (tls->plain != NULL && tls->plain_at == tls->plain_len) {
		mem_free(tls->plain);
		tls->plain = NULL;
		tls->plain_at = tls->plain_len = 0;
	}
	if (tls->out.len == 0) {
		buf_fini(&tls->out);
		tls->out = (struct buf){ 0 };
	}
}
