/*
 * The files of HOME/domain: read whole, put whole, or made longer.
 *
 * What they hold is domain_record.h's.  All are ours alone (0600).  Thread: any
 * one at a time.
 */
#ifndef HOLDFAST_CLI_DOMAIN_FILE_H
#define HOLDFAST_CLI_DOMAIN_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/home.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

#define DOMAIN_FILE_LOG "log"
#define DOMAIN_FILE_PIN "pin"
#define DOMAIN_FILE_MEMBERS "members"
#define DOMAIN_FILE_PENDING "pending"
#define DOMAIN_FILE_INVITES "invites"
#define DOMAIN_FILE_BALLOT "ballot"
#define DOMAIN_FILE_OWNER "owner.key"
#define DOMAIN_FILE_OWNER_NEXT "owner.next"

/* All of it; ERR_NOT_FOUND when there is no such file.  An owner's key must be
 * ours alone: ERR_DENIED. */
int domain_file_read(const struct home *home, const char *name, struct buf *out,
    struct err *err);
/* Replace it, durably and at once. */
int domain_file_put(const struct home *home, const char *name,
    struct slice bytes, struct err *err);
/* Make it longer; durable after 0.  A failure leaves it as it was. */
int domain_file_append(const struct home *home, const char *name,
    struct slice bytes, struct err *err);
/* `from` takes the place of `to`, durably and at once. */
int domain_file_rename(const struct home *home, const char *from,
    const char *to, struct err *err);
/* Put the whole directory aside, as domain.old-SECONDS. */
int domain_file_put_aside(const struct home *home, int64_t wall_s,
    struct err *err);
/* Make it shorter: what is torn goes. */
int domain_file_cut(const struct home *home, const char *name, size_t len,
    struct err *err);

#endif
