/*
 * Bytes between pairs of descriptors, many pairs at once: syncctl forward.
 *
 * A line is a near end, which somebody connected to us or which is standard
 * input and output, and a far end, a socket to syncd that first answers in
 *HTTP:
 *
 *	HEAD --101--> OPEN --an end of either half--> ... --> over
 *	   \--another answer: over, with its body
 *
 * Each half ends alone, as TCP's do.  Nothing is read that could not be written
 * on: a line holds 2 * CARRY_LEN bytes, and an answer of CARRY_ANSWER_MAX.
 *
 * Blocks in poll() only; writes to what is no socket may wait for their reader.
 */
#ifndef HOLDFAST_CLI_CARRY_POSIX_H
#define HOLDFAST_CLI_CARRY_POSIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/list.h"
#include "engine/base/slice.h"

#define CARRY_LEN 65536u
#define CARRY_ANSWER_MAX 65536u
#define CARRY_LINES_MAX 256u

struct carry_half {
	int from, to;
	bool eof, shut;
	size_t at, len; /* of `data`, what is still to be written */
	uint64_t bytes; /* that went through */
	uint8_t data[CARRY_LEN];
};

struct carry_line {
	struct list_node node;
	uint64_t number; /* the caller's */
	bool open;       /* the head came, and was a 101 */
	bool over;       /* goes at the end of this turn */
	bool far_gone;   /* the far end ended: on_far_end() was asked */
	struct carry_half up, down; /* near to far, far to near */
	struct buf answer;          /* until it is open */
};

struct carry_callbacks {
	/*
	 * Somebody connected.  The far end and *number, or -1: turn away, which
	 * was said.
	 */
	int (*on_guest)(void *arg, uint64_t *number);
	/* It is open; or it is not: HTTP's status and the body, and it is over.
	 */
	void (*on_open)(void *arg, const struct carry_line *line);
	void (*on_refused)(void *arg, const struct carry_line *line,
	    struct slice body);
	/* The far end has no more bytes: is that its end, or did it break? */
	bool (*on_far_end)(void *arg, const struct carry_line *line);
	void (*on_over)(void *arg, const struct carry_line *line, bool well);
	/* Between two turns: false ends carry_run(). */
	bool (*goes_on)(void *arg);
};

struct carry; /* opaque */

struct carry *carry_posix_new(const struct carry_callbacks *callbacks,
    void *arg);
/* Closes everything, listeners too. */
void carry_posix_free(struct carry *c);
/* Takes the listening descriptor. */
void carry_posix_listen(struct carry *c, int fd);
/* A line between standard input and output and `far`, which is taken. */
void carry_posix_stdio(struct carry *c, int far, uint64_t number);
/* Until goes_on() says no, or nothing is left to be done. */
void carry_posix_run(struct carry *c);

#endif
