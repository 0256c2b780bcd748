/*
 * PCP's bytes; see pcp.h.  Section numbers are RFC 6887's.
 */
#include "mesh/pcp.h"

#include <string.h>

#define PCP_VERSION 2
#define PCP_HEADER_LEN 24
#define PCP_MAP_LEN 36
#define PCP_RESPONSE 0x80u
#define PCP_IP_LEN 16

enum { PCP_ANNOUNCE = 0, PCP_MAP = 1 };

#define NATPMP_VERSION 0
#define NATPMP_ADDRESS_LEN 12

static void
pcp_put_zeros(struct buf *out, size_t count)
{
	while (count-- > 0)
		buf_put_u8(out, 0);
}

/* Sections 7.1 and 11.1. */
void
pcp_encode_map(const struct pcp_map *map, const uint8_t client_ip[16],
    struct buf *out)
{
	buf_put_u8(out, PCP_VERSION);
	buf_put_u8(out, PCP_MAP);
	pcp_put_zeros(out, 2);
	buf_put_u32be(out, map->lease_s);
	buf_put(out, slice_of(client_ip, PCP_IP_LEN));
	buf_put(out, slice_of(map->nonce, PCP_NONCE_LEN));
	buf_put_u8(out, (uint8_t)map->protocol);
	pcp_put_zeros(out, 3);
	buf_put_u16be(out, map->inner_port);
	buf_put_u16be(out, map->outer_port);
	buf_put(out, slice_of(map->outer_ip, PCP_IP_LEN));
}

/* Section 7.2; the reader is behind the header then. */
static int
pcp_decode_header(struct reader *r, struct pcp_answer *out, uint8_t opcode,
    struct slice in, struct err *err)
{
	const uint8_t version = reader_u8(r);
	const uint8_t op = reader_u8(r);

	(void)reader_u8(r);
	out->result = reader_u8(r);
	out->map.lease_s = reader_u32be(r);
	/* NAT-PMP's refusal is shorter, and has its version in front. */
	if (in.len >= 4 && version != PCP_VERSION && (op & PCP_RESPONSE) != 0)
		return err_set(err, ERR_UNSUPPORTED, "it speaks version %u",
		    version);
	out->epoch_s = reader_u32be(r);
	(void)reader_bytes(r, 12);
	if (!reader_ok(r) || in.len > PCP_DATAGRAM_MAX || in.len % 4 != 0 ||
	    op != (PCP_RESPONSE | opcode))
		return err_set(err, ERR_PROTOCOL, "not an answer of PCP");
	if (out->result == PCP_UNSUPP_VERSION)
		return err_set(err, ERR_UNSUPPORTED,
		    "it speaks no version of ours");
	return 0;
}

int
pcp_decode_map(struct pcp_answer *out, struct slice in, struct err *err)
{
	struct reader r;
	struct slice nonce, ip;
	int rc;

	memset(out, 0, sizeof(*out));
	reader_init(&r, in);
	rc = pcp_decode_header(&r, out, PCP_MAP, in, err);
	if (rc < 0)
		return rc;
	nonce = reader_bytes(&r, PCP_NONCE_LEN);
	out->map.protocol = (enum pcp_protocol)reader_u8(&r);
	(void)reader_bytes(&r, 3);
	out->map.inner_port = reader_u16be(&r);
	out->map.outer_port = reader_u16be(&r);
	ip = reader_bytes(&r, PCP_IP_LEN);
	if (!reader_ok(&r))
		return err_set(err, ERR_PROTOCOL, "not an answer to MAP");
	memcpy(out->map.nonce, nonce.ptr, PCP_NONCE_LEN);
	memcpy(out->map.outer_ip, ip.ptr, PCP_IP_LEN);
	return 0;
}

bool
pcp_is_answer(const struct pcp_answer *answer, const struct pcp_map *request)
{
	return answer->map.protocol == request->protocol &&
	       answer->map.inner_port == request->inner_port &&
	       memcmp(answer->map.nonce, request->nonce, PCP_NONCE_LEN) == 0;
}

bool
pcp_decode_announce(uint32_t *epoch_s, struct slice in)
{
	struct pcp_answer answer;
	struct reader r;
	uint8_t version, op;
	uint16_t result;

	reader_init(&r, in);
	if (in.len >= PCP_HEADER_LEN &&
	    pcp_decode_header(&r, &answer, PCP_ANNOUNCE, in, NULL) == 0) {
		*epoch_s = answer.epoch_s;
		return answer.result == PCP_SUCCESS;
	}
	reader_init(&r, in);
	version = reader_u8(&r);
	op = reader_u8(&r);
	result = reader_u16be(&r);
	*epoch_s = reader_u32be(&r);
	return in.len == NATPMP_ADDRESS_LEN && reader_ok(&r) &&
	       version == NATPMP_VERSION && op == PCP_RESPONSE && result == 0;
}
