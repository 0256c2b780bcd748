/*
 * TLS between two memory buffers, and against raw GnuTLS peers that do what a
 * device must not, or may but seldom does.  "bench" as argument measures one
 * direction, "renew" goes past the life of a key.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "engine/base/mem.h"
#include "mesh/tls.h"

/* PEM texts of a new identity with `cn` as its name. */
struct pems {
	gnutls_datum_t cert, key;
};

static void
pems_make(struct pems *out, gnutls_pk_algorithm_t pk, unsigned bits,
    const char *cn, const char *san)
{
	gnutls_x509_privkey_t k;
	gnutls_x509_crt_t c;

	gnutls_x509_privkey_init(&k);
	gnutls_x509_crt_init(&c);
	assert_int_equal(gnutls_x509_privkey_generate(k, pk, bits, 0), 0);
	gnutls_x509_crt_set_version(c, 3);
	gnutls_x509_crt_set_serial(c, "\1", 1);
	gnutls_x509_crt_set_activation_time(c, 0);
	gnutls_x509_crt_set_expiration_time(c, 1);
	gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0, cn,
	    (unsigned)strlen(cn));
	if (san != NULL)
		gnutls_x509_crt_set_subject_alt_name(c, GNUTLS_SAN_DNSNAME, san,
		    (unsigned)strlen(san), GNUTLS_FSAN_SET);
	gnutls_x509_crt_set_key(c, k);
	assert_int_equal(gnutls_x509_crt_sign2(c, c, k,
			     pk == GNUTLS_PK_EDDSA_ED25519 ? GNUTLS_DIG_SHA512
							   : GNUTLS_DIG_SHA256,
			     0),
	    0);
	gnutls_x509_crt_export2(c, GNUTLS_X509_FMT_PEM, &out->cert);
	gnutls_x509_privkey_export2_pkcs8(k, GNUTLS_X509_FMT_PEM, NULL,
	    GNUTLS_PKCS_PLAIN, &out->key);
	gnutls_x509_privkey_deinit(k);
	gnutls_x509_crt_deinit(c);
}

static void
pems_free(struct pems *p)
{
	gnutls_free(p->cert.data);
	gnutls_free(p->key.data);
}

static struct identity *
identity_with(gnutls_pk_algorithm_t pk, unsigned bits, const char *cn,
    const char *san)
{
	struct identity *id;
	struct pems p;

	pems_make(&p, pk, bits, cn, san);
	assert_int_equal(identity_from_pem(&id,
			     slice_of(p.cert.data, p.cert.size),
			     slice_of(p.key.data, p.key.size), NULL),
	    0);
	pems_free(&p);
	return id;
}

static struct identity *
identity_new(void)
{
	return identity_with(GNUTLS_PK_EDDSA_ED25519, 256, "syncthing", NULL);
}

/* Carry what `from` says to `to`; true when there was something. */
static bool
carry(struct tls *from, struct tls *to)
{
	struct buf out = { 0 };
	size_t at = 0, len;
	uint8_t *space;
	bool any;

	tls_output_take(from, &out);
	any = out.len > 0;
	while (at < out.len) {
		space = tls_input_space(to, &len);
		if (len > out.len - at)
			len = out.len - at;
		assert_true(len > 0);
		memcpy(space, out.ptr + at, len);
		tls_input_add(to, len);
		at += len;
	}
	buf_fini(&out);
	return any;
}

struct two {
	struct identity *ia, *ib;
	struct tls *a, *b; /* client, server */
};

static void
two_open(struct two *t, struct identity *ia, struct identity *ib)
{
	struct err err = { 0 };
	int ra = 0, rb = 0;

	t->ia = ia;
	t->ib = ib;
	assert_int_equal(tls_open(&t->a, ia, TLS_CLIENT, TLS_BEP, NULL), 0);
	assert_int_equal(tls_open(&t->b, ib, TLS_SERVER, TLS_BEP, NULL), 0);
	for (int i = 0; i < 10 && (ra == 0 || rb == 0); i++) {
		ra = tls_handshake(t->a, &err);
		carry(t->a, t->b);
		rb = tls_handshake(t->b, &err);
		carry(t->b, t->a);
	}
	if (ra != 1 || rb != 1)
		fail_msg("handshake: %s", err.text);
}

static void
two_close(struct two *t)
{
	tls_close(t->a);
	tls_close(t->b);
	identity_close(t->ia);
	identity_close(t->ib);
}

static void
tls_tells_each_side_who_the_other_is(void **state)
{
	struct two t;

	(void)state;
	two_open(&t, identity_new(), identity_new());
	assert_true(devid_equal(tls_peer(t.a), identity_devid(t.ib)));
	assert_true(devid_equal(tls_peer(t.b), identity_devid(t.ia)));
	assert_true(tls_has_alpn(t.a));
	assert_true(tls_has_alpn(t.b));
	assert_non_null(strstr(tls_text(t.a), "TLS1.3"));
	two_close(&t);
}

static void
tls_accepts_every_kind_of_key_that_devices_have(void **state)
{
	static const struct {
		gnutls_pk_algorithm_t pk;
		unsigned bits;
	} kinds[] = {
		{ GNUTLS_PK_RSA, 2048 },
		{ GNUTLS_PK_RSA, 3072 },
		{ GNUTLS_PK_ECDSA,
		    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1) },
		{ GNUTLS_PK_ECDSA,
		    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1) },
		{ GNUTLS_PK_ECDSA,
		    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP521R1) },
	};
	struct two t;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		two_open(&t,
		    identity_with(kinds[i].pk, kinds[i].bits, "syncthing",
			NULL),
		    identity_new());
		two_close(&t);
		two_open(&t, identity_new(),
		    identity_with(kinds[i].pk, kinds[i].bits, "syncthing",
			NULL));
		two_close(&t);
	}
}

static void
tls_checks_the_name_in_the_certificate(void **state)
{
	struct two t;
	struct err err = { 0 };

	(void)state;
	two_open(&t,
	    identity_with(GNUTLS_PK_EDDSA_ED25519, 256, "other", "syncthing"),
	    identity_with(GNUTLS_PK_EDDSA_ED25519, 256, "other", NULL));
	assert_int_equal(tls_check_name(t.b, "syncthing", &err), 0);
	assert_int_equal(tls_check_name(t.b, "other", &err), 0);
	assert_int_equal(tls_check_name(t.a, "syncthing", &err), ERR_DENIED);
	assert_int_equal(tls_check_name(t.a, "other", &err), 0);
	two_close(&t);
}

static void
tls_carries_bytes_in_order_both_ways(void **state)
{
	struct two t;
	struct err err = { 0 };
	uint8_t *in = mem_alloc(300000), *out = mem_alloc(300000);
	size_t got = 0, sent = 0, n;
	int rc = 0;

	(void)state;
	for (size_t i = 0; i < 300000; i++)
		in[i] = (uint8_t)(i * 7 + i / 251);
	two_open(&t, identity_new(), identity_new());
	while (got < 300000) {
		/* Odd pieces, some larger than a record. */
		const size_t len = sent % 3 == 0 ? 17 : 40001;

		if (sent < 300000) {
			n = 300000 - sent < len ? 300000 - sent : len;
			assert_int_equal(
			    tls_write(t.b, slice_of(in + sent, n), &err), 0);
			sent += n;
			if (sent == 300000)
				assert_int_equal(tls_flush(t.b, &err), 0);
		}
		carry(t.b, t.a);
		while ((rc = tls_read(t.a, out + got,
			    300000 - got + (got == 300000), &n, &err)) == 1)
			if ((got += n) == 300000)
				break;
		assert_true(rc >= 0);
	}
	assert_memory_equal(in, out, 300000);
	/* And the other way, small, with a goodbye. */
	assert_int_equal(tls_write(t.a, SLICE_LIT("hi"), &err), 0);
	assert_int_equal(tls_flush(t.a, &err), 0);
	tls_end(t.a);
	carry(t.a, t.b);
	assert_int_equal(tls_read(t.b, out, 100, &n, &err), 1);
	assert_int_equal(n, 2);
	assert_int_equal(tls_read(t.b, out, 100, &n, &err), ERR_CLOSED);
	two_close(&t);
	mem_free(in);
	mem_free(out);
}

static void
tls_notices_a_changed_byte(void **state)
{
	struct two t;
	struct err err = { 0 };
	struct buf out = { 0 };
	uint8_t got[100];
	size_t n, len;

	(void)state;
	two_open(&t, identity_new(), identity_new());
	tls_write(t.a, SLICE_LIT("attack at dawn"), &err);
	tls_flush(t.a, &err);
	tls_output_take(t.a, &out);
	out.ptr[10] ^= 1;
	memcpy(tls_input_space(t.b, &len), out.ptr, out.len);
	tls_input_add(t.b, out.len);
	assert_int_equal(tls_read(t.b, got, 100, &n, &err), ERR_PROTOCOL);
	buf_fini(&out);
	two_close(&t);
}

static void
tls_gives_memory_back_and_goes_on(void **state)
{
	struct two t;
	struct err err = { 0 };
	uint8_t got[100];
	size_t n;

	(void)state;
	two_open(&t, identity_new(), identity_new());
	for (int i = 0; i < 3; i++) {
		tls_idle(t.a);
		tls_idle(t.b);
		tls_write(t.a, SLICE_LIT("x"), &err);
		tls_flush(t.a, &err);
		carry(t.a, t.b);
		assert_int_equal(tls_read(t.b, got, 100, &n, &err), 1);
	}
	two_close(&t);
}

/* --- peers that misbehave --------------------------------------------- */

struct raw {
	gnutls_session_t s;
	gnutls_certificate_credentials_t cred;
	struct buf in, out;
};

static ssize_t
raw_pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
	struct raw *r = ptr;

	if (len > r->in.len)
		len = r->in.len;
	if (len == 0) {
		gnutls_transport_set_errno(r->s, EAGAIN);
		return -1;
	}
	memcpy(data, r->in.ptr, len);
	buf_consume(&r->in, len);
	return (ssize_t)len;
}

static int
raw_pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
	(void)ms;
	return ((struct raw *)ptr)->in.len > 0;
}

static ssize_t
raw_push(gnutls_transport_ptr_t ptr, const void *data, size_t len)
{
	buf_put(&((struct raw *)ptr)->out, slice_of(data, len));
	return (ssize_t)len;
}

static void
raw_open(struct raw *r, unsigned flags, const char *priority, const char *alpn)
{
	gnutls_datum_t name;

	memset(r, 0, sizeof(*r));
	gnutls_certificate_allocate_credentials(&r->cred);
	gnutls_init(&r->s, flags | GNUTLS_NONBLOCK | GNUTLS_FORCE_CLIENT_CERT);
	assert_int_equal(gnutls_priority_set_direct(r->s, priority, NULL), 0);
	gnutls_credentials_set(r->s, GNUTLS_CRD_CERTIFICATE, r->cred);
	if (alpn != NULL) {
		name = (gnutls_datum_t){ (unsigned char *)(uintptr_t)alpn,
			(unsigned)strlen(alpn) };
		gnutls_alpn_set_protocols(r->s, &name, 1, 0);
	}
	gnutls_transport_set_ptr(r->s, r);
	gnutls_transport_set_pull_function(r->s, raw_pull);
	gnutls_transport_set_pull_timeout_function(r->s, raw_pull_timeout);
	gnutls_transport_set_push_function(r->s, raw_push);
}

/* Show `count` certificates; all of them the same. */
static void
raw_certify(struct raw *r, unsigned count)
{
	gnutls_pcert_st chain[2];
	gnutls_privkey_t key;
	struct pems p;

	pems_make(&p, GNUTLS_PK_EDDSA_ED25519, 256, "syncthing", NULL);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(gnutls_pcert_import_x509_raw(&chain[i],
				     &p.cert, GNUTLS_X509_FMT_PEM, 0),
		    0);
	gnutls_privkey_init(&key);
	assert_int_equal(gnutls_privkey_import_x509_raw(key, &p.key,
			     GNUTLS_X509_FMT_PEM, NULL, 0),
	    0);
	assert_int_equal(gnutls_certificate_set_key(r->cred, NULL, 0, chain,
			     (int)count, key),
	    0);
	pems_free(&p);
}

static void
raw_close(struct raw *r)
{
	gnutls_deinit(r->s);
	gnutls_certificate_free_credentials(r->cred);
	buf_fini(&r->in);
	buf_fini(&r->out);
}

/* Carry what the raw peer said to `tls`, then what that said back. */
static void
raw_to_tls(struct raw *r, struct tls *tls)
{
	size_t len;

	memcpy(tls_input_space(tls, &len), r->out.ptr, r->out.len);
	tls_input_add(tls, r->out.len);
	buf_clear(&r->out);
}

static void
tls_to_raw(struct tls *tls, struct raw *r)
{
	struct buf out = { 0 };

	tls_output_take(tls, &out);
	buf_put(&r->in, buf_slice(&out));
	buf_fini(&out);
}

static int
raw_meet(struct raw *r, struct tls *tls, struct err *err)
{
	int rc = 0;

	for (int i = 0; i < 10 && rc == 0; i++) {
		(void)gnutls_handshake(r->s);
		raw_to_tls(r, tls);
		rc = tls_handshake(tls, err);
		tls_to_raw(tls, r);
	}
	if (rc == 1)
		(void)gnutls_handshake(r->s);
	return rc;
}

/*
 * A raw client with `certs` certificates and ALPN name `alpn` meets our
 * server.  What the server says of it.
 */
static int
meet_raw_as(enum tls_protocol protocol, const char *priority, unsigned certs,
    const char *alpn, struct err *err)
{
	struct identity *id = identity_new();
	struct tls *tls;
	struct raw r;
	int rc;

	raw_open(&r, GNUTLS_CLIENT, priority, alpn);
	if (certs > 0)
		raw_certify(&r, certs);
	assert_int_equal(tls_open(&tls, id, TLS_SERVER, protocol, NULL), 0);
	rc = raw_meet(&r, tls, err);
	if (rc == 1 && protocol == TLS_COORD_WEB) {
		const bool coord =
		    alpn != NULL && strcmp(alpn, "holdfast-coord/1") == 0;

		assert_int_equal(tls_is_web(tls), !coord);
		assert_int_equal(devid_is_none(tls_peer(tls)), certs == 0);
	}
	tls_close(tls);
	raw_close(&r);
	identity_close(id);
	return rc;
}

static int
meet_raw(const char *priority, unsigned certs, const char *alpn,
    struct err *err)
{
	return meet_raw_as(TLS_BEP, priority, certs, alpn, err);
}

#define TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3"

static void
tls_tolerates_a_peer_without_alpn(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(meet_raw(TLS13, 1, NULL, &err), 1);
	assert_int_equal(meet_raw(TLS13, 1, "bep/1.0", &err), 1);
}

static void
tls_refuses_a_peer_with_other_plans(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(meet_raw(TLS13, 1, "h2", &err), ERR_PROTOCOL);
}

static void
tls_wants_exactly_one_certificate(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(meet_raw(TLS13, 0, "bep/1.0", &err), ERR_PROTOCOL);
	assert_true(strlen(err.text) > 0);
	assert_int_equal(meet_raw(TLS13, 2, "bep/1.0", &err), ERR_PROTOCOL);
	assert_non_null(strstr(err.text, "2 certificates"));
}

/* Who asks a discovery server may be anybody; a coordinator's guest, nobody. */
static void
tls_lets_http_come_without_a_certificate(void **state)
{
	static const enum tls_protocol web = TLS_COORD_WEB;
	static const char coord[] = "holdfast-coord/1";
	struct err err = { 0 };

	(void)state;
	assert_int_equal(meet_raw_as(web, TLS13, 0, NULL, &err), 1);
	assert_int_equal(meet_raw_as(web, TLS13, 1, NULL, &err), 1);
	assert_int_equal(meet_raw_as(web, TLS13, 0, "http/1.1", &err), 1);
	assert_int_equal(meet_raw_as(web, TLS13, 1, "http/1.1", &err), 1);
	assert_int_equal(meet_raw_as(web, TLS13, 1, coord, &err), 1);
	assert_int_equal(meet_raw_as(web, TLS13, 0, coord, &err), ERR_PROTOCOL);
	assert_int_equal(meet_raw_as(web, TLS13, 2, NULL, &err), ERR_PROTOCOL);
	assert_int_equal(meet_raw_as(web, TLS13, 1, "h2", &err), ERR_PROTOCOL);
	/* And without it nobody comes so. */
	assert_int_equal(meet_raw_as(TLS_COORD, TLS13, 1, "http/1.1", &err),
	    ERR_PROTOCOL);
	assert_int_equal(meet_raw_as(TLS_COORD, TLS13, 0, coord, &err),
	    ERR_PROTOCOL);
}

static void
tls_refuses_older_versions(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(
	    meet_raw("NORMAL:-VERS-ALL:+VERS-TLS1.2", 1, "bep/1.0", &err),
	    ERR_PROTOCOL);
	assert_true(strlen(err.text) > 0);
}

static void
tls_refuses_noise(void **state)
{
	static const char *const noise[] = { "GET / HTTP/1.1\r\n\r\n",
		"\x16\x03\x01\xff\xff\x01\xff\xff\xff", "SSH-2.0-x\r\n",
		"\x2e\xa7\xd9\x0b\x01\x01\x01\x01" };

	(void)state;
	for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++) {
		struct identity *id = identity_new();
		struct err err = { 0 };
		struct tls *tls;
		size_t len;

		assert_int_equal(tls_open(&tls, id, TLS_SERVER, TLS_BEP, NULL),
		    0);
		memcpy(tls_input_space(tls, &len), noise[i], strlen(noise[i]));
		tls_input_add(tls, strlen(noise[i]));
		tls_input_end(tls);
		assert_int_equal(tls_handshake(tls, &err), ERR_PROTOCOL);
		tls_close(tls);
		identity_close(id);
	}
}

/* --- records that are not plain data ------------------------------------ */

struct odd {
	struct identity *id;
	struct tls *tls;
	struct raw raw;
	uint64_t said[2]; /* bytes so far: by us, by the raw peer */
};

static void
odd_open_as(struct odd *o, enum tls_role role, const char *priority)
{
	const bool client = role == TLS_CLIENT;
	struct err err = { 0 };

	memset(o, 0, sizeof(*o));
	o->id = identity_new();
	raw_open(&o->raw, client ? GNUTLS_SERVER : GNUTLS_CLIENT, priority,
	    "bep/1.0");
	raw_certify(&o->raw, 1);
	if (client)
		gnutls_certificate_server_set_request(o->raw.s,
		    GNUTLS_CERT_REQUIRE);
	assert_int_equal(tls_open(&o->tls, o->id, role, TLS_BEP, NULL), 0);
	if (client) {
		assert_int_equal(tls_handshake(o->tls, &err), 0);
		tls_to_raw(o->tls, &o->raw);
	}
	if (raw_meet(&o->raw, o->tls, &err) != 1)
		fail_msg("handshake: %s", err.text);
}

static void
odd_open(struct odd *o, enum tls_role role)
{
	odd_open_as(o, role, TLS13);
}

static void
odd_close(struct odd *o)
{
	tls_close(o->tls);
	raw_close(&o->raw);
	identity_close(o->id);
}

static uint8_t
odd_byte(unsigned who, uint64_t at)
{
	return (uint8_t)(at * 13 + at / 257 + who);
}

/* The raw peer says `len` bytes in one record with `pad` bytes of padding. */
static void
odd_hear(struct odd *o, size_t len, size_t pad)
{
	uint8_t data[16384] = { 0 }, got[40000];
	struct err err = { 0 };
	size_t have = 0, n;
	int rc;

	for (size_t i = 0; i < len; i++)
		data[i] = odd_byte(1, o->said[1] + i);
	assert_int_equal(gnutls_record_send2(o->raw.s, data, len, pad, 0), len);
	raw_to_tls(&o->raw, o->tls);
	while (have < len) {
		/* Into a large place, or bit by bit. */
		const size_t room = len % 2 == 0 ? sizeof(got) - have : 999;

		rc = tls_read(o->tls, got + have, room, &n, &err);
		if (rc != 1)
			fail_msg("after %zu bytes: %s", have, err.text);
		have += n;
	}
	assert_memory_equal(got, data, len);
	assert_int_equal(tls_read(o->tls, got, sizeof(got), &n, &err), 0);
	o->said[1] += len;
}

static void
odd_say(struct odd *o, size_t len)
{
	uint8_t data[40000] = { 0 }, got[40000];
	struct err err = { 0 };
	size_t have = 0;

	for (size_t i = 0; i < len; i++)
		data[i] = odd_byte(0, o->said[0] + i);
	assert_int_equal(tls_write(o->tls, slice_of(data, len), &err), 0);
	assert_int_equal(tls_flush(o->tls, &err), 0);
	tls_to_raw(o->tls, &o->raw);
	while (have < len) {
		const ssize_t n =
		    gnutls_record_recv(o->raw.s, got + have, len - have);

		if (n == GNUTLS_E_AGAIN) /* it took a new key */
			continue;
		if (n <= 0)
			fail_msg("%s", gnutls_strerror((int)n));
		have += (size_t)n;
	}
	assert_memory_equal(got, data, len);
	o->said[0] += len;
}

static void
odd_talk(struct odd *o)
{
	odd_hear(o, 7, 0);
	odd_say(o, 40000);
	odd_hear(o, 16384, 0);
	odd_hear(o, 16383, 0);
	odd_say(o, 1);
	odd_say(o, 16384);
}

static void
tls_takes_and_gives_new_keys(void **state)
{
	static const enum tls_role roles[] = { TLS_SERVER, TLS_CLIENT };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct odd o;

		odd_open(&o, roles[i]);
		odd_talk(&o);
		/* A new key of theirs. */
		assert_int_equal(gnutls_session_key_update(o.raw.s, 0), 0);
		odd_talk(&o);
		/* And one with the wish for ours; once a second, no more. */
		nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 1000000 },
		    NULL);
		assert_int_equal(
		    gnutls_session_key_update(o.raw.s, GNUTLS_KU_PEER), 0);
		odd_talk(&o);
		odd_talk(&o);
		odd_close(&o);
	}
}

static void
tls_ends_a_peer_that_renews_its_key_without_end(void **state)
{
	struct err err = { 0 };
	uint8_t got[10];
	struct odd o;
	size_t n;
	int rc = 0;

	(void)state;
	odd_open(&o, TLS_SERVER);
	for (int i = 0; i < 20 && rc == 0; i++) {
		assert_int_equal(gnutls_session_key_update(o.raw.s, 0), 0);
		raw_to_tls(&o.raw, o.tls);
		rc = tls_read(o.tls, got, sizeof(got), &n, &err);
	}
	assert_int_equal(rc, ERR_PROTOCOL);
	odd_close(&o);
}

static void
tls_overlooks_tickets(void **state)
{
	gnutls_datum_t key;
	struct odd o;

	(void)state;
	odd_open(&o, TLS_CLIENT);
	assert_int_equal(gnutls_session_ticket_key_generate(&key), 0);
	assert_int_equal(gnutls_session_ticket_enable_server(o.raw.s, &key), 0);
	odd_talk(&o);
	(void)gnutls_session_ticket_send(o.raw.s, 2, 0);
	odd_talk(&o);
	gnutls_free(key.data);
	odd_close(&o);
}

static void
tls_takes_padding_away(void **state)
{
	struct odd o;

	(void)state;
	odd_open(&o, TLS_SERVER);
	odd_hear(&o, 100, 1);
	odd_hear(&o, 101, 16000);
	odd_hear(&o, 16000, 300);
	odd_talk(&o);
	odd_close(&o);
}

static void
tls_speaks_every_cipher_of_tls_13(void **state)
{
	static const char *const cipher[] = {
		TLS13 ":-CIPHER-ALL:+AES-128-GCM",
		TLS13 ":-CIPHER-ALL:+AES-256-GCM",
		TLS13 ":-CIPHER-ALL:+CHACHA20-POLY1305",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cipher) / sizeof(cipher[0]); i++) {
		struct odd o;

		odd_open_as(&o, TLS_SERVER, cipher[i]);
		odd_talk(&o);
		assert_int_equal(
		    gnutls_session_key_update(o.raw.s, GNUTLS_KU_PEER), 0);
		odd_talk(&o);
		odd_close(&o);
	}
}

static void
tls_says_why_it_ends(void **state)
{
	struct err err = { 0 };
	uint8_t got[100];
	struct odd o;
	size_t n;

	(void)state;
	odd_open(&o, TLS_SERVER);
	odd_talk(&o);
	assert_int_equal(gnutls_record_send(o.raw.s, "abc", 3), 3);
	o.raw.out.ptr[o.raw.out.len - 1] ^= 0x80;
	raw_to_tls(&o.raw, o.tls);
	assert_int_equal(tls_read(o.tls, got, sizeof(got), &n, &err),
	    ERR_PROTOCOL);
	tls_to_raw(o.tls, &o.raw);
	assert_int_equal(gnutls_record_recv(o.raw.s, got, sizeof(got)),
	    GNUTLS_E_FATAL_ALERT_RECEIVED);
	assert_int_equal(gnutls_alert_get(o.raw.s), GNUTLS_A_BAD_RECORD_MAC);
	odd_close(&o);
}

static void
tls_hears_why_the_peer_ends(void **state)
{
	struct err err = { 0 };
	uint8_t got[100];
	struct odd o;
	size_t n;

	(void)state;
	odd_open(&o, TLS_SERVER);
	odd_talk(&o);
	gnutls_alert_send(o.raw.s, GNUTLS_AL_FATAL, GNUTLS_A_ACCESS_DENIED);
	raw_to_tls(&o.raw, o.tls);
	assert_int_equal(tls_read(o.tls, got, sizeof(got), &n, &err),
	    ERR_PROTOCOL);
	assert_non_null(strstr(err.text, "refused"));
	odd_close(&o);
	/* A goodbye, and our own. */
	odd_open(&o, TLS_CLIENT);
	odd_talk(&o);
	tls_end(o.tls);
	tls_to_raw(o.tls, &o.raw);
	assert_int_equal(gnutls_record_recv(o.raw.s, got, sizeof(got)), 0);
	gnutls_bye(o.raw.s, GNUTLS_SHUT_WR);
	raw_to_tls(&o.raw, o.tls);
	assert_int_equal(tls_read(o.tls, got, sizeof(got), &n, &err),
	    ERR_CLOSED);
	odd_close(&o);
}

static void
tls_refuses_records_no_one_may_send(void **state)
{
	static const char *const bad[] = {
		"\x17\x03\x03\xff\xff"
		"abcdefghijklmnopqrstuvwxyz", /* long */
		"\x17\x03\x03\x00\x01"
		"a", /* short */
		"\x17\x03\x03\x00\x10"
		"abcdefghijklmnop",             /* a tag alone */
		"\x14\x03\x03\x00\x01\x01",     /* too late */
		"\x15\x03\x03\x00\x02\x02\x28", /* not sealed */
		"GET / HTTP/1.1\r\n\r\n",
	};
	static const size_t len[] = { 31, 6, 21, 6, 7, 18 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = { 0 };
		uint8_t got[100];
		struct odd o;
		size_t n;

		odd_open(&o, TLS_SERVER);
		odd_talk(&o);
		buf_put(&o.raw.out, slice_of(bad[i], len[i]));
		raw_to_tls(&o.raw, o.tls);
		if (tls_read(o.tls, got, sizeof(got), &n, &err) != ERR_PROTOCOL)
			fail_msg("record %zu", i);
		odd_close(&o);
	}
}

static void
tls_sees_an_end_within_a_record(void **state)
{
	struct err err = { 0 };
	uint8_t got[100];
	struct odd o;
	size_t n;

	(void)state;
	for (size_t keep = 0; keep < 30; keep += 3) {
		odd_open(&o, TLS_SERVER);
		odd_talk(&o);
		assert_int_equal(gnutls_record_send(o.raw.s, "abcdefgh", 8), 8);
		assert_true(keep < o.raw.out.len);
		o.raw.out.len = keep;
		raw_to_tls(&o.raw, o.tls);
		assert_int_equal(tls_read(o.tls, got, sizeof(got), &n, &err),
		    0);
		tls_input_end(o.tls);
		assert_true(tls_read(o.tls, got, sizeof(got), &n, &err) < 0);
		odd_close(&o);
	}
}

/*
 * Past 2^24 records, where AES-GCM wants a new key.  Half a minute, so by hand
 * only: "renew" as argument.
 */
static void
renew(void)
{
	const uint32_t end = (1u << 24) + 1000;
	unsigned keys = 0;
	struct odd o;

	odd_open(&o, TLS_CLIENT);
	for (uint32_t i = 0; i < end; i++) {
		uint8_t byte = (uint8_t)i, got[2];
		struct err err = { 0 };
		ssize_t n;

		if (tls_write(o.tls, slice_of(&byte, 1), &err) < 0 ||
		    tls_flush(o.tls, &err) < 0)
			fail_msg("record %u: %s", i, err.text);
		tls_to_raw(o.tls, &o.raw);
		while ((n = gnutls_record_recv(o.raw.s, got, 2)) < 0 &&
		       n == GNUTLS_E_AGAIN)
			keys++;
		if (n != 1 || got[0] != byte)
			fail_msg("record %u: %zd", i, n);
	}
	printf("tls: %u records, %u new keys\n", end, keys);
	odd_close(&o);
}

static double
cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
bench(void)
{
	uint8_t *plain = mem_alloc(256 * 1024), *out = mem_alloc(128 * 1024);
	struct buf spare = { 0 };
	double seal = 0, unseal = 0, start;
	const double gb = 4.0 * 1024 * 0.262144 / 1000;
	struct err err = { 0 };
	struct two t;

	memset(plain, 3, 256 * 1024);
	two_open(&t, identity_new(), identity_new());
	for (int i = 0; i < 4 * 1024; i++) {
		size_t at = 0, len, n;
		uint8_t *space;

		start = cpu_s();
		tls_write(t.a, slice_of(plain, 256 * 1024), &err);
		tls_output_take(t.a, &spare);
		seal += cpu_s() - start;
		start = cpu_s();
		while (at < spare.len) {
			space = tls_input_space(t.b, &len);
			if (len > spare.len - at)
				len = spare.len - at;
			memcpy(space, spare.ptr + at, len);
			tls_input_add(t.b, len);
			at += len;
			while (tls_read(t.b, out, 128 * 1024, &n, &err) == 1)
				;
		}
		unseal += cpu_s() - start;
		spare.len = 0;
	}
	printf("tls: seal %.0f MB/s, unseal (with one copy) %.0f MB/s, %s\n",
	    gb * 1000 / seal, gb * 1000 / unseal, tls_text(t.a));
	two_close(&t);
	buf_fini(&spare);
	mem_free(plain);
	mem_free(out);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tls_tells_each_side_who_the_other_is),
		cmocka_unit_test(
		    tls_accepts_every_kind_of_key_that_devices_have),
		cmocka_unit_test(tls_checks_the_name_in_the_certificate),
		cmocka_unit_test(tls_carries_bytes_in_order_both_ways),
		cmocka_unit_test(tls_notices_a_changed_byte),
		cmocka_unit_test(tls_gives_memory_back_and_goes_on),
		cmocka_unit_test(tls_tolerates_a_peer_without_alpn),
		cmocka_unit_test(tls_refuses_a_peer_with_other_plans),
		cmocka_unit_test(tls_wants_exactly_one_certificate),
		cmocka_unit_test(tls_lets_http_come_without_a_certificate),
		cmocka_unit_test(tls_refuses_older_versions),
		cmocka_unit_test(tls_refuses_noise),
		cmocka_unit_test(tls_takes_and_gives_new_keys),
		cmocka_unit_test(
		    tls_ends_a_peer_that_renews_its_key_without_end),
		cmocka_unit_test(tls_overlooks_tickets),
		cmocka_unit_test(tls_takes_padding_away),
		cmocka_unit_test(tls_speaks_every_cipher_of_tls_13),
		cmocka_unit_test(tls_says_why_it_ends),
		cmocka_unit_test(tls_hears_why_the_peer_ends),
		cmocka_unit_test(tls_refuses_records_no_one_may_send),
		cmocka_unit_test(tls_sees_an_end_within_a_record),
	};

	if (argc == 2 && strcmp(argv[1], "bench") == 0) {
		bench();
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "renew") == 0) {
		renew();
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
