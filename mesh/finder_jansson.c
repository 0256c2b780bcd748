/*
 * The finder's JSON, both ways; see finder.h.
 */
#include <jansson.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "mesh/finder.h"

void
finder_encode(const struct finder *f, const struct finder_server *server,
    struct buf *out)
{
	const struct addr *addr;
	json_t *top = json_object();
	json_t *list = json_array();
	char text[ADDR_TEXT_MAX];
	size_t len;

	for (size_t i = 0; (addr = finder_own_at(f, server, i)) != NULL; i++) {
		addr_text(addr, text);
		json_array_append_new(list, json_string(text));
	}
	json_object_set_new(top, "addresses", list);
	len = json_dumpb(top, NULL, 0, JSON_COMPACT);
	ASSERT(len > 0);
	len = json_dumpb(top, (char *)buf_extend(out, len), len, JSON_COMPACT);
	ASSERT(len > 0);
	json_decref(top);
}

static void
finder_take(const json_t *item, bool near, struct addr out[FINDER_ADDRESSES],
    size_t *count)
{
	const char *text = json_string_value(item);
	struct addr addr;

	if (text == NULL || *count == FINDER_ADDRESSES ||
	    json_string_length(item) >= ADDR_TEXT_MAX ||
	    addr_parse(&addr, slice_str(text), NULL) < 0 ||
	    !finder_believes(&addr, near))
		return;
	addr.token[0] = '\0'; /* lets nobody in but who joins */
	for (size_t i = 0; i < *count; i++)
		if (addr_equal(&out[i], &addr))
			return;
	out[(*count)++] = addr;
}

int
finder_decode(struct slice body, bool near, struct addr out[FINDER_ADDRESSES],
    size_t *count, struct err *err)
{
	const json_t *list, *item;
	json_error_t why;
	json_t *top;
	size_t i;

	*count = 0;
	if (body.len > LIMIT_FINDER_LEN)
		return err_set(err, ERR_LIMIT, "the answer is too long");
	/* jansson stops at a depth of 2048 by itself. */
	top = json_loadb((const char *)body.ptr, body.len, 0, &why);
	list = json_object_get(top, "addresses");
	if (list != NULL && !json_is_array(list) && !json_is_null(list))
		list = NULL;
	if (list == NULL) {
		json_decref(top);
		return err_set(err, ERR_PROTOCOL,
		    "the answer is not one of a discovery server");
	}
	json_array_foreach(list, i, item)
		finder_take(item, near, out, count);
	json_decref(top);
	return 0;
}
