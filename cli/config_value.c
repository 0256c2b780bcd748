/*
 * Values of options: from text, with units.
 */
#include "cli/config.h"

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "mesh/addr.h"
#include "mesh/coord.h"
#include "mesh/finder.h"
#include "mesh/stun.h"

static bool
config_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* Unsigned decimal digits at the front; false when none or too many. */
static bool
config_take_digits(struct slice *text, uint64_t *out)
{
	size_t n = 0;

	*out = 0;
	while (n < text->len && config_is_digit(text->ptr[n])) {
		const uint64_t digit = (uint64_t)(text->ptr[n] - '0');

		if (*out > (UINT64_MAX - digit) / 10)
			return false;
		*out = *out * 10 + digit;
		n++;
	}
	*text = slice_from(*text, n);
	return n > 0;
}

/* A unit of time at the front; 0 when it is none. */
static uint64_t
config_take_unit(struct slice *text)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "ms", CLOCK_MS },
		{ "s", CLOCK_S },
		{ "m", CLOCK_MIN },
		{ "min", CLOCK_MIN },
		{ "h", CLOCK_HOUR },
		{ "d", 24 * CLOCK_HOUR },
		{ "w", 7 * 24 * CLOCK_HOUR },
	};
	size_t n = 0;

	while (n < text->len && !config_is_digit(text->ptr[n]))
		n++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (slice_equal(slice_to(*text, n), slice_str(units[i].name))) {
			*text = slice_from(*text, n);
			return units[i].ns;
		}
	}
	return 0;
}

int
config_parse_duration(struct slice text, uint64_t *out_ns, struct err *err)
{
	uint64_t sum = 0;
	bool first = true;

	while (text.len > 0 || first) {
		uint64_t n;
		uint64_t unit;

		if (!config_take_digits(&text, &n))
			goto bad;
		/* A number alone is seconds. */
		unit =
		    text.len == 0 && first ? CLOCK_S : config_take_unit(&text);
		if (unit == 0 || n > (UINT64_MAX - sum) / unit)
			goto bad;
		sum += n * unit;
		first = false;
	}
	*out_ns = sum;
	return 0;
bad:
	return err_set(err, ERR_INVALID,
	    "must be a time such as 90s, 10m, 1h or 7d");
}

int
config_parse_size(struct slice text, int64_t *out, struct err *err)
{
	static const char units[] = "kmgt";
	uint64_t n, unit = 1;

	if (!config_take_digits(&text, &n))
		goto bad;
	if (text.len > 0) {
		const char *at =
		    strchr(units, text.ptr[0] | 0x20); /* lower case */

		if (text.ptr[0] == '\0' || at == NULL)
			goto bad;
		unit = UINT64_C(1024) << 10 * (at - units);
		text = slice_from(text, 1);
	}
	/* "20GiB" and "20GB" are what people write. */
	if (unit > 1 && text.len > 1 && (text.ptr[0] | 0x20) == 'i')
		text = slice_from(text, 1);
	if (text.len == 1 && (text.ptr[0] | 0x20) == 'b')
		text = SLICE_EMPTY;
	if (text.len > 0 || n > INT64_MAX / unit)
		goto bad;
	*out = (int64_t)(n * unit);
	return 0;
bad:
	return err_set(err, ERR_INVALID, "must be a size such as 500M or 20G");
}

int
config_parse_bool(struct slice text, bool *out, struct err *err)
{
	static const char *const yes[] = { "true", "yes", "on", "1" };
	static const char *const no[] = { "false", "no", "off", "0" };

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (slice_equal(text, slice_str(yes[i])) ||
		    slice_equal(text, slice_str(no[i]))) {
			*out = slice_equal(text, slice_str(yes[i]));
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "must be true or false");
}

int
config_parse_int(struct slice text, int64_t min, int64_t max, int64_t *out,
    struct err *err)
{
	const bool minus = text.len > 0 && text.ptr[0] == '-';
	uint64_t n = 0;

	if (minus)
		text = slice_from(text, 1);
	if (!config_take_digits(&text, &n) || text.len > 0 || n > INT64_MAX)
		goto bad;
	*out = minus ? -(int64_t)n : (int64_t)n;
	if (*out >= min && *out <= max)
		return 0;
bad:
	return err_set(err, ERR_INVALID, "must be a number from %lld to %lld",
	    (long long)min, (long long)max);
}

int
config_parse_choice(const char *choices, struct slice text, int *out,
    struct err *err)
{
	const char *at = choices;
	int n = 0;

	while (*at != '\0') {
		const size_t len = strcspn(at, "|");

		if (slice_equal(text, slice_of(at, len))) {
			*out = n;
			return 0;
		}
		at += at[len] == '\0' ? len : len + 1;
		n++;
	}
	return err_set(err, ERR_INVALID, "must be one of %s", choices);
}

/* No control characters, valid UTF-8: fit for screens and for the wire. */
static bool
config_is_clean(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return false;
	return slice_is_utf8(text);
}

int
config_check_text(struct slice text, size_t min, size_t max, struct err *err)
{
	if (text.len < min || text.len > max)
		return err_set(err, ERR_INVALID,
		    "must be a text of %zu to %zu bytes", min, max);
	if (!config_is_clean(text))
		return err_set(err, ERR_INVALID,
		    "must be UTF-8 without control characters");
	return 0;
}

static int
config_check_address(struct slice text, bool listen, struct err *err)
{
	static const char listens[] = "must be tcp://HOST:PORT, "
				      "quic://HOST:PORT (HOST may be left out) "
				      "or relay://HOST:PORT/?id=DEVICE-ID";
	static const char dials[] =
	    "must be tcp://HOST:PORT, quic://HOST:PORT, "
	    "relay://HOST:PORT/?id=DEVICE-ID or "
	    "dynamic";
	struct addr addr;
	int rc;

	rc = addr_parse(&addr, text, err);
	/* Not even the form of one: then what there is, not how it is meant. */
	if (rc < 0 && slice_find(text, '/') == SIZE_MAX)
		return err_set(err, ERR_INVALID, "%s",
		    listen ? listens : dials);
	if (rc < 0)
		return rc;
	if (addr.scheme == ADDR_RELAY && !addr_is_dialable(&addr))
		return err_set(err, ERR_INVALID,
		    "must name a relay: relay://HOST:PORT/?id=DEVICE-ID");
	if (addr.scheme == ADDR_DYNAMIC)
		return listen ? err_set(err, ERR_INVALID, "%s", listens) : 0;
	if (!listen && addr_is_unspecified(&addr))
		return err_set(err, ERR_INVALID,
		    "must name a host: tcp://HOST:PORT, quic://HOST:PORT or "
		    "dynamic");
	return 0;
}

int
config_clean_path(struct slice path, struct slice user_home, struct arena *ar,
    struct slice *out, struct err *err)
{
	struct slice rest = path;
	uint8_t *buf;
	size_t len = 0;

	if (slice_equal(path, SLICE_LIT("~")) ||
	    slice_has_prefix(path, SLICE_LIT("~/")))
		rest = slice_from(path, 1);
	else if (!slice_has_prefix(path, SLICE_LIT("/")))
		return err_set(err, ERR_INVALID,
		    "must be an absolute path, or begin with ~/");
	buf = arena_alloc(ar, user_home.len + path.len + 2);
	if (rest.len < path.len) {
		memcpy(buf, user_home.ptr, user_home.len);
		len = user_home.len;
	}
	while (rest.len > 0) {
		size_t n = slice_find(rest, '/');
		struct slice part =
		    slice_to(rest, n == SIZE_MAX ? rest.len : n);

		rest = slice_from(rest, n == SIZE_MAX ? rest.len : n + 1);
		if (part.len == 0 || slice_equal(part, SLICE_LIT(".")))
			continue;
		if (slice_equal(part, SLICE_LIT("..")))
			return err_set(err, ERR_INVALID,
			    "must not hold \"..\"");
		buf[len++] = '/';
		memcpy(buf + len, part.ptr, part.len);
		len += part.len;
	}
	if (len == 0)
		buf[len++] = '/';
	buf[len] = '\0';
	*out = slice_of(buf, len);
	return 0;
}

bool
config_path_is_within(struct slice path, struct slice dir)
{
	if (dir.len == 1)
		return true; /* "/" holds everything */
	return slice_has_prefix(path, dir) &&
	       (path.len == dir.len || path.ptr[dir.len] == '/');
}

static int
config_check_path(struct slice value, struct err *err)
{
	struct arena ar = { 0 };
	struct slice clean;
	int rc;

	rc = config_clean_path(value, SLICE_LIT("/home"), &ar, &clean, err);
	if (rc == 0 && memchr(value.ptr, '\0', value.len) != NULL)
		rc = err_set(err, ERR_INVALID, "must not hold a NUL byte");
	if (rc == 0 && clean.len == 1)
		rc = err_set(err, ERR_INVALID,
		    "must not be / : choose a directory below it");
	arena_fini(&ar);
	return rc;
}

int
config_check_value(const struct config_option *opt, struct slice value,
    struct err *err)
{
	struct devid id;
	uint64_t ns;
	int64_t n;
	bool on;
	int choice;
	struct finder_server server;
	struct coord_url coordinator;
	struct addr stun;

	switch (opt->type) {
	case CONFIG_TEXT:
		return config_check_text(value, (size_t)opt->min,
		    (size_t)opt->max, err);
	case CONFIG_BOOL:
		return config_parse_bool(value, &on, err);
	case CONFIG_INT:
		return config_parse_int(value, opt->min, opt->max, &n, err);
	case CONFIG_DURATION:
		if (config_parse_duration(value, &ns, err) < 0)
			return ERR_INVALID;
		if (ns / CLOCK_S > (uint64_t)opt->max)
			return err_set(err, ERR_INVALID,
			    "must be at most %lld s", (long long)opt->max);
		return 0;
	case CONFIG_SIZE:
		return config_parse_size(value, &n, err);
	case CONFIG_CHOICE:
		return config_parse_choice(opt->choices, value, &choice, err);
	case CONFIG_DEVID:
		return devid_parse(&id, value, err) < 0 ? ERR_INVALID : 0;
	case CONFIG_ADDRESS:
		return config_check_address(value, false, err);
	case CONFIG_LISTEN:
		return config_check_address(value, true, err);
	case CONFIG_SERVER:
		return finder_parse_server(&server, value, err);
	case CONFIG_COORDINATOR:
		return coord_parse_url(&coordinator, value, err);
	case CONFIG_STUN:
		return stun_parse_server(&stun, value, err);
	case CONFIG_PATH:
		return config_check_path(value, err);
	case CONFIG_DEVICE:
		return config_check_text(value, 1, CONFIG_NAME_MAX, err);
	}
	return 0;
}

const char *
config_source_name(const struct config *cfg, uint32_t i)
{
	if (cfg->device[i].member)
		return "member";
	if (!devid_is_none(&cfg->setup.device[i].introduced_by))
		return "introducer";
	return "config";
}

struct slice
config_next_word(struct slice *text)
{
	size_t len = slice_find(*text, ' ');
	struct slice word;

	if (len == SIZE_MAX)
		len = text->len;
	word = slice_to(*text, len);
	*text = slice_from(*text, len < text->len ? len + 1 : len);
	return word;
}
