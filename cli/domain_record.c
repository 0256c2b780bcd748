/* What is in HOME/domain; see domain_record.h. */
#include "cli/domain_record.h"

#include <string.h>

#include "engine/base/ascii.h"
#include "engine/base/digest.h"
#include "mesh/members_entry.h"

#define DOMAIN_RECORD_SUM 8         /* bytes of a SHA-256 */
#define DOMAIN_KEY_PREFIX "HFR-"    /* secret */
#define DOMAIN_PUBLIC_PREFIX "HFO-" /* as long */

/* --- The log: length u32, seq u64, entry, sum --- */

static void
domain_record_sum(uint64_t seq, struct slice entry,
    uint8_t out[DOMAIN_RECORD_SUM])
{
	struct buf b = { 0 };
	struct digest d;

	buf_put_u64le(&b, seq);
	buf_put(&b, entry);
	digest_of(buf_slice(&b), &d);
	memcpy(out, d.b, DOMAIN_RECORD_SUM);
	buf_fini(&b);
}

void
domain_record_put(uint64_t seq, struct slice entry, struct buf *out)
{
	uint8_t sum[DOMAIN_RECORD_SUM];

	domain_record_sum(seq, entry, sum);
	buf_put_u32le(out, (uint32_t)entry.len);
	buf_put_u64le(out, seq);
	buf_put(out, entry);
	buf_put(out, slice_of(sum, sizeof(sum)));
}

int
domain_record_next(struct slice *rest, uint64_t *seq, struct slice *entry,
    struct err *err)
{
	uint8_t sum[DOMAIN_RECORD_SUM];
	struct reader r;
	struct slice has;
	uint32_t len;

	if (rest->len == 0)
		return 0;
	reader_init(&r, *rest);
	len = reader_u32le(&r);
	*seq = reader_u64le(&r);
	if (!reader_ok(&r) || len > COORD_ENTRY_MAX)
		return err_set(err, ERR_CORRUPT, "an entry is torn");
	*entry = reader_bytes(&r, len);
	has = reader_bytes(&r, DOMAIN_RECORD_SUM);
	if (!reader_ok(&r))
		return err_set(err, ERR_CORRUPT, "an entry is torn");
	domain_record_sum(*seq, *entry, sum);
	if (memcmp(sum, has.ptr, sizeof(sum)) != 0)
		return err_set(err, ERR_CORRUPT, "an entry is damaged");
	*rest = slice_of(r.ptr, r.len);
	return 1;
}

/* --- Texts --- */

static void
domain_record_put_hex(const uint8_t *b, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++)
		buf_printf(out, "%02x", b[i]);
}

static bool
domain_record_hex(struct slice text, uint8_t *out, size_t len)
{
	if (text.len != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		const int hi = ascii_hex(text.ptr[2 * i]);
		const int lo = ascii_hex(text.ptr[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

/* The next part of `text`, up to `end`, which is taken too. */
static struct slice
domain_record_part(struct slice *text, uint8_t end)
{
	const size_t n = slice_find(*text, end);
	const struct slice part = n == SIZE_MAX ? *text : slice_to(*text, n);

	*text = n == SIZE_MAX ? SLICE_EMPTY : slice_from(*text, n + 1);
	return part;
}

static bool
domain_record_number(struct slice text, uint64_t *out)
{
	int64_t n;

	if (config_parse_int(text, 0, INT64_MAX, &n, NULL) < 0)
		return false;
	*out = (uint64_t)n;
	return true;
}

void
domain_record_put_pin(const struct domain_pin *pin, struct buf *out)
{
	domain_record_put_hex(pin->domain.b, sizeof(pin->domain.b), out);
	buf_printf(out, " %llu ", (unsigned long long)pin->seq);
	domain_record_put_hex(pin->head, sizeof(pin->head), out);
	buf_put_u8(out, '\n');
}

int
domain_record_pin(struct domain_pin *out, struct slice text, struct err *err)
{
	struct slice line = domain_record_part(&text, '\n');

	if (!domain_record_hex(domain_record_part(&line, ' '), out->domain.b,
		sizeof(out->domain.b)) ||
	    !domain_record_number(domain_record_part(&line, ' '), &out->seq) ||
	    !domain_record_hex(line, out->head, sizeof(out->head)))
		return err_set(err, ERR_CORRUPT, "the pin is damaged");
	return 0;
}

static const char *const domain_record_kind[] = {
	[CONFIG_MEMBER] = "member",
	[CONFIG_DENIED] = "denied",
	[CONFIG_FORMER] = "former",
	[CONFIG_GONE] = "gone",
	[CONFIG_ROTATED] = "rotated",
};

#define DOMAIN_RECORD_KINDS                                                    \
	(sizeof(domain_record_kind) / sizeof(domain_record_kind[0]))

void
domain_record_put_members(const struct config_member *m, size_t count,
    struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		char id[DEVID_TEXT_LEN + 1] = "-";

		if (m[i].kind != CONFIG_GONE)
			devid_text(&m[i].id, id);
		buf_printf(out, "%s %s %.*s\n", domain_record_kind[m[i].kind],
		    id, SLICE_FMT(m[i].name));
	}
}

static bool
domain_record_member(struct slice line, struct arena *ar,
    struct config_member *out)
{
	const struct slice kind = domain_record_part(&line, ' ');
	const struct slice id = domain_record_part(&line, ' ');
	size_t k = 0;

	while (k < DOMAIN_RECORD_KINDS &&
	       !slice_equal(kind, slice_str(domain_record_kind[k])))
		k++;
	if (k == DOMAIN_RECORD_KINDS || !members_entry_name_is_good(line))
		return false;
	*out = (struct config_member){ .kind = (enum config_member_kind)k };
	if (out->kind != CONFIG_GONE && devid_parse(&out->id, id, NULL) < 0)
		return false;
	out->name = slice_str(arena_str(ar, line));
	return true;
}

size_t
domain_record_members(struct slice text, struct arena *ar,
    const struct config_member **out)
{
	/* No line is shorter than this: "gone - x". */
	struct config_member *list =
	    arena_array(ar, text.len / 8 + 1, sizeof(*list));
	size_t n = 0;

	while (text.len > 0)
		if (domain_record_member(domain_record_part(&text, '\n'), ar,
			&list[n]))
			n++;
	*out = list;
	return n;
}

void
domain_record_put_waiting(const struct domain_waiting *w, size_t count,
    struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		char id[DEVID_TEXT_LEN + 1];

		devid_text(&w[i].who.id, id);
		buf_printf(out, "%lld %s %s\n", (long long)w[i].wall_s, id,
		    w[i].who.name);
	}
}

size_t
domain_record_waiting(struct slice text, struct arena *ar,
    struct domain_waiting **out)
{
	/* No line is shorter than an ID. */
	struct domain_waiting *list =
	    arena_array(ar, text.len / DEVID_TEXT_LEN + 1, sizeof(*list));
	size_t n = 0;

	while (text.len > 0) {
		struct slice line = domain_record_part(&text, '\n');
		struct domain_waiting w = { 0 };
		uint64_t when;

		if (!domain_record_number(domain_record_part(&line, ' '),
			&when) ||
		    devid_parse(&w.who.id, domain_record_part(&line, ' '),
			NULL) < 0 ||
		    !members_entry_name_is_good(line))
			continue;
		w.wall_s = (int64_t)when;
		memcpy(w.who.name, line.ptr, line.len);
		list[n++] = w;
	}
	*out = list;
	return n;
}

/* "SECONDS WRONG approve|join ID CODE" */
void
domain_record_put_invites(const struct domain_invite *in, size_t count,
    struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		char id[DEVID_TEXT_LEN + 1], code[JOIN_CODE_TEXT_MAX];

		devid_text(&in[i].coordinator, id);
		join_code_text(&in[i].code, code);
		buf_printf(out, "%lld %u %s %s %s\n",
		    (long long)in[i].expires_wall_s, in[i].wrong,
		    in[i].approve ? "approve" : "join", id, code);
		sign_wipe(code, sizeof(code));
	}
}

static bool
domain_record_invite(struct slice line, struct domain_invite *out)
{
	uint64_t expires, wrong;
	struct join_place place;
	struct slice how;

	if (!domain_record_number(domain_record_part(&line, ' '), &expires) ||
	    !domain_record_number(domain_record_part(&line, ' '), &wrong) ||
	    wrong >= JOIN_ATTEMPTS)
		return false;
	how = domain_record_part(&line, ' ');
	*out = (struct domain_invite){ .expires_wall_s = (int64_t)expires,
		.wrong = (unsigned)wrong,
		.approve = slice_equal(how, SLICE_LIT("approve")) };
	return (out->approve || slice_equal(how, SLICE_LIT("join"))) &&
	       devid_parse(&out->coordinator, domain_record_part(&line, ' '),
		   NULL) == 0 &&
	       join_code_parse(&out->code, &place, line, NULL) == 0;
}

size_t
domain_record_invites(struct slice text, struct arena *ar,
    struct domain_invite **out)
{
	/* No line is shorter than an ID. */
	struct domain_invite *list =
	    arena_array(ar, text.len / DEVID_TEXT_LEN + 1, sizeof(*list));
	size_t n = 0;

	while (text.len > 0)
		if (domain_record_invite(domain_record_part(&text, '\n'),
			&list[n]))
			n++;
	*out = list;
	return n;
}

static void
domain_record_put_key(const char *prefix, const uint8_t b[DEVID_LEN],
    char out[DOMAIN_KEY_TEXT_MAX])
{
	struct devid as_id;

	memcpy(as_id.b, b, sizeof(as_id.b));
	memcpy(out, prefix, strlen(prefix) + 1);
	devid_text(&as_id, out + strlen(prefix));
	sign_wipe(&as_id, sizeof(as_id));
}

static int
domain_record_take_key(const char *prefix, struct slice text,
    uint8_t out[DEVID_LEN], struct err *err)
{
	struct devid as_id;
	int rc;

	while (text.len > 0 && (text.ptr[text.len - 1] == '\n' ||
				   text.ptr[text.len - 1] == ' '))
		text.len--;
	if (!slice_has_prefix(text, slice_str(prefix)))
		return err_set(err, ERR_INVALID,
		    "this is no key: it begins with %s", prefix);
	rc = devid_parse(&as_id, slice_from(text, strlen(prefix)), NULL);
	if (rc < 0)
		return err_set(err, ERR_INVALID,
		    "this key is not complete, or mistyped");
	memcpy(out, as_id.b, sizeof(as_id.b));
	sign_wipe(&as_id, sizeof(as_id));
	return 0;
}

void
domain_record_key_text(const struct sign_secret *key,
    char out[DOMAIN_KEY_TEXT_MAX])
{
	domain_record_put_key(DOMAIN_KEY_PREFIX, key->b, out);
}

int
domain_record_key(struct sign_secret *out, struct slice text, struct err *err)
{
	return domain_record_take_key(DOMAIN_KEY_PREFIX, text, out->b, err);
}

void
domain_record_public_text(const struct sign_public *key,
    char out[DOMAIN_KEY_TEXT_MAX])
{
	domain_record_put_key(DOMAIN_PUBLIC_PREFIX, key->b, out);
}

int
domain_record_public(struct sign_public *out, struct slice text,
    struct err *err)
{
	return domain_record_take_key(DOMAIN_PUBLIC_PREFIX, text, out->b, err);
}
