/* Codes as people see them; see join.h. */
#include <string.h>

#include "engine/base/assert.h"
#include "mesh/join.h"

/* Crockford's base32: no I, L, O, U. */
static const char join_code_digit[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#define JOIN_CODE_CHARS 8 /* of the secret */
#define JOIN_CODE_TYPED_MAX 32

static uint64_t
join_code_number(const struct join_code *code)
{
	uint64_t n = 0;

	for (size_t i = 0; i < JOIN_SECRET_LEN; i++)
		n = n << 8 | code->secret[i];
	return n;
}

void
join_code_text(const struct join_code *code, char out[JOIN_CODE_TEXT_MAX])
{
	const uint64_t n = join_code_number(code);
	struct buf b = { 0 };

	buf_printf(&b, "%u", (unsigned)code->box);
	for (int i = 0; i < JOIN_CODE_CHARS; i++) {
		if (i % 4 == 0)
			buf_put_u8(&b, '-');
		buf_put_u8(&b,
		    (uint8_t)join_code_digit[n >> (35 - 5 * i) & 31]);
	}
	ASSERT(b.len < JOIN_CODE_TEXT_MAX);
	memcpy(out, b.ptr, b.len);
	out[b.len] = '\0';
	buf_fini(&b);
}

void
join_code_link(const struct join_code *code, struct slice at,
    const struct devid *coordinator, struct buf *out)
{
	char text[JOIN_CODE_TEXT_MAX];
	char id[DEVID_TEXT_LEN + 1];

	join_code_text(code, text);
	devid_text(coordinator, id);
	buf_printf(out, JOIN_LINK_SCHEME "%s?at=%.*s&id=%s", text,
	    SLICE_FMT(at), id);
}

/* The value of a digit as it was typed, or -1. */
static int
join_code_value(char c)
{
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c == 'O')
		c = '0';
	if (c == 'I' || c == 'L')
		c = '1';
	at = c == '\0' ? NULL : strchr(join_code_digit, c);
	return at == NULL ? -1 : (int)(at - join_code_digit);
}

static int
join_code_bad(struct err *err)
{
	return err_set(err, ERR_INVALID,
	    "this is no code: it looks like 4271-K7QF-93TM");
}

static int
join_code_parse_short(struct join_code *out, struct slice text, struct err *err)
{
	uint8_t value[JOIN_CODE_TYPED_MAX];
	uint64_t box = 0, secret = 0;
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		const char c = (char)text.ptr[i];
		const int v = join_code_value(c);

		if (c == '-' || c == ' ')
			continue;
		if (v < 0 || n == sizeof(value))
			return join_code_bad(err);
		value[n++] = (uint8_t)v;
	}
	if (n <= JOIN_CODE_CHARS)
		return join_code_bad(err);
	for (size_t i = 0; i < n - JOIN_CODE_CHARS; i++) {
		box = box * 10 + value[i];
		if (value[i] > 9 || box > UINT32_MAX)
			return join_code_bad(err);
	}
	for (size_t i = n - JOIN_CODE_CHARS; i < n; i++)
		secret = secret << 5 | value[i];
	if (box == 0)
		return join_code_bad(err);
	out->box = (uint32_t)box;
	for (size_t i = 0; i < JOIN_SECRET_LEN; i++)
		out->secret[i] = (uint8_t)(secret >> (32 - 8 * i));
	return 0;
}

/* What stands behind "?": at=...&id=... */
static int
join_code_parse_place(struct join_place *out, struct slice rest,
    struct err *err)
{
	while (rest.len > 0) {
		const size_t end = slice_find(rest, '&');
		const struct slice part =
		    end == SIZE_MAX ? rest : slice_to(rest, end);

		if (slice_has_prefix(part, SLICE_LIT("at="))) {
			out->at = slice_from(part, 3);
		} else if (slice_has_prefix(part, SLICE_LIT("id="))) {
			const int rc = devid_parse(&out->coordinator,
			    slice_from(part, 3), err);

			if (rc < 0)
				return rc;
			out->has_coordinator = true;
		}
		rest =
		    end == SIZE_MAX ? SLICE_EMPTY : slice_from(rest, end + 1);
	}
	return 0;
}

int
join_code_parse(struct join_code *out, struct join_place *place,
    struct slice text, struct err *err)
{
	const struct slice scheme = SLICE_LIT(JOIN_LINK_SCHEME);
	size_t mark;

	*out = (struct join_code){ 0 };
	*place = (struct join_place){ 0 };
	if (!slice_has_prefix(text, scheme))
		return join_code_parse_short(out, text, err);
	text = slice_from(text, scheme.len);
	mark = slice_find(text, '?');
	if (mark == SIZE_MAX)
		return join_code_parse_short(out, text, err);
	if (join_code_parse_place(place, slice_from(text, mark + 1), err) < 0)
		return ERR_INVALID;
	return join_code_parse_short(out, slice_to(text, mark), err);
}
