/*
 * ngtcp2 0.12 (Debian 12) and 1.x (Debian 13, Ubuntu 24.04) under one set of
 * names: those of 1.x.  What differs, and that we use, is here and nowhere
 * else.
 */
#ifndef HOLDFAST_MESH_QUIC_COMPAT_NGTCP2_H
#define HOLDFAST_MESH_QUIC_COMPAT_NGTCP2_H

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#if NGTCP2_VERSION_NUM < 0x010000

typedef ngtcp2_connection_close_error ngtcp2_ccerr;

#define ngtcp2_ccerr_set_liberr                                                \
	ngtcp2_connection_close_error_set_transport_error_liberr
#define ngtcp2_ccerr_set_tls_alert                                             \
	ngtcp2_connection_close_error_set_transport_error_tls_alert
#define ngtcp2_ccerr_set_application_error                                     \
	ngtcp2_connection_close_error_set_application_error
#define NGTCP2_CCERR_TYPE_APPLICATION                                          \
	NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION

/* The second version of BBR, which is the only one that 1.x has. */
#define QUIC_COMPAT_BBR NGTCP2_CC_ALGO_BBR2

static inline void
quic_compat_ccerr(ngtcp2_conn *conn, ngtcp2_ccerr *out)
{
	ngtcp2_conn_get_connection_close_error(conn, out);
}

static inline uint64_t
quic_compat_rtt(ngtcp2_conn *conn)
{
	ngtcp2_conn_stat stat;

	ngtcp2_conn_get_conn_stat(conn, &stat);
	return stat.latest_rtt != UINT64_MAX && stat.latest_rtt != 0
		   ? stat.smoothed_rtt
		   : 0;
}

static inline void
quic_compat_original_dcid(ngtcp2_transport_params *params,
    const ngtcp2_cid *cid)
{
	params->original_dcid = *cid;
}

static inline void
quic_compat_token(const ngtcp2_pkt_hd *hd, const uint8_t **token, size_t *len)
{
	*token = hd->token.base;
	*len = hd->token.len;
}

static inline void
quic_compat_set_token(ngtcp2_settings *settings, const ngtcp2_pkt_hd *hd)
{
	settings->token = hd->token;
}

#else

#define QUIC_COMPAT_BBR NGTCP2_CC_ALGO_BBR

static inline void
quic_compat_ccerr(ngtcp2_conn *conn, ngtcp2_ccerr *out)
{
	*out = *ngtcp2_conn_get_ccerr(conn);
}

static inline uint64_t
quic_compat_rtt(ngtcp2_conn *conn)
{
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(conn, &info);
	return info.latest_rtt != UINT64_MAX && info.latest_rtt != 0
		   ? info.smoothed_rtt
		   : 0;
}

static inline void
quic_compat_original_dcid(ngtcp2_transport_params *params,
    const ngtcp2_cid *cid)
{
	params->original_dcid = *cid;
	params->original_dcid_present = 1;
}

static inline void
quic_compat_token(const ngtcp2_pkt_hd *hd, const uint8_t **token, size_t *len)
{
	*token = hd->token;
	*len = hd->tokenlen;
}

static inline void
quic_compat_set_token(ngtcp2_settings *settings, const ngtcp2_pkt_hd *hd)
{
	settings->token = hd->token;
	settings->tokenlen = hd->tokenlen;
	settings->token_type = NGTCP2_TOKEN_TYPE_RETRY;
}

#endif

#endif
