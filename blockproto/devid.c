/*
 * Device IDs and their text: see devid.h.
 *
 * Text is base32 without padding, 52 characters, in four groups of 13 with a
 * check character each, printed as eight chunks of seven.
 */
#include "blockproto/devid.h"

#define DEVID_DIGITS 52u     /* base32 characters of 32 bytes */
#define DEVID_GROUP 13u      /* of them, in one checked group */
#define DEVID_GROUPS 4u      /* groups */
#define DEVID_CHUNK 7u       /* characters between two dashes */
#define DEVID_WITH_CHECK 56u /* base32 and check characters */
#define DEVID_TYPED_MAX 256u /* what a person may have typed around it */
#define DEVID_NOT_A_DIGIT 32u

static const char devid_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

uint64_t
devid_short(const struct devid *id)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | id->b[i];
	return v;
}

bool
devid_equal(const struct devid *a, const struct devid *b)
{
	return memcmp(a->b, b->b, DEVID_LEN) == 0;
}

int
devid_cmp(const struct devid *a, const struct devid *b)
{
	return memcmp(a->b, b->b, DEVID_LEN);
}

bool
devid_is_none(const struct devid *id)
{
	static const struct devid none;

	return devid_equal(id, &none);
}

int
devid_from_bytes(struct devid *out, struct slice raw, struct err *err)
{
	if (raw.len != DEVID_LEN)
		return err_set(err, ERR_PROTOCOL,
		    "a device ID of %zu bytes, not %d", raw.len, DEVID_LEN);
	memcpy(out->b, raw.ptr, DEVID_LEN);
	if (devid_is_none(out))
		return err_set(err, ERR_PROTOCOL, "a device ID of zeroes");
	return 0;
}

/* Five bits at a time, most significant first; values 0 ... 31. */
static void
digits_from_bytes(const uint8_t *raw, uint8_t *digit, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const unsigned bit = i * 5;
		const unsigned at = bit / 8;
		const unsigned lo = at + 1 < DEVID_LEN ? raw[at + 1] : 0u;
		const unsigned two = (unsigned)raw[at] << 8 | lo;

		digit[i] = (uint8_t)(two >> (11 - bit % 8) & 31);
	}
}

/* False when the padding bits behind the last byte are not zero. */
static bool
digits_to_bytes(const uint8_t *digit, uint8_t raw[DEVID_LEN])
{
	memset(raw, 0, DEVID_LEN);
	for (unsigned i = 0; i < DEVID_DIGITS; i++) {
		const unsigned bit = i * 5;
		const unsigned at = bit / 8;
		const unsigned two = (unsigned)digit[i] << (11 - bit % 8);

		raw[at] = (uint8_t)(raw[at] | two >> 8);
		if (at + 1 < DEVID_LEN)
			raw[at + 1] = (uint8_t)(raw[at + 1] | (two & 255));
		else if ((two & 255) != 0)
			return false;
	}
	return true;
}

/*
 * The check character of one group.  As Syncthing does it, which is not the
 * textbook's Luhn: from the left, and the first factor is 1.
 */
static uint8_t
check_digit(const uint8_t *group)
{
	unsigned factor = 1;
	unsigned sum = 0;

	for (unsigned i = 0; i < DEVID_GROUP; i++) {
		const unsigned add = factor * group[i];

		sum += add / 32 + add % 32;
		factor = 3 - factor;
	}
	return (uint8_t)((32 - sum % 32) % 32);
}

void
devid_text(const struct devid *id, char out[DEVID_TEXT_LEN + 1])
{
	uint8_t digit[DEVID_DIGITS];
	size_t n = 0;

	if (devid_is_none(id)) {
		out[0] = '\0';
		return;
	}
	digits_from_bytes(id->b, digit, DEVID_DIGITS);
	for (unsigned i = 0; i < DEVID_WITH_CHECK; i++) {
		const unsigned group = i / (DEVID_GROUP + 1);
		const unsigned at = i % (DEVID_GROUP + 1);
		const uint8_t *first = digit + group * DEVID_GROUP;

		if (i > 0 && i % DEVID_CHUNK == 0)
			out[n++] = '-';
		out[n++] =
		    devid_alphabet[at < DEVID_GROUP ? first[at]
						    : check_digit(first)];
	}
	out[n] = '\0';
}

void
devid_short_text(uint64_t short_id, char out[DEVID_SHORT_TEXT_LEN + 1])
{
	uint8_t raw[DEVID_LEN] = { 0 };
	uint8_t digit[DEVID_SHORT_TEXT_LEN];

	for (unsigned i = 0; i < 8; i++)
		raw[i] = (uint8_t)(short_id >> (56 - 8 * i));
	digits_from_bytes(raw, digit, DEVID_SHORT_TEXT_LEN);
	for (unsigned i = 0; i < DEVID_SHORT_TEXT_LEN; i++)
		out[i] = devid_alphabet[digit[i]];
	out[DEVID_SHORT_TEXT_LEN] = '\0';
}

/* The value of a typed character; DEVID_NOT_A_DIGIT for any other. */
static uint8_t
digit_of(uint8_t c)
{
	if (c >= 'a' && c <= 'z')
		c = (uint8_t)(c - 'a' + 'A');
	switch (c) {
	case '0':
		c = 'O';
		break;
	case '1':
		c = 'I';
		break;
	case '8':
		c = 'B';
		break;
	default:
		break;
	}
	if (c >= 'A' && c <= 'Z')
		return (uint8_t)(c - 'A');
	if (c >= '2' && c <= '7')
		return (uint8_t)(c - '2' + 26);
	return DEVID_NOT_A_DIGIT;
}

/* The digits of what was typed; the count, or ERR_INVALID. */
static int
digits_typed(uint8_t digit[DEVID_WITH_CHECK], struct slice text,
    struct err *err)
{
	int n = 0;

	while (text.len > 0 && text.ptr[text.len - 1] == '=')
		text.len--;
	if (text.len > DEVID_TYPED_MAX)
		return err_set(err, ERR_INVALID,
		    "%zu characters are too many for a device ID", text.len);
	for (size_t i = 0; i < text.len; i++) {
		const uint8_t c = text.ptr[i];
		const uint8_t v = digit_of(c);

		if (c == '-' || c == ' ')
			continue;
		if (v == DEVID_NOT_A_DIGIT)
			return err_set(err, ERR_INVALID,
			    "character %zu (0x%02x) of the device ID is no "
			    "letter and no digit",
			    i + 1, c);
		if (n == (int)DEVID_WITH_CHECK)
			return err_set(err, ERR_INVALID,
			    "the device ID has more than %u characters",
			    DEVID_WITH_CHECK);
		digit[n++] = v;
	}
	return n;
}

int
devid_parse(struct devid *out, struct slice text, struct err *err)
{
	uint8_t typed[DEVID_WITH_CHECK];
	uint8_t digit[DEVID_DIGITS];
	const int n = digits_typed(typed, text, err);

	if (n < 0)
		return n;
	if (n != (int)DEVID_DIGITS && n != (int)DEVID_WITH_CHECK)
		return err_set(err, ERR_INVALID,
		    "a device ID has %u characters, not %d", DEVID_WITH_CHECK,
		    n);
	if (n == (int)DEVID_DIGITS)
		memcpy(digit, typed, DEVID_DIGITS);
	for (unsigned g = 0; n != (int)DEVID_DIGITS && g < DEVID_GROUPS; g++) {
		const uint8_t *group = typed + g * (DEVID_GROUP + 1);

		if (check_digit(group) != group[DEVID_GROUP])
			return err_set(err, ERR_INVALID,
			    "the device ID is mistyped in part %u of 4 "
			    "(characters %u to %u)",
			    g + 1, g * 14 + 1, g * 14 + 14);
		memcpy(digit + g * DEVID_GROUP, group, DEVID_GROUP);
	}
	if (!digits_to_bytes(digit, out->b))
		return err_set(err, ERR_INVALID,
		    "the device ID ends in a character it cannot end in");
	if (devid_is_none(out))
		return err_set(err, ERR_INVALID,
		    "the device ID is all zeroes, which means none");
	return 0;
}
