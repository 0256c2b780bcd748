/*
 * Requests of HTTP/1.1, the little of it that a server of ours needs: one
 * request a connection, read whole, with a length said beforehand.
 *
 * What RFC 9112 allows and no client of ours sends is refused: bare line feeds,
 * folded lines, bodies in chunks, targets that are not a path.  Nothing here
 * believes a header but Content-Length and Expect; whoever says in another for
 * whom it speaks (X-Forwarded-For) says it in vain.
 *
 * Pure.  Thread: any.
 */
#ifndef HOLDFAST_MESH_HTTP_H
#define HOLDFAST_MESH_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/buf.h"
#include "engine/base/slice.h"

#define HTTP_HEAD_MAX 8192u /* bytes up to the empty line, with it */
#define HTTP_LINES_MAX 64u  /* headers */

enum http_method { HTTP_GET, HTTP_POST, HTTP_OTHER };

/* Slices borrow what was parsed. */
struct http_request {
	enum http_method method;
	struct slice path;  /* begins with '/' */
	struct slice query; /* what follows '?'; empty without */
	struct slice body;
	bool expects; /* it waits for "100 Continue" before the body */
};

enum http_verdict {
	HTTP_MORE, /* not all of it is here; `expects` holds already */
	HTTP_WHOLE,
	HTTP_BAD, /* answer with *status and read no further */
};

/* The request that `in` begins with; its body may have `body_max` bytes. */
enum http_verdict http_parse(struct http_request *out, struct slice in,
    size_t body_max, int *status);
/*
 * The first value of `name` in a query, with %XX and '+' decoded, as text.
 * False when it is not there, or has no room.
 */
bool http_query(struct slice query, struct slice name, char *out, size_t cap);

/* "OK", "Not Found": for those that are said here; "" for others. */
const char *http_reason(int status);
/*
 * An answer after which the connection ends.  `more`: header lines, each with
 * its CRLF; `type` NULL: a text.
 */
void http_put_answer(struct buf *out, int status, const char *more,
    const char *type, struct slice body);

#endif
