/*
 * NAT-PMP (RFC 6886), by libnatpmp; see router.h.
 */
#include "mesh/router.h"

#include <poll.h>
#include <string.h>
#include <sys/time.h>

#include <natpmp.h>

#define ROUTER_NATPMP_TRIES 3 /* the library's nine take a minute */

/* Wait for the answer to what was sent; 0 or a code of the library. */
static int
router_natpmp_wait(natpmp_t *n, natpmpresp_t *answer)
{
	int rc = NATPMP_TRYAGAIN;

	while (rc == NATPMP_TRYAGAIN && n->try_number <= ROUTER_NATPMP_TRIES) {
		struct pollfd p = { .fd = n->s, .events = POLLIN };
		struct timeval wait;
		long ms = 0;

		if (getnatpmprequesttimeout(n, &wait) == 0)
			ms = wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1;
		(void)poll(&p, 1, ms > 0 ? (int)ms : 0);
		rc = readnatpmpresponseorretry(n, answer);
	}
	return rc;
}

static void
router_natpmp_failed(int rc, struct portmap_answer *out)
{
	switch (rc) {
	case NATPMP_ERR_NOTAUTHORIZED:
	case NATPMP_ERR_NETWORKFAILURE:
	case NATPMP_ERR_OUTOFRESOURCES:
	case NATPMP_ERR_UNDEFINEDERROR:
		router_say(out, PORTMAP_REFUSED,
		    "NAT-PMP: the router refused, with code %d", rc);
		break;
	default:
		router_say(out, PORTMAP_NO_ANSWER,
		    "the router speaks no NAT-PMP");
	}
}

static void
router_natpmp_map(natpmp_t *n, const struct portmap_ask *ask,
    struct portmap_answer *out)
{
	const int protocol = ask->port.scheme == ADDR_TCP ? NATPMP_PROTOCOL_TCP
							  : NATPMP_PROTOCOL_UDP;
	const int type = ask->port.scheme == ADDR_TCP
			     ? NATPMP_RESPTYPE_TCPPORTMAPPING
			     : NATPMP_RESPTYPE_UDPPORTMAPPING;
	natpmpresp_t answer;
	int rc;

	memset(&answer, 0, sizeof(answer));
	/* To take it away both are 0 (3.4). */
	rc = sendnewportmappingrequest(n, protocol, ask->port.inner,
	    ask->remove ? 0 : ask->outer, ask->remove ? 0 : ask->lease_s);
	if (rc >= 0)
		rc = router_natpmp_wait(n, &answer);
	if (rc == 0 &&
	    (answer.type != type ||
		answer.pnu.newportmapping.privateport != ask->port.inner))
		rc = NATPMP_ERR_UNDEFINEDERROR;
	if (rc != 0) {
		router_natpmp_failed(rc, out);
		return;
	}
	out->code = PORTMAP_GRANTED;
	out->has_epoch = true;
	out->epoch_s = answer.epoch;
	out->outer.port = answer.pnu.newportmapping.mappedpublicport;
	out->lease_s = answer.pnu.newportmapping.lifetime;
	if (!ask->remove && (out->lease_s == 0 || out->outer.port == 0))
		router_say(out, PORTMAP_REFUSED,
		    "NAT-PMP: granted for no time");
}

static void
router_natpmp_address(natpmp_t *n, struct portmap_answer *out)
{
	natpmpresp_t answer;
	int rc;

	memset(&answer, 0, sizeof(answer));
	rc = sendpublicaddressrequest(n);
	if (rc >= 0)
		rc = router_natpmp_wait(n, &answer);
	if (rc == 0 && answer.type != NATPMP_RESPTYPE_PUBLICADDRESS)
		rc = NATPMP_ERR_UNDEFINEDERROR;
	if (rc != 0) {
		router_natpmp_failed(rc, out);
		return;
	}
	out->outer.host = ADDR_IP4;
	memcpy(out->outer.ip, &answer.pnu.publicaddress.addr, 4);
}

void
router_natpmp_ask(const struct portmap_ask *ask,
    const struct router_where *where, struct portmap_answer *out)
{
	in_addr_t router;
	natpmp_t n;

	memcpy(&router, where->router, 4);
	if (initnatpmp(&n, 1, router) != 0) {
		router_say(out, PORTMAP_NO_ANSWER, "NAT-PMP: no socket");
		return;
	}
	router_natpmp_map(&n, ask, out);
	if (out->code == PORTMAP_GRANTED && !ask->remove)
		router_natpmp_address(&n, out);
	closenatpmp(&n);
}
