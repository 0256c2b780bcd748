/*
 * Entries of a membership log, for tests: keys, owners and devices by a digit
 * or a letter, and signing.
 *
 * What is made lives in `ar`, which the test begins and ends.
 */
#ifndef HOLDFAST_TESTS_TESTMEMBERS_H
#define HOLDFAST_TESTS_TESTMEMBERS_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "mesh/members_entry.h"

static struct arena ar;

static inline struct sign_secret
key_of(int n)
{
	const struct sign_secret k = { { (uint8_t)n, 7 } };

	return k;
}

static inline struct sign_public
public_of(int n)
{
	const struct sign_secret k = key_of(n);
	struct sign_public out;

	sign_public_of(&k, &out);
	return out;
}

static inline struct devid
dev(char letter)
{
	const struct devid id = { { (uint8_t)letter, 1 } };

	return id;
}

/* `need` of the owners of these digits must sign from then on. */
static inline void
owners(struct members_entry *e, uint32_t need, const char *digits)
{
	e->need = need;
	e->owner_count = 0;
	for (; *digits != '\0'; digits++)
		e->owner[e->owner_count++] = public_of(*digits - '0');
}

/* The entry's bytes, signed by these. */
static inline struct slice
sealed_by(const struct members_entry *e, const struct sign_secret *key,
    size_t keys)
{
	struct buf body = { 0 }, out = { 0 };
	struct slice s;

	members_entry_body(e, &body);
	members_entry_sign(buf_slice(&body), key, keys, &out);
	s = arena_dup(&ar, buf_slice(&out));
	buf_fini(&body);
	buf_fini(&out);
	return s;
}

/* The same, by the owners of these digits. */
static inline struct slice
sealed(const struct members_entry *e, const char *digits)
{
	struct sign_secret key[MEMBERS_OWNERS_MAX];
	size_t n = 0;

	for (; *digits != '\0'; digits++)
		key[n++] = key_of(*digits - '0');
	return sealed_by(e, key, n);
}

#endif
