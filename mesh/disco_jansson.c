/*
 * The discovery server's JSON, both ways; see disco.h.
 */
#include <jansson.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "mesh/announce.h"
#include "mesh/disco.h"

/* The next of some texts, without its NUL. */
static bool
disco_next(struct slice *texts, struct slice *out)
{
	const size_t n = slice_find(*texts, 0);

	if (n == SIZE_MAX)
		return false;
	*out = slice_to(*texts, n);
	*texts = slice_from(*texts, n + 1);
	return true;
}

static bool
disco_has(struct slice texts, struct slice text)
{
	struct slice at;

	while (disco_next(&texts, &at))
		if (slice_equal(at, text))
			return true;
	return false;
}

static void
disco_add(const json_t *item, const struct addr *from, struct buf *out,
    unsigned *count)
{
	const char *given = json_string_value(item);
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	if (given == NULL || *count == DISCO_ADDRESSES ||
	    json_string_length(item) >= ADDR_TEXT_MAX ||
	    !announce_judge(&addr, slice_str(given), from) ||
	    addr_is_link_local(&addr))
		return;
	addr_text(&addr, text);
	if (out->len + strlen(text) + 1 > LIMIT_DISCO_LEN ||
	    disco_has(buf_slice(out), slice_str(text)))
		return;
	buf_put(out, slice_of(text, strlen(text) + 1));
	(*count)++;
}

int
disco_decode(struct slice body, const struct addr *from, struct buf *out,
    struct err *err)
{
	const json_t *list, *item;
	unsigned count = 0;
	json_error_t why;
	json_t *top;
	size_t i;

	if (body.len > LIMIT_DISCO_BODY)
		return err_set(err, ERR_LIMIT, "announcement: too long");
	/* jansson stops at a depth of 2048 by itself. */
	top = json_loadb((const char *)body.ptr, body.len, 0, &why);
	list = json_object_get(top, "addresses");
	if (!json_is_array(list)) {
		json_decref(top);
		return err_set(err, ERR_PROTOCOL, "announcement: no addresses");
	}
	json_array_foreach(list, i, item)
		disco_add(item, from, out, &count);
	json_decref(top);
	return 0;
}

bool
disco_encode(struct slice texts, int64_t seen_wall_ns, bool near,
    struct buf *out)
{
	json_t *top, *list = json_array();
	struct slice text;
	struct addr addr;
	char seen[32];
	size_t len;

	while (disco_next(&texts, &text))
		if (near || (addr_parse(&addr, text, NULL) == 0 &&
				!addr_is_loopback(&addr)))
			json_array_append_new(list,
			    json_stringn((const char *)text.ptr, text.len));
	if (json_array_size(list) == 0) {
		json_decref(list);
		return false;
	}
	clock_rfc3339(seen_wall_ns, seen);
	top = json_object();
	json_object_set_new(top, "addresses", list);
	json_object_set_new(top, "seen", json_string(seen));
	len = json_dumpb(top, NULL, 0, JSON_COMPACT);
	ASSERT(len > 0);
	len = json_dumpb(top, (char *)buf_extend(out, len), len, JSON_COMPACT);
	ASSERT(len > 0);
	json_decref(top);
	return true;
}
