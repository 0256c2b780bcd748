/* The private address that a device keeps; see fixedaddr.h. */
#include "mesh/fixedaddr.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/digest.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "mesh/addr.h"
#include "mesh/members_entry.h"

/* All numbers of 100.64.0.0/10 but the first and the last. */
#define FIXEDADDR_V4_NET UINT32_C(0x64400000)
#define FIXEDADDR_V4_COUNT ((UINT32_C(1) << 22) - 2)

static const char fixedaddr_label[] = "holdfast fixed address";
/* Behind fd (RFC 4193) the first 40 bits of SHA-256 of the label. */
static const uint8_t fixedaddr_v6_net[6] = { 0xfd, 0x6b, 0xe6, 0xd7, 0xf1,
	0xd6 };

/* Numbers are kept with one added: no value of a map is NULL. */
struct fixedaddr_book {
	struct map number; /* devid -> its number of IPv4 */
	struct umap taken; /* number -> anything; none is ever given back */
};

/* Of the label, a zero byte, the ID. */
static void
fixedaddr_digest(const struct devid *id, struct digest *out)
{
	struct digest_state st;

	digest_init(&st);
	digest_add(&st, slice_of(fixedaddr_label, sizeof(fixedaddr_label)));
	digest_add(&st, slice_of(id->b, sizeof(id->b)));
	digest_fini(&st, out);
}

/* Which number the digest says, from 0. */
static uint32_t
fixedaddr_number(const struct digest *d)
{
	const uint32_t n = (uint32_t)d->b[0] << 24 | (uint32_t)d->b[1] << 16 |
			   (uint32_t)d->b[2] << 8 | d->b[3];

	return n % FIXEDADDR_V4_COUNT;
}

static struct slice
fixedaddr_key(const struct devid *id)
{
	return slice_of(id->b, sizeof(id->b));
}

/* The number of its digest, or the next that nobody ever had. */
static void
fixedaddr_book_add(struct fixedaddr_book *book, const struct devid *id)
{
	struct digest d;
	uint32_t n;

	if (map_find(&book->number, fixedaddr_key(id)) != NULL ||
	    umap_count(&book->taken) == FIXEDADDR_V4_COUNT)
		return;
	fixedaddr_digest(id, &d);
	n = fixedaddr_number(&d);
	while (umap_find(&book->taken, n) != NULL)
		n = (n + 1) % FIXEDADDR_V4_COUNT;
	umap_put(&book->taken, n, book);
	map_put(&book->number, fixedaddr_key(id), (void *)((uintptr_t)n + 1));
}

/* Its number goes to its new ID. */
static void
fixedaddr_book_rotate(struct fixedaddr_book *book, const struct devid *from,
    const struct devid *to)
{
	void *n = map_remove(&book->number, fixedaddr_key(from));

	if (n != NULL)
		map_put(&book->number, fixedaddr_key(to), n);
}

struct fixedaddr_book *
fixedaddr_book_new(const struct members *ms)
{
	struct fixedaddr_book *book = mem_zalloc(sizeof(*book));

	map_init(&book->number);
	umap_init(&book->taken);
	for (uint64_t seq = 1; seq <= members_seq(ms); seq++) {
		struct members_entry e;

		if (members_entry_decode(&e, members_entry(ms, seq), NULL) < 0)
			continue;
		if (e.kind == MEMBERS_ADD)
			fixedaddr_book_add(book, &e.device);
		else if (e.kind == MEMBERS_ROTATE)
			fixedaddr_book_rotate(book, &e.device, &e.other);
	}
	return book;
}

void
fixedaddr_book_free(struct fixedaddr_book *book)
{
	if (book == NULL)
		return;
	map_fini(&book->number);
	umap_fini(&book->taken);
	mem_free(book);
}

void
fixedaddr_of(const struct fixedaddr_book *book, const struct devid *id,
    struct fixedaddr *out)
{
	const void *given =
	    book != NULL ? map_find(&book->number, fixedaddr_key(id)) : NULL;
	struct digest d;
	uint32_t v4;

	fixedaddr_digest(id, &d);
	v4 = given != NULL ? (uint32_t)((uintptr_t)given - 1)
			   : fixedaddr_number(&d);
	v4 += FIXEDADDR_V4_NET + 1;
	for (int i = 0; i < 4; i++)
		out->v4[i] = (uint8_t)(v4 >> (24 - 8 * i));
	memcpy(out->v6, fixedaddr_v6_net, sizeof(fixedaddr_v6_net));
	memcpy(out->v6 + sizeof(fixedaddr_v6_net), d.b + 4,
	    sizeof(out->v6) - sizeof(fixedaddr_v6_net));
}

/* --- text ---------------------------------------------------------------- */

/* By addr.h, which knows how an address is written: "tcp://IP:1". */
static void
fixedaddr_put(enum addr_host host, const uint8_t *ip, size_t len,
    char out[FIXEDADDR_TEXT_MAX])
{
	struct addr a = { .scheme = ADDR_TCP, .host = host, .port = 1 };
	char text[ADDR_TEXT_MAX];
	const bool six = host == ADDR_IP6;
	size_t n;

	memcpy(a.ip, ip, len);
	addr_text_host(&a, text);
	/* "[fd6b::1]:1", "100.64.0.1:1" */
	n = strlen(text) - (six ? 4 : 2);
	ASSERT(n < FIXEDADDR_TEXT_MAX);
	memcpy(out, text + (six ? 1 : 0), n);
	out[n] = '\0';
}

void
fixedaddr_print(const struct fixedaddr *a, struct fixedaddr_text *out)
{
	fixedaddr_put(ADDR_IP4, a->v4, sizeof(a->v4), out->v4);
	fixedaddr_put(ADDR_IP6, a->v6, sizeof(a->v6), out->v6);
}

bool
fixedaddr_is(const struct fixedaddr *a, struct slice text)
{
	const bool six = slice_find(text, ':') != SIZE_MAX;
	char url[FIXEDADDR_TEXT_MAX + 16];
	struct addr at;
	size_t n = 0;

	if (text.len == 0 || text.len >= FIXEDADDR_TEXT_MAX ||
	    (six && text.ptr[0] == '['))
		return false;
	memcpy(url, six ? "tcp://[" : "tcp://", six ? 7 : 6);
	n = six ? 7 : 6;
	memcpy(url + n, text.ptr, text.len);
	n += text.len;
	memcpy(url + n, six ? "]:1" : ":1", six ? 3 : 2);
	n += six ? 3 : 2;
	if (addr_parse(&at, slice_of(url, n), NULL) < 0)
		return false;
	return (at.host == ADDR_IP4 &&
		   memcmp(at.ip, a->v4, sizeof(a->v4)) == 0) ||
	       (at.host == ADDR_IP6 &&
		   memcmp(at.ip, a->v6, sizeof(a->v6)) == 0);
}
