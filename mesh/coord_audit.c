/*
 * The audit log; see coord_audit.h.
 */
#include "mesh/coord_audit.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"

#define AUDIT_HEX_LEN (2 * DIGEST_LEN)
#define AUDIT_HASH_KEY SLICE_LIT(",\"hash\":\"")
#define AUDIT_PREV_KEY SLICE_LIT(",\"prev\":\"")
/* ,"hash":"..."} */
#define AUDIT_TAIL_LEN (9 + AUDIT_HEX_LEN + 2)
/* ,"prev":"..." before that */
#define AUDIT_PREV_LEN (9 + AUDIT_HEX_LEN + 1)

static void
audit_hex(const uint8_t *bytes, char out[AUDIT_HEX_LEN + 1])
{
	for (size_t i = 0; i < DIGEST_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* What would break out of a string, or a line, does not get in. */
static void
audit_put_text(struct buf *out, const char *key, const char *text)
{
	buf_printf(out, ",\"%s\":\"", key);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			buf_put_u8(out, '\\');
		buf_put_u8(out, (uint8_t)*text < ' ' || *text == 0x7f
				    ? '?'
				    : (uint8_t)*text);
	}
	buf_put_u8(out, '"');
}

void
coord_audit_put(struct coord_audit *at, const struct coord_audit_note *note,
    struct buf *out)
{
	static const struct coord_id nowhere;
	char time[32], actor[DEVID_TEXT_LEN + 1] = "";
	char hex[AUDIT_HEX_LEN + 1] = "";
	const size_t from = out->len;

	clock_rfc3339(note->wall_ns, time);
	if (!devid_is_none(&note->actor))
		devid_text(&note->actor, actor);
	if (memcmp(&note->domain, &nowhere, sizeof(nowhere)) != 0)
		audit_hex(note->domain.b, hex);
	at->n++;
	buf_printf(out, "{\"n\":%llu", (unsigned long long)at->n);
	audit_put_text(out, "time", time);
	audit_put_text(out, "what", note->what);
	audit_put_text(out, "actor", actor);
	audit_put_text(out, "from", note->from);
	audit_put_text(out, "domain", hex);
	audit_put_text(out, "text", note->text);
	audit_hex(at->hash.b, hex);
	audit_put_text(out, "prev", hex);
	digest_of(slice_of(out->ptr + from, out->len - from), &at->hash);
	audit_hex(at->hash.b, hex);
	audit_put_text(out, "hash", hex);
	buf_put(out, SLICE_LIT("}\n"));
}

/* {"n":NUMBER, */
static bool
audit_number(struct slice line, uint64_t *n)
{
	const struct slice key = SLICE_LIT("{\"n\":");
	size_t i = key.len;

	*n = 0;
	if (!slice_has_prefix(line, key))
		return false;
	for (; i < line.len && i < key.len + 18 && line.ptr[i] >= '0' &&
	       line.ptr[i] <= '9';
	     i++)
		*n = *n * 10 + (uint64_t)(line.ptr[i] - '0');
	return i > key.len && i < line.len && line.ptr[i] == ',';
}

/* The 64 digits behind `key` at `from`; empty when they are not there. */
static struct slice
audit_field(struct slice line, size_t from, struct slice key)
{
	const struct slice rest = slice_from(line, from);

	if (!slice_has_prefix(rest, key) ||
	    rest.len < key.len + AUDIT_HEX_LEN + 1)
		return SLICE_EMPTY;
	return slice_to(slice_from(rest, key.len), AUDIT_HEX_LEN);
}

static bool
audit_same(struct slice hex, const struct digest *d)
{
	char text[AUDIT_HEX_LEN + 1];

	audit_hex(d->b, text);
	return slice_equal(hex, slice_str(text));
}

int
coord_audit_check(struct coord_audit *at, struct slice line, struct err *err)
{
	static const struct digest none;
	const bool first = at->n == 0 && digest_equal(&at->hash, &none);
	struct slice body, hash, prev;
	struct digest digest;
	uint64_t n = 0;

	if (line.len < AUDIT_TAIL_LEN + AUDIT_PREV_LEN ||
	    !slice_has_suffix(line, SLICE_LIT("\"}")) ||
	    !audit_number(line, &n))
		return err_set(err, ERR_CORRUPT,
		    "after line %llu: that is no line of an audit log",
		    (unsigned long long)at->n);
	body = slice_to(line, line.len - AUDIT_TAIL_LEN);
	hash = audit_field(line, body.len, AUDIT_HASH_KEY);
	prev = audit_field(body, body.len - AUDIT_PREV_LEN, AUDIT_PREV_KEY);
	digest_of(body, &digest);
	if (!audit_same(hash, &digest))
		return err_set(err, ERR_CORRUPT, "line %llu was changed",
		    (unsigned long long)n);
	if (!first && (n != at->n + 1 || !audit_same(prev, &at->hash)))
		return err_set(err, ERR_CORRUPT,
		    "line %llu does not follow line %llu: lines are missing",
		    (unsigned long long)n, (unsigned long long)at->n);
	if (first && n == 1 && !audit_same(prev, &none))
		return err_set(err, ERR_CORRUPT, "line 1 is not the first");
	at->n = n;
	at->hash = digest;
	return 0;
}

size_t
coord_audit_whole(struct slice log)
{
	const size_t last = slice_rfind(log, '\n');

	return last == SIZE_MAX ? 0 : last + 1;
}
