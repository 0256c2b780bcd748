/*
 * Identities: see identity.h.
 *
 * The device number is not compared: it may change over a reboot while nothing
 * else does, and the folder's root is checked for being the right one apart
 * from this (RELIABILITY.md I7).  A directory's size and times change with
 * every name in it, so of a directory only the object itself counts.
 */
#include "engine/identity.h"

bool
identity_same_object(const struct identity *a, const struct identity *b)
{
	if (a->type != b->type)
		return false;
	if (a->type == IDENTITY_ABSENT)
		return true;
	if (a->ino != b->ino)
		return false;
	if (a->type == IDENTITY_DIR)
		return true;
	return a->size == b->size && a->mtime_s == b->mtime_s &&
	       a->mtime_ns == b->mtime_ns;
}

bool
identity_same(const struct identity *a, const struct identity *b)
{
	if (!identity_same_object(a, b))
		return false;
	if (a->type != IDENTITY_FILE && a->type != IDENTITY_LINK)
		return true;
	return a->ctime_s == b->ctime_s && a->ctime_ns == b->ctime_ns;
}
