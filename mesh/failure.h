/*
 * Why a dial came to nothing, in kinds: for a person who asks what to do, and
 * to count.  The words of each are in engine/reason.c.
 *
 * Pure.
 */
#ifndef HOLDFAST_MESH_FAILURE_H
#define HOLDFAST_MESH_FAILURE_H

#include "engine/base/err.h"
#include "mesh/addr.h"

enum failure {
	FAILURE_NONE,
	FAILURE_REFUSED,     /* nobody listens there */
	FAILURE_TIMEOUT,     /* nothing came back */
	FAILURE_UNREACHABLE, /* no route, or the system forbids it */
	FAILURE_NO_NAME,     /* the name has no address */
	FAILURE_OTHER,       /* another device answers */
	FAILURE_UNWANTED,    /* it answered and hung up */
	FAILURE_RELAY,       /* the relay did not bring us together */
	FAILURE_SCOPE,       /* mesh.scope leaves the address out */
	FAILURE_UNKNOWN,
	FAILURE_COUNT
};

/* What a dial to `to` failed for, by the error it ended with. */
enum failure failure_of(const struct addr *to, const struct err *err);

#endif
