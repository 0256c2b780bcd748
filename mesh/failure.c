/*
 * Kinds of failure; see failure.h.
 */
#include "mesh/failure.h"

#include <errno.h>

static enum failure
failure_of_system(int errnum)
{
	switch (errnum) {
	case ECONNREFUSED:
		return FAILURE_REFUSED;
	case ETIMEDOUT:
		return FAILURE_TIMEOUT;
	case ECONNRESET:
	case EPIPE:
		return FAILURE_UNWANTED;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
	case EACCES:
	case EPERM:
	case EINVAL:
		return FAILURE_UNREACHABLE;
	default:
		return FAILURE_UNKNOWN;
	}
}

enum failure
failure_of(const struct addr *to, const struct err *err)
{
	if (err->sys != 0)
		return failure_of_system(err->sys);
	switch (err->code) {
	case 0:
		return FAILURE_NONE;
	case ERR_NOT_FOUND:
		return addr_is_relayed(to) ? FAILURE_RELAY : FAILURE_NO_NAME;
	case ERR_BUSY:
		return addr_is_relayed(to) ? FAILURE_RELAY : FAILURE_UNKNOWN;
	case ERR_DENIED:
		return FAILURE_OTHER;
	case ERR_PROTOCOL:
	case ERR_CLOSED:
		return FAILURE_UNWANTED;
	default:
		return FAILURE_UNKNOWN;
	}
}
