/*
 * UPnP IGD, by libminiupnpc; see router.h.
 *
 * Who answers a search on a LAN may be anybody, and what it describes may point
 * anywhere.  Only addresses of the router itself are asked.
 */
#include "mesh/router.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>

#define ROUTER_SEARCH_MS 2000
#define ROUTER_NAME "Holdfast" /* in the router's list of mappings */

enum { /* what AddPortMapping answers, IGD:1 2.4.16 */
	ROUTER_UPNP_CONFLICT = 718,
	ROUTER_UPNP_SAME_PORTS = 724,
	ROUTER_UPNP_NO_LEASES = 725,
};

/* Is `url` of that host, by number? */
static bool
router_upnp_is_at(const char *url, const char *host)
{
	static const char http[] = "http://";
	const size_t len = strlen(host);

	if (url == NULL || strncmp(url, http, sizeof(http) - 1) != 0)
		return false;
	url += sizeof(http) - 1;
	return strncmp(url, host, len) == 0 &&
	       (url[len] == ':' || url[len] == '/' || url[len] == '\0') &&
	       strchr(url, '@') == NULL;
}

static void
router_upnp_search(const char *own, const char *host,
    struct router_memory *memory)
{
	int error = 0;
	struct UPNPDev *list =
	    upnpDiscover(ROUTER_SEARCH_MS, own, "", 0, 0, 2, &error);

	for (const struct UPNPDev *dev = list; dev != NULL; dev = dev->pNext) {
		if (!router_upnp_is_at(dev->descURL, host) ||
		    strlen(dev->descURL) >= sizeof(memory->upnp_url))
			continue;
		snprintf(memory->upnp_url, sizeof(memory->upnp_url), "%s",
		    dev->descURL);
		break;
	}
	freeUPNPDevlist(list);
}

static void
router_upnp_map(const struct UPNPUrls *urls, const struct IGDdatas *data,
    const struct portmap_ask *ask, const char *own, struct portmap_answer *out)
{
	const char *protocol = ask->port.scheme == ADDR_TCP ? "TCP" : "UDP";
	const char *type = data->first.servicetype;
	char inner[8], outer[8], lease[16], ip[64] = "";
	int rc;

	snprintf(inner, sizeof(inner), "%u", ask->port.inner);
	snprintf(outer, sizeof(outer), "%u", ask->outer);
	snprintf(lease, sizeof(lease), "%u", ask->lease_s);
	if (ask->remove) {
		rc = UPNP_DeletePortMapping(urls->controlURL, type, outer,
		    protocol, NULL);
		if (rc == UPNPCOMMAND_SUCCESS)
			out->code = PORTMAP_GRANTED;
		else
			router_say(out, PORTMAP_REFUSED,
			    "UPnP: not removed, code %d", rc);
		return;
	}
	rc = UPNP_AddPortMapping(urls->controlURL, type, outer, inner, own,
	    ROUTER_NAME, protocol, NULL, lease);
	if (rc == ROUTER_UPNP_CONFLICT || rc == ROUTER_UPNP_SAME_PORTS) {
		router_say(out, PORTMAP_TAKEN, "UPnP: port %s is taken", outer);
		return;
	}
	if (rc == ROUTER_UPNP_NO_LEASES) {
		router_say(out, PORTMAP_FOR_EVER, "UPnP: it knows no leases");
		return;
	}
	if (rc == UPNPCOMMAND_SUCCESS)
		rc = UPNP_GetExternalIPAddress(urls->controlURL, type, ip);
	if (rc != UPNPCOMMAND_SUCCESS ||
	    inet_pton(AF_INET, ip, out->outer.ip) != 1) {
		router_say(out, PORTMAP_REFUSED,
		    "UPnP: the router refused, with code %d", rc);
		return;
	}
	out->code = PORTMAP_GRANTED;
	out->outer.host = ADDR_IP4;
	out->outer.port = ask->outer;
	out->lease_s = ask->lease_s;
}

void
router_upnp_ask(const struct portmap_ask *ask, const struct router_where *where,
    struct router_memory *memory, struct portmap_answer *out)
{
	char host[INET_ADDRSTRLEN], own[INET_ADDRSTRLEN], lan[64] = "";
	struct UPNPUrls urls;
	struct IGDdatas data;

	memset(&urls, 0, sizeof(urls));
	memset(&data, 0, sizeof(data));
	inet_ntop(AF_INET, where->router, host, sizeof(host));
	inet_ntop(AF_INET, where->own, own, sizeof(own));
	if (memory->upnp_url[0] == '\0')
		router_upnp_search(own, host, memory);
	if (memory->upnp_url[0] == '\0' ||
	    UPNP_GetIGDFromUrl(memory->upnp_url, &urls, &data, lan,
		sizeof(lan)) != 1) {
		router_say(out, PORTMAP_NO_ANSWER, "the router speaks no UPnP");
		memory->upnp_url[0] = '\0';
		return;
	}
	if (!router_upnp_is_at(urls.controlURL, host) ||
	    data.first.servicetype[0] == '\0')
		router_say(out, PORTMAP_REFUSED,
		    "UPnP: the router wants to be asked elsewhere");
	else
		router_upnp_map(&urls, &data, ask, own, out);
	if (out->code == PORTMAP_REFUSED)
		memory->upnp_url[0] = '\0'; /* it may have a new one */
	FreeUPNPUrls(&urls);
}
