/*
 * Device IDs: SHA-256 of a device's certificate (DER), and their text form.
 *
 * 52 base32 characters in four groups of 13, each with a check character, in
 * eight chunks of seven.  BEP-FACTS.md 1.2 (the check is not textbook Luhn).
 * A device ID is a value; the all-zero ID means "none" and is never sent.
 */
#ifndef HOLDFAST_BLOCKPROTO_DEVID_H
#define HOLDFAST_BLOCKPROTO_DEVID_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/slice.h"

#define DEVID_LEN 32
#define DEVID_TEXT_LEN 63      /* without NUL */
#define DEVID_SHORT_TEXT_LEN 7 /* without NUL */

struct devid {
	uint8_t b[DEVID_LEN];
};

/* First 8 bytes, big-endian: names a device in version vectors. */
uint64_t devid_short(const struct devid *id);
bool devid_equal(const struct devid *a, const struct devid *b);
int devid_cmp(const struct devid *a, const struct devid *b);
bool devid_is_none(const struct devid *id);
/* Exactly 32 bytes that are not all zero; ERR_PROTOCOL otherwise. */
int devid_from_bytes(struct devid *out, struct slice raw, struct err *err);
/* Text form, canonical; NUL-terminated. */
void devid_text(const struct devid *id, char out[DEVID_TEXT_LEN + 1]);
/* The first seven characters of the text: what people see in file names. */
void devid_short_text(uint64_t short_id, char out[DEVID_SHORT_TEXT_LEN + 1]);
/*
 * From what a person typed: case, dashes and spaces do not matter, 0 1 8 are
 * read as O I B, 52 characters without check characters are accepted.
 * ERR_INVALID says which group is wrong.
 */
int devid_parse(struct devid *out, struct slice text, struct err *err);

#endif
