/*
 * Errors: a code for the program, a text for the person.
 *
 * A function that can fail returns 0 or one of the negative codes below; each
 * code names a reaction, not a cause.  The text is filled where the failure
 * happens and prefixed on the way up (err_wrap); whoever reacts logs it once.
 * `err` may be NULL when the caller wants the code only.
 */
#ifndef HOLDFAST_BASE_ERR_H
#define HOLDFAST_BASE_ERR_H

#include <stddef.h>

enum err_code {
	ERR_NOT_FOUND = -1, /* not there: a value, often no failure at all */
	ERR_EXISTS = -2,    /* there already: choose another name */
	ERR_CHANGED = -3,   /* not what we saw before: look again */
	ERR_CORRUPT = -4,   /* stored bytes are damaged: stop, rebuild */
	ERR_PROTOCOL = -5,  /* peer broke the protocol: drop it */
	ERR_LIMIT = -6,     /* a named limit was reached: refuse */
	ERR_DENIED = -7,    /* no permission: report, go on elsewhere */
	ERR_FULL = -8,      /* no space or quota: pause, resume by itself */
	ERR_IO = -9,       /* the device failed: discard, report, retry later */
	ERR_BUSY = -10,    /* not now: retry soon */
	ERR_INVALID = -11, /* a person's input is wrong: say what is allowed */
	ERR_UNSUPPORTED = -12,  /* this system cannot: use the fallback */
	ERR_CLOSED = -13,       /* the other end is gone */
	ERR_MISSING_ROOT = -14, /* the folder is not there: halt it */
	ERR_READ_ONLY = -15 /* the disk takes no writes: pause, look again */
};

#define ERR_TEXT_MAX 480

/* A value; owns nothing.  Zero is "no error". */
struct err {
	int code; /* 0 or an enum err_code */
	int sys;  /* errno where there was one, else 0 */
	char text[ERR_TEXT_MAX];
};

/* Fill `err` (may be NULL) and return `code`, so that it can be returned. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same from errno: translates it to a code, appends strerror's text. */
int err_sys(struct err *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "prefix: " in front of the text; keeps the code. */
void err_wrap(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The code an errno stands for; never 0. */
enum err_code err_from_errno(int errnum);

/* "not-found", "changed", ...: stable, for logs and JSON. */
const char *err_name(int code);

#endif
