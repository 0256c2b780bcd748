/*
 * TLS with GnuTLS; see tls.h.
 *
 * The ciphertext's way: the socket reads into `in`, GnuTLS pulls from there;
 * GnuTLS pushes into `out`, which changes hands with the caller's buffer.  On
 * the way out small writes gather in `gather` until a record is full.
 */
#include "mesh/tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include <gnutls/gnutls.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "mesh/tls_proof_gnutls.h"

#define TLS_RECORD_LEN 16384 /* RFC 8446, 5.1 */

struct tls {
	gnutls_session_t session;
	uint8_t *in; /* owned, TLS_INPUT_LEN bytes; NULL while idle */
	size_t in_at, in_len;
	bool in_ended;
	struct buf out;
	uint8_t *gather; /* owned, TLS_RECORD_LEN bytes; NULL while unused */
	size_t gathered;
	bool ready;
	struct tls_proof proof; /* after the handshake */
};

static ssize_t
tls_pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
	struct tls *tls = ptr;
	const size_t left = tls->in_len - tls->in_at;

	if (left == 0 && tls->in_ended)
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
	return tls->in_len > tls->in_at || tls->in_ended ? 1 : 0;
}

static ssize_t
tls_push(gnutls_transport_ptr_t ptr, const giovec_t *iov, int count)
{
	struct tls *tls = ptr;
	size_t sum = 0;

	for (int i = 0; i < count; i++) {
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
    struct err *err)
{
	struct tls *tls = mem_zalloc(sizeof(*tls));
	int rc;

	*out = NULL;
	rc = tls_proof_session(&tls->session, id, role, TLS_PROOF_TCP, err);
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
	mem_free(tls->in);
	mem_free(tls->gather);
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
	} else if (tls->in_at > 0 &&
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

int
tls_handshake(struct tls *tls, struct err *err)
{
	int rc;

	if (tls->ready)
		return 1;
	do
		rc = gnutls_handshake(tls->session);
	while (rc == GNUTLS_E_INTERRUPTED ||
	       (rc < 0 && rc != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(rc)));
	if (rc == GNUTLS_E_AGAIN)
		return 0;
	if (rc < 0) {
		const int failed = tls_handshake_failed(tls, rc, err);

		gnutls_alert_send_appropriate(tls->session, rc);
		return failed;
	}
	rc = tls_proof_take(&tls->proof, tls->session, err);
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

bool
tls_has_alpn(const struct tls *tls)
{
	gnutls_datum_t name;

	return gnutls_alpn_get_selected_protocol(tls->session, &name) >= 0;
}

int
tls_read(struct tls *tls, uint8_t *out, size_t len, size_t *n, struct err *err)
{
	ssize_t rc;

	do
		rc = gnutls_record_recv(tls->session, out, len);
	while (rc == GNUTLS_E_INTERRUPTED);
	if (rc > 0) {
		*n = (size_t)rc;
		return 1;
	}
	*n = 0;
	if (rc == GNUTLS_E_AGAIN)
		return 0;
	if (rc == 0 || rc == GNUTLS_E_PREMATURE_TERMINATION)
		return err_set(err, ERR_CLOSED, "the peer closed");
	if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return err_set(err, ERR_PROTOCOL, "TLS: the peer refused: %s",
		    gnutls_alert_get_name(gnutls_alert_get(tls->session)));
	gnutls_alert_send_appropriate(tls->session, (int)rc);
	return tls_fail(err, (int)rc, "TLS read");
}

static int
tls_seal(struct tls *tls, const uint8_t *ptr, size_t len, struct err *err)
{
	/* The push function takes everything, so a record goes in one go. */
	while (len > 0) {
		const ssize_t rc = gnutls_record_send(tls->session, ptr, len);

		if (rc < 0)
			return tls_fail(err, (int)rc, "TLS write");
		ptr += rc;
		len -= (size_t)rc;
	}
	return 0;
}

int
tls_flush(struct tls *tls, struct err *err)
{
	const size_t len = tls->gathered;

	tls->gathered = 0;
	return len == 0 ? 0 : tls_seal(tls, tls->gather, len, err);
}

int
tls_write(struct tls *tls, struct slice plain, struct err *err)
{
	int rc;

	while (plain.len > 0) {
		size_t n = TLS_RECORD_LEN - tls->gathered;

		if (tls->gathered == 0 && plain.len >= TLS_RECORD_LEN) {
			n = TLS_RECORD_LEN;
			rc = tls_seal(tls, plain.ptr, n, err);
			if (rc < 0)
				return rc;
			plain = slice_from(plain, n);
			continue;
		}
		if (tls->gather == NULL)
			tls->gather = mem_alloc(TLS_RECORD_LEN);
		if (n > plain.len)
			n = plain.len;
		memcpy(tls->gather + tls->gathered, plain.ptr, n);
		tls->gathered += n;
		plain = slice_from(plain, n);
		if (tls->gathered == TLS_RECORD_LEN) {
			rc = tls_flush(tls, err);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

void
tls_end(struct tls *tls)
{
	if (tls->ready)
		(void)gnutls_bye(tls->session, GNUTLS_SHUT_WR);
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
	if (tls->out.len == 0) {
		buf_fini(&tls->out);
		tls->out = (struct buf){ 0 };
	}
}
