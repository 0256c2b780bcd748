/*
 * The identity of what is at a name on disk, as the planner saw it.
 *
 * Compared again at the instant of every act that replaces, moves or removes:
 * whoever acts on a name passes the identity it planned with, and the door
 * answers ERR_CHANGED when the name now holds something else.
 */
#ifndef HOLDFAST_ENGINE_IDENTITY_H
#define HOLDFAST_ENGINE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

enum identity_type {
	IDENTITY_ABSENT = 0,
	IDENTITY_FILE,
	IDENTITY_DIR,
	IDENTITY_LINK,
	IDENTITY_OTHER, /* FIFO, socket, device: never opened */
};

struct identity { /* a value; all zero is "absent" */
	enum identity_type type;
	uint32_t mode; /* st_mode & 07777 */
	int64_t size;
	int64_t mtime_s;
	int32_t mtime_ns;
	int32_t ctime_ns;
	int64_t ctime_s;
	uint64_t ino;
	uint64_t dev;
};

/* Same object, unchanged: type, inode, size, mtime, ctime (files). */
bool identity_same(const struct identity *a, const struct identity *b);
/*
 * Same object moved: as identity_same(), but ctime may differ, because a
 * rename of the object itself changes it.  Used to recognise local renames.
 */
bool identity_same_object(const struct identity *a, const struct identity *b);

#endif
