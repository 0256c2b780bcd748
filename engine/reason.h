/*
 * Reason codes: one table for everything that is not in order.
 *
 * Each file that is not in sync, each folder that stopped, each refused
 * request carries one of these; status, explain, JSON, events and the log
 * speak in their names, which never change meaning.
 */
#ifndef HOLDFAST_ENGINE_REASON_H
#define HOLDFAST_ENGINE_REASON_H

#include <stdbool.h>
#include <stddef.h>

enum reason {
	REASON_NONE,
	/* A path. */
	REASON_QUEUED,        /* waits for its turn */
	REASON_RECEIVING,     /* blocks are on their way */
	REASON_NO_SOURCE,     /* no connected device has this version */
	REASON_LOCAL_CHANGED, /* changed here meanwhile: looked at again */
	REASON_CHANGING,      /* keeps changing; announced when it rests */
	REASON_UNREADABLE,    /* no permission to read it */
	REASON_UNWRITABLE,    /* no permission to write it or its parent */
	REASON_BAD_NAME,      /* not a name that can be synced */
	REASON_NAME_CLASH,    /* equal to another name on this disk */
	REASON_NAME_TOO_LONG,
	REASON_BAD_TYPE,       /* FIFO, socket, device */
	REASON_NO_LINKS,       /* this disk cannot hold symlinks */
	REASON_PARENT_BLOCKED, /* a parent is not a directory here */
	REASON_DIR_NOT_EMPTY,  /* holds things the deleter did not know */
	REASON_IGNORED,
	REASON_BAD_DATA, /* blocks did not match their hash */
	REASON_IO_ERROR,
	REASON_BUSY,            /* no descriptors, no memory, held by another */
	REASON_LOCALLY_CHANGED, /* receive-only: differs on purpose */
	REASON_SEND_ONLY,       /* send-only: not taken on purpose */
	REASON_CONFLICT,        /* a conflict copy exists */
	/* A folder. */
	REASON_STARTING,
	REASON_PAUSED,
	REASON_ROOT_MISSING,   /* the folder's directory is not there */
	REASON_MARKER_MISSING, /* .stfolder is gone */
	REASON_DISK_CHANGED,   /* another file system is mounted there */
	REASON_ROOT_EMPTY,     /* empty, but the index is not */
	REASON_IGNORES_BAD,    /* the ignore file cannot be read */
	REASON_DISK_FULL,
	REASON_READ_ONLY_DISK,
	REASON_INDEX_DAMAGED, /* set aside and being rebuilt */
	REASON_WATCH_LIMIT,   /* not every directory is watched */
	REASON_WATCH_FAILED,
	REASON_MASS_CHANGE,  /* held until a person has decided */
	REASON_TRASH_FAILED, /* nothing can be put in the trash can */
	/* A device. */
	REASON_OFFLINE,
	REASON_PEER_PAUSED,      /* it paused the folder */
	REASON_PEER_NOT_SHARING, /* it does not share the folder with us */
	REASON_PROTOCOL,         /* it broke the protocol */
	/* Why a device is connected through a relay. */
	REASON_NO_DIRECT_WAY,  /* no address of its own is known */
	REASON_DIRECT_FAILED,  /* each was tried in vain */
	REASON_DIRECT_UNTRIED, /* they are being tried */
	/* Why a dial came to nothing. */
	REASON_DIAL_REFUSED,
	REASON_DIAL_TIMEOUT,
	REASON_DIAL_UNREACHABLE,
	REASON_DIAL_NO_NAME,
	REASON_DIAL_OTHER_DEVICE,
	REASON_DIAL_UNWANTED,
	REASON_DIAL_RELAY,
	REASON_OUTSIDE_SCOPE, /* mesh.scope leaves the address out */
	REASON_DIAL_FAILED,   /* for another reason */

	/* A carried connection. */
	REASON_FORWARD_DENIED,   /* not allowed there */
	REASON_FORWARD_NOBODY,   /* nobody listens there */
	REASON_FORWARD_BUSY,     /* too many are open */
	REASON_FORWARD_CLOSED,   /* the socket there broke */
	REASON_FORWARD_FAILED,   /* for another reason */
	REASON_FORWARD_LOST,     /* the session ended */
	REASON_FORWARD_UNSPOKEN, /* its program carries none */
	/* Why no direct way could be opened. */
	REASON_UDP_BLOCKED, /* no STUN server answers this device */
	REASON_UDP_BLOCKED_THERE,
	REASON_HARD_NAT_BOTH, /* two routers that map anew for each */
	REASON_HARD_NAT,      /* one of them */
	REASON_NO_ANSWER,     /* no probe came through */
	REASON_ASLEEP,        /* an idle link was let go, mesh.sleep */
	/* What no engine sees: made by the daemon around it. */
	REASON_LOW_SPACE,   /* a folder's disk is nearly full */
	REASON_SINGLE_COPY, /* no other device had all of a folder for long */
	REASON_SLOW_PATH,   /* a device was relayed for longer than its limit */
	REASON_CLONE,       /* another machine has this device's key */
	REASON_STALE,   /* a device was not seen for longer than its limit */
	REASON_REFUSED, /* a configuration with mistakes was not taken */
	REASON_COUNT
};

enum reason_severity { REASON_INFO, REASON_WARNING, REASON_STOPPED };

/* "disk-full": stable. */
const char *reason_name(enum reason r);
/* One sentence: what it means. */
const char *reason_what(enum reason r);
/* One sentence: what it means for a person's files. */
const char *reason_effect(enum reason r);
/* What to do next; may hold "%s" once, for the folder or path.  NULL: wait. */
const char *reason_do(enum reason r);
enum reason_severity reason_severity(enum reason r);
/* A folder's directory is there, but is not the one that it was. */
bool reason_is_of_root(enum reason r);

#endif
