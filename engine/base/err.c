/*
 * Errors: filling, wrapping, and what an errno means to us.
 */
#include "engine/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"

/*
 * Texts end up in logs and JSON; a text cut in the middle of a UTF-8 sequence
 * would make both invalid.  Takes back what was begun at the end of `text`.
 */
static void
err_trim(char *text, size_t len)
{
	size_t at = len;
	size_t need;
	unsigned char lead;

	while (at > 0 && len - at < 3 &&
	       ((unsigned char)text[at - 1] & 0xc0) == 0x80)
		at--;
	if (at == 0)
		return;
	lead = (unsigned char)text[at - 1];
	need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	if (need > len - at + 1)
		text[at - 1] = '\0';
}

/* Format into `text`; returns the length it has now. */
static size_t err_format(char *text, size_t cap, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

static size_t
err_format(char *text, size_t cap, const char *fmt, va_list ap)
{
	int n = vsnprintf(text, cap, fmt, ap);

	if (n < 0) {
		text[0] = '\0';
		return 0;
	}
	if ((size_t)n < cap)
		return (size_t)n;
	err_trim(text, cap - 1);
	return strlen(text);
}

int
err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	ASSERT(code < 0);
	if (err == NULL)
		return code;
	err->code = code;
	err->sys = 0;
	va_start(ap, fmt);
	err_format(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

int
err_sys(struct err *err, int errnum, const char *fmt, ...)
{
	const enum err_code code = err_from_errno(errnum);
	va_list ap;
	size_t len;
	int n;

	if (err == NULL)
		return code;
	err->code = code;
	err->sys = errnum;
	va_start(ap, fmt);
	len = err_format(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	n = snprintf(err->text + len, sizeof(err->text) - len, ": %s",
	    strerror(errnum));
	if (n > 0 && (size_t)n >= sizeof(err->text) - len)
		err_trim(err->text, sizeof(err->text) - 1);
	return code;
}

void
err_wrap(struct err *err, const char *fmt, ...)
{
	char old[ERR_TEXT_MAX];
	va_list ap;
	size_t len;
	int n;

	if (err == NULL)
		return;
	memcpy(old, err->text, sizeof(old));
	va_start(ap, fmt);
	len = err_format(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	n = snprintf(err->text + len, sizeof(err->text) - len, ": %s", old);
	if (n > 0 && (size_t)n >= sizeof(err->text) - len)
		err_trim(err->text, sizeof(err->text) - 1);
}

/*
 * By reaction, not by cause.  Some that may surprise:
 *   EMFILE, ENFILE, ENOMEM   wait; never "the file is missing"
 *   EINVAL, EXDEV            this file system or kernel cannot do that
 *   ELOOP, EISDIR            another kind of thing than we saw: look again
 *   EROFS                    the medium turned read-only: pause, look again
 */
enum err_code
err_from_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
	case ENODATA:
		return ERR_NOT_FOUND;
	case EEXIST:
	case ENOTEMPTY:
		return ERR_EXISTS;
	case ELOOP:
	case EISDIR:
	case ESTALE:
		return ERR_CHANGED;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case EROFS:
		return ERR_READ_ONLY;
	case ENOSPC:
	case EDQUOT:
		return ERR_FULL;
	case EAGAIN:
	case EINTR:
	case EBUSY:
	case ETXTBSY:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
	case ETIMEDOUT:
	case EINPROGRESS:
	case EALREADY:
	case EADDRINUSE:
		return ERR_BUSY;
	case ENAMETOOLONG:
	case EFBIG:
	case E2BIG:
	case EMLINK:
	case EOVERFLOW:
		return ERR_LIMIT;
	case EILSEQ:
	case EADDRNOTAVAIL:
		return ERR_INVALID;
	case EINVAL:
	case EXDEV:
	case ENOSYS:
	case ENOTTY:
	case ENOTSUP:
#if EOPNOTSUPP != ENOTSUP
	case EOPNOTSUPP:
#endif
	case EAFNOSUPPORT:
	case EPROTONOSUPPORT:
		return ERR_UNSUPPORTED;
	case EPIPE:
	case ECONNRESET:
	case ECONNREFUSED:
	case ECONNABORTED:
	case ENOTCONN:
	case ESHUTDOWN:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
	case ENETRESET:
	case ECANCELED:
		return ERR_CLOSED;
	case EPROTO:
	case EBADMSG:
		return ERR_PROTOCOL;
	default:
		return ERR_IO;
	}
}

const char *
err_name(int code)
{
	static const char *const names[] = {
		[-ERR_NOT_FOUND] = "not-found",
		[-ERR_EXISTS] = "exists",
		[-ERR_CHANGED] = "changed",
		[-ERR_CORRUPT] = "corrupt",
		[-ERR_PROTOCOL] = "protocol",
		[-ERR_LIMIT] = "limit",
		[-ERR_DENIED] = "denied",
		[-ERR_FULL] = "full",
		[-ERR_IO] = "io",
		[-ERR_BUSY] = "busy",
		[-ERR_INVALID] = "invalid",
		[-ERR_UNSUPPORTED] = "unsupported",
		[-ERR_CLOSED] = "closed",
		[-ERR_MISSING_ROOT] = "missing-root",
		[-ERR_READ_ONLY] = "read-only",
	};
	const int count = (int)(sizeof(names) / sizeof(names[0]));

	if (code == 0)
		return "ok";
	if (code > 0 || code <= -count)
		return "unknown";
	return names[-code];
}
