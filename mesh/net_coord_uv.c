/*
 * The net's coordinators; see net_coord_uv.h and link_uv.h.
 */
#include "mesh/net_coord_uv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"
#include "mesh/addr_uv.h"
#include "mesh/coord_cache.h"
#include "mesh/disco.h"
#include "mesh/finder.h"
#include "mesh/link_uv.h"

#define NET_COORD_LOOK_NS (30 * CLOCK_S)    /* have our addresses changed? */
#define NET_COORD_SAVE_NS (500 * CLOCK_MS)  /* several changes, one writing */
#define NET_COORD_AGAIN_NS (20 * CLOCK_MIN) /* before found ways expire */

struct net_line {
	struct net *net;
	struct coord_client *client;
	struct coord_url url;
	bool keep;
};

struct net_hook {
	struct net_coord_hooks to;
	void *arg;
};

struct net_coord {
	struct net *net;
	VEC(struct net_line *) line;
	VEC(struct net_hook) hook;
	bool has_domain;
	struct coord_id domain;
	uint64_t seq;
	uint8_t head[32];
	VEC(struct addr) own; /* where the net listens */
	VEC(struct addr) more[NET_COORD_SOURCES];
	struct coord_cache *cache;
	char *file; /* of the cache; NULL: it is not kept */
	uv_timer_t timer;
	uint64_t look_ns, save_ns, again_ns;
	uint64_t run; /* of this process */
};

static void net_coord_arm(struct net_coord *nc);

/* --- the cache -------------------------------------------------------- */

static void
net_coord_load(struct net_coord *nc)
{
	const int fd = nc->file == NULL
			   ? -1
			   : open(nc->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct buf in = { 0 };
	struct err err = { 0 };
	ssize_t n = 1;

	if (fd < 0)
		return;
	while (n > 0 && in.len <= COORD_CACHE_MAX) {
		buf_reserve(&in, 64 * KIB);
		n = read(fd, in.ptr + in.len, 64 * KIB);
		in.len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (coord_cache_decode(nc->cache, buf_slice(&in), &err) < 0)
		log_warn(nc->net->log, "coord cache file=%s reason=\"%s\"",
		    nc->file, err.text);
	buf_fini(&in);
}

/* A cache: what a power cut takes is heard again. */
static void
net_coord_save(struct net_coord *nc)
{
	char temp[4096];
	struct buf out = { 0 };
	size_t done = 0;
	ssize_t n = 1;
	int fd;

	nc->save_ns = CLOCK_NEVER;
	if (nc->file == NULL || snprintf(temp, sizeof(temp), "%s.new",
				    nc->file) >= (int)sizeof(temp))
		return;
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	    0600);
	if (fd < 0) {
		log_warn(nc->net->log, "coord cache file=%s reason=\"%s\"",
		    temp, strerror(errno));
		return;
	}
	coord_cache_encode(nc->cache, &out);
	while (n > 0 && done < out.len) {
		n = write(fd, out.ptr + done, out.len - done);
		done += n > 0 ? (size_t)n : 0;
	}
	if (close(fd) < 0 || done < out.len || rename(temp, nc->file) < 0)
		(void)unlink(temp);
	buf_fini(&out);
}

/* Ways from the cache to those who are not here. */
static void
net_coord_remember(struct net_coord *nc)
{
	const size_t cap = nc->net->peer.len + 1;
	struct devid *id = mem_array(cap, sizeof(*id));
	const uint64_t now_ns = uv_hrtime();
	struct arena ar = { 0 };
	struct addr *addr;
	size_t count;

	count = mesh_sought(nc->net->mesh, id, cap);
	for (size_t i = 0; i < count; i++) {
		const size_t n =
		    coord_cache_find(nc->cache, &id[i], &addr, &ar);

		for (size_t k = 0; k < n; k++)
			(void)mesh_looked_up(nc->net->mesh, &id[i], &addr[k],
			    now_ns);
		arena_clear(&ar);
	}
	arena_fini(&ar);
	mem_free(id);
	nc->again_ns = now_ns + NET_COORD_AGAIN_NS;
}

/* --- what lines bring ------------------------------------------------- */

#define NET_COORD_CALL(nc, name, ...)                                          \
	for (size_t i_ = 0; i_ < (nc)->hook.len; i_++)                         \
		if ((nc)->hook.item[i_].to.name != NULL)                       \
	(nc)->hook.item[i_].to.name((nc)->hook.item[i_].arg, __VA_ARGS__)

static void
net_coord_on_up(void *arg, const struct coord_message *welcome)
{
	struct net_line *line = arg;

	NET_COORD_CALL(line->net->coord, on_up, line->client, welcome);
}

static void
net_coord_on_down(void *arg, const char *why)
{
	struct net_line *line = arg;

	(void)why; /* it was logged */
	NET_COORD_CALL(line->net->coord, on_down, line->client);
}

static void
net_coord_on_entries(void *arg, uint64_t seq, const struct slice *entry,
    size_t count)
{
	struct net_line *line = arg;

	NET_COORD_CALL(line->net->coord, on_entries, line->client, seq, entry,
	    count);
}

/* Peers alone, and what may be dialled on its word alone. */
static void
net_coord_on_where(void *arg, const struct devid *id, const struct addr *addr,
    size_t count, bool here)
{
	struct net_line *line = arg;
	struct net *net = line->net;
	struct net_coord *nc = net->coord;
	struct addr *good = mem_array(count + 1, sizeof(*good));
	size_t n = 0;

	for (size_t i = 0; i < count && n < MESH_LOOKED_UP; i++)
		if (finder_believes(&addr[i], line->url.near))
			good[n++] = addr[i];
	if (mesh_has(net->mesh, id)) {
		if (coord_cache_put(nc->cache, id, good, n) &&
		    nc->save_ns == CLOCK_NEVER)
			nc->save_ns = uv_hrtime() + NET_COORD_SAVE_NS;
		for (size_t i = 0; i < n; i++)
			(void)mesh_looked_up(net->mesh, id, &good[i],
			    uv_hrtime());
		net_wake(net);
		net_coord_arm(nc);
	}
	NET_COORD_CALL(nc, on_where, line->client, id, good, n, here);
	mem_free(good);
}

static void
net_coord_on_signal(void *arg, const struct devid *from, struct slice body)
{
	struct net_line *line = arg;

	NET_COORD_CALL(line->net->coord, on_signal, line->client, from, body);
}

static void
net_coord_on_box(void *arg, uint32_t box)
{
	struct net_line *line = arg;

	NET_COORD_CALL(line->net->coord, on_box, line->client, box);
}

static void
net_coord_on_mail(void *arg, uint32_t box, uint64_t stranger, struct slice body)
{
	struct net_line *line = arg;

	NET_COORD_CALL(line->net->coord, on_mail, line->client, box, stranger,
	    body);
}

static void
net_coord_on_refused(void *arg, enum coord_type what, enum coord_code code,
    const char *text)
{
	struct net_line *line = arg;

	log_debug(line->net->log, "coord refuse what=%d code=%d text=\"%s\"",
	    (int)what, (int)code, text);
	NET_COORD_CALL(line->net->coord, on_refused, line->client, what, code,
	    text);
}

/* --- what lines are told ---------------------------------------------- */

static void
net_coord_add_own(struct addr *out, size_t *n, const struct addr *a, bool near)
{
	if (*n == COORD_ADDRESSES_MAX || (addr_is_loopback(a) && !near) ||
	    addr_is_link_local(a) || addr_is_multicast(a))
		return;
	for (size_t i = 0; i < *n; i++)
		if (addr_equal(&out[i], a))
			return;
	out[(*n)++] = *a;
}

/* Where we listen "everywhere": that is each address of this machine. */
static void
net_coord_add_hosts(struct addr *out, size_t *n, const struct addr *a,
    const uv_interface_address_t *list, int count)
{
	for (int i = 0; i < count; i++) {
		struct addr ip = { 0 }, at = *a;

		if (list[i].is_internal)
			continue;
		addr_uv_from_sockaddr(&ip,
		    (const struct sockaddr *)(const void *)&list[i].address);
		if ((ip.host == ADDR_IP4 && a->family == ADDR_V6) ||
		    (ip.host == ADDR_IP6 &&
			(a->family == ADDR_V4 || a->host == ADDR_IP4)))
			continue;
		at.family = ADDR_ANY;
		addr_set_host(&at, &ip);
		net_coord_add_own(out, n, &at, false);
	}
}

/* Best first: what does not go into one message is left out. */
static size_t
net_coord_own(const struct net_coord *nc, bool near, struct addr *out)
{
	uv_interface_address_t *list = NULL;
	int count = 0;
	size_t n = 0;

	if (uv_interface_addresses(&list, &count) < 0)
		count = 0;
	for (size_t i = 0; i < nc->own.len; i++)
		if (addr_is_unspecified(&nc->own.item[i]))
			net_coord_add_hosts(out, &n, &nc->own.item[i], list,
			    count);
	for (size_t i = 0; i < nc->own.len; i++)
		net_coord_add_own(out, &n, &nc->own.item[i], near);
	for (size_t s = 0; s < NET_COORD_SOURCES; s++)
		for (size_t i = 0; i < nc->more[s].len; i++)
			net_coord_add_own(out, &n, &nc->more[s].item[i], near);
	if (list != NULL)
		uv_free_interface_addresses(list, count);
	return n;
}

static void
net_coord_tell(struct net_coord *nc)
{
	struct addr *own;

	nc->look_ns = uv_hrtime() + NET_COORD_LOOK_NS;
	if (nc->line.len == 0)
		return;
	own = mem_array(COORD_ADDRESSES_MAX, sizeof(*own));
	for (size_t i = 0; i < nc->line.len; i++)
		coord_client_publish(nc->line.item[i]->client, own,
		    net_coord_own(nc, nc->line.item[i]->url.near, own));
	mem_free(own);
}

static void
net_coord_want(struct net_coord *nc)
{
	const size_t cap = nc->net->peer.len + 1;
	struct devid *id = mem_array(cap, sizeof(*id));
	const size_t count = mesh_dynamic(nc->net->mesh, id, cap);

	for (size_t i = 0; i < nc->line.len; i++)
		coord_client_want(nc->line.item[i]->client, id, count);
	coord_cache_keep(nc->cache, id, count);
	mem_free(id);
}

/* --- lines ------------------------------------------------------------ */

static void
net_coord_line_closed(void *arg)
{
	struct net_line *line = arg;
	struct net *net = line->net;

	mem_free(line);
	net_handle_closed(net);
}

static void
net_coord_dial(struct net_coord *nc, const struct coord_url *url)
{
	static const struct coord_client_callbacks callbacks = {
		.on_up = net_coord_on_up,
		.on_down = net_coord_on_down,
		.on_entries = net_coord_on_entries,
		.on_where = net_coord_on_where,
		.on_signal = net_coord_on_signal,
		.on_box = net_coord_on_box,
		.on_mail = net_coord_on_mail,
		.on_refused = net_coord_on_refused,
	};
	struct net_line *line = mem_zalloc(sizeof(*line));
	struct err err = { 0 };

	line->net = nc->net;
	line->url = *url;
	line->keep = true;
	if (coord_client_open(&line->client, nc->net->loop, nc->net->identity,
		&url->at, devid_is_none(&url->id) ? NULL : &url->id, &callbacks,
		line, nc->net->log, &err) < 0) {
		log_error(nc->net->log, "coord: %s", err.text);
		mem_free(line);
		return;
	}
	nc->net->handles++;
	coord_client_set_run(line->client, nc->run);
	if (nc->has_domain)
		coord_client_set_domain(line->client, &nc->domain, nc->seq,
		    nc->head);
	*VEC_ADD(&nc->line) = line;
}

static void
net_coord_drop(struct net_coord *nc)
{
	for (size_t i = 0; i < nc->line.len;) {
		struct net_line *line = nc->line.item[i];
		struct coord_client_state state;

		if (line->keep) {
			i++;
			continue;
		}
		coord_client_state(line->client, &state);
		VEC_DROP(&nc->line, i);
		if (state.up && !nc->net->closing)
			NET_COORD_CALL(nc, on_down, line->client);
		coord_client_close(line->client, net_coord_line_closed, line);
	}
}

/* One line to each, however often it is named. */
static void
net_coord_keep(struct net_coord *nc, const struct coord_url *url)
{
	for (size_t i = 0; i < nc->line.len; i++) {
		struct net_line *line = nc->line.item[i];

		if (addr_equal(&line->url.at, &url->at) &&
		    devid_equal(&line->url.id, &url->id)) {
			line->keep = true;
			return;
		}
	}
	net_coord_dial(nc, url);
}

/* Our own coordinator, if we are one. */
static bool
net_coord_own_url(const struct net *net, struct coord_url *out)
{
	static const uint8_t v4[] = { 127, 0, 0, 1 };

	if (net->coordd == NULL)
		return false;
	*out = (struct coord_url){ .at = *coordd_bound(net->coordd),
		.id = *identity_devid(net->identity),
		.near = true };
	if (addr_is_unspecified(&out->at) && out->at.family != ADDR_V6) {
		out->at.host = ADDR_IP4;
		memcpy(out->at.ip, v4, sizeof(v4));
	} else if (addr_is_unspecified(&out->at)) {
		out->at.host = ADDR_IP6;
		out->at.ip[15] = 1;
	}
	return true;
}

void
net_coord_configure(struct net_coord *nc, const struct coord_url *url,
    size_t count)
{
	struct coord_url self;
	bool own;

	for (size_t i = 0; i < nc->line.len; i++)
		nc->line.item[i]->keep = false;
	for (size_t k = 0; k < count; k++)
		net_coord_keep(nc, &url[k]);
	own = net_coord_own_url(nc->net, &self);
	if (own) /* as everybody else, over loopback */
		net_coord_keep(nc, &self);
	net_coord_drop(nc);
	net_coord_want(nc);
	if (nc->line.len == 0) /* nobody is to be believed any more */
		coord_cache_keep(nc->cache, NULL, 0);
	net_coord_remember(nc);
	net_coord_arm(nc);
}

void
net_coord_set_own(struct net_coord *nc, const struct addr *addr, size_t count)
{
	VEC_CLEAR(&nc->own);
	for (size_t i = 0; i < count; i++)
		*VEC_ADD(&nc->own) = addr[i];
	net_coord_tell(nc);
	net_coord_arm(nc);
}

void
net_coord_refresh(struct net_coord *nc)
{
	for (size_t i = 0; i < nc->line.len; i++)
		coord_client_refresh(nc->line.item[i]->client);
	net_coord_tell(nc);
	net_coord_remember(nc);
}

/* --- for others ------------------------------------------------------- */

void
net_coord_hook(struct net *net, const struct net_coord_hooks *hooks, void *arg)
{
	*VEC_ADD(&net->coord->hook) = (struct net_hook){ *hooks, arg };
}

struct coord_client *
net_coord_at(const struct net *net, size_t i)
{
	return i < net->coord->line.len ? net->coord->line.item[i]->client
					: NULL;
}

void
net_coord_set_domain(struct net *net, const struct coord_id *domain,
    uint64_t seq, const uint8_t head[32])
{
	struct net_coord *nc = net->coord;

	nc->has_domain = domain != NULL;
	if (domain != NULL) {
		nc->domain = *domain;
		nc->seq = seq;
		memcpy(nc->head, head, sizeof(nc->head));
	}
	for (size_t i = 0; i < nc->line.len; i++)
		coord_client_set_domain(nc->line.item[i]->client, domain, seq,
		    head);
}

void
net_coord_publish(struct net *net, enum net_coord_source source,
    const struct addr *addr, size_t count)
{
	struct net_coord *nc = net->coord;

	VEC_CLEAR(&nc->more[source]);
	for (size_t i = 0; i < count && i < COORD_ADDRESSES_MAX; i++)
		*VEC_ADD(&nc->more[source]) = addr[i];
	net_coord_tell(nc);
}

/* --- our own coordinator ---------------------------------------------- */

/* Who may bring a domain that it does not have; docs/coordinator.md. */
static bool
net_coord_may_found(void *arg, const struct devid *id)
{
	const struct net *net = arg;

	return net->coordd_is_open || mesh_has(net->mesh, id) ||
	       devid_equal(id, identity_devid(net->identity));
}

void
net_coord_unserve(struct net *net)
{
	if (net->coordd != NULL)
		coordd_close(net->coordd, net_handle_closed, net);
	net->coordd = NULL;
}

int
net_coord_serve(struct net *net, const struct net_config *cfg, struct err *err)
{
	struct coordd *next;
	struct addr at;
	int rc;

	net->coordd_is_open = cfg->coord_open;
	if (cfg->coord_listen == NULL) {
		net_coord_unserve(net);
		return 0;
	}
	rc = addr_parse(&at, slice_str(cfg->coord_listen), err);
	if (rc == 0 && at.scheme != ADDR_TCP)
		rc = err_set(err, ERR_INVALID, "must be tcp://HOST:PORT");
	if (rc == 0 && net->coordd != NULL &&
	    addr_equal(&at, &net->coordd_at)) {
		coordd_set_discovery(net->coordd, cfg->coord_discovery);
		return 0;
	}
	/* Two have one directory then, but the old one has no more to say. */
	if (rc == 0)
		rc = coordd_open(&next, net->loop, net->identity, &at,
		    cfg->coord_dir, net_coord_may_found, net, net->log, err);
	if (rc < 0) {
		err_wrap(err, "coordinator");
		return rc;
	}
	net_coord_unserve(net);
	coordd_set_discovery(next, cfg->coord_discovery);
	net->coordd = next;
	net->coordd_at = at;
	net->handles++;
	return 0;
}

/* --- time, opening and closing ---------------------------------------- */

static void
net_coord_on_timer(uv_timer_t *timer)
{
	struct net_coord *nc = timer->data;
	const uint64_t now_ns = uv_hrtime();

	if (nc->look_ns <= now_ns)
		net_coord_tell(nc);
	if (nc->save_ns <= now_ns)
		net_coord_save(nc);
	if (nc->again_ns <= now_ns) {
		net_coord_remember(nc);
		net_wake(nc->net);
	}
	net_coord_arm(nc);
}

/* A net without coordinators does not wake up for them. */
static void
net_coord_arm(struct net_coord *nc)
{
	uint64_t at = nc->save_ns;

	if (nc->net->closing)
		return;
	if (nc->line.len > 0) {
		at = nc->look_ns < at ? nc->look_ns : at;
		at = nc->again_ns < at ? nc->again_ns : at;
	}
	timer_uv_arm(&nc->timer, net_coord_on_timer, at);
}

struct net_coord *
net_coord_new(struct net *net, const char *dir)
{
	struct net_coord *nc = mem_zalloc(sizeof(*nc));

	nc->net = net;
	nc->cache = coord_cache_new();
	if (uv_random(NULL, NULL, &nc->run, sizeof(nc->run), 0, NULL) != 0)
		nc->run = 0;
	if (dir != NULL) {
		const size_t len = strlen(dir) + sizeof("/where");

		nc->file = mem_alloc(len);
		snprintf(nc->file, len, "%s/where", dir);
	}
	uv_timer_init(net->loop, &nc->timer);
	nc->timer.data = nc;
	net->handles++;
	nc->look_ns = nc->save_ns = nc->again_ns = CLOCK_NEVER;
	net_coord_load(nc);
	return nc;
}

static void
net_coord_freed(uv_handle_t *handle)
{
	const struct net_coord *nc = handle->data;

	net_handle_closed(nc->net);
}

void
net_coord_close(struct net_coord *nc)
{
	if (nc->save_ns != CLOCK_NEVER)
		net_coord_save(nc);
	for (size_t i = 0; i < nc->line.len; i++)
		nc->line.item[i]->keep = false;
	net_coord_drop(nc);
	uv_close((uv_handle_t *)&nc->timer, net_coord_freed);
}

void
net_coord_free(struct net_coord *nc)
{
	coord_cache_free(nc->cache);
	VEC_FINI(&nc->line);
	VEC_FINI(&nc->hook);
	VEC_FINI(&nc->own);
	for (size_t s = 0; s < NET_COORD_SOURCES; s++)
		VEC_FINI(&nc->more[s]);
	mem_free(nc->file);
	mem_free(nc);
}

static void
net_coord_status_own(const struct coordd *d, struct net_coordd_status *out,
    struct arena *ar)
{
	const struct coord_server *server = coordd_server(d);
	struct net_coordd_domain_status *domain;
	struct coord_server_domain at;
	struct coord_server_state state;
	struct disco_state disco;
	char text[ADDR_TEXT_MAX];

	coord_server_state(server, &state);
	addr_text(coordd_bound(d), text);
	domain = arena_array(ar, state.domains + 1, sizeof(*domain));
	for (size_t i = 0; coord_server_domain_at(server, i, &at); i++)
		domain[i] = (struct net_coordd_domain_status){ .id = at.id,
			.name = arena_str(ar, slice_str(at.name)),
			.entries = at.entries,
			.members = at.members,
			.here = at.here };
	*out = (struct net_coordd_status){ .serving = true,
		.listen = arena_str(ar, slice_str(text)),
		.stun_port = { coordd_stun(d)[0], coordd_stun(d)[1] },
		.domains = state.domains,
		.members = state.members,
		.strangers = state.strangers,
		.boxes = state.boxes,
		.bytes = state.bytes,
		.domain = domain };
	if (coordd_disco(d) == NULL)
		return;
	disco_state(coordd_disco(d), &disco);
	out->discovery = true;
	out->found_devices = disco.devices;
	out->announced = disco.announced;
	out->found = disco.found;
	out->missed = disco.missed;
	out->refused = disco.refused;
}

void
net_coord_status(const struct net_coord *nc, struct net_status *out,
    struct arena *ar)
{
	struct net_coordinator_status *at =
	    arena_array(ar, nc->line.len + 1, sizeof(*at));
	struct coord_client_state state;
	char text[ADDR_TEXT_MAX];

	if (nc->net->coordd != NULL)
		net_coord_status_own(nc->net->coordd, &out->coordd, ar);
	out->coordinator = at;
	out->coordinator_count = nc->line.len;
	for (size_t i = 0; i < nc->line.len; i++) {
		coord_client_state(nc->line.item[i]->client, &state);
		addr_text(state.at, text);
		at[i] = (struct net_coordinator_status){
			.address = arena_str(ar, slice_str(text)),
			.up = state.up,
			.id = state.id,
			.rtt_ns = state.rtt_ns,
			.bytes_in = state.bytes_in,
			.bytes_out = state.bytes_out,
			.error = arena_str(ar, slice_str(state.why)),
		};
		if (state.cloned)
			out->clone = at[i].address;
	}
}
