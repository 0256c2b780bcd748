/*
 * Every bound in one place, with its unit and its reason.
 */
#ifndef HOLDFAST_BASE_LIMITS_H
#define HOLDFAST_BASE_LIMITS_H

#include <stdint.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

/* Names.  Linux's own limits; what is longer cannot be stored anyway. */
#define LIMIT_NAME_LEN 255u   /* bytes in a component */
#define LIMIT_PATH_LEN 4095u  /* bytes in a path */
#define LIMIT_PATH_DEPTH 512u /* components; bounds every descent */
#define LIMIT_LINK_LEN 4095u  /* bytes in a symlink's target */

/* The wire, before any allocation of that size.  BEP-FACTS.md 4. */
#define LIMIT_HELLO_LEN 32767u          /* signed 16 bits */
#define LIMIT_HEADER_LEN 4096u          /* ours; the wire allows 32767 */
#define LIMIT_FRAME_LEN (64 * MIB)      /* one message; Syncthing: 500 MB */
#define LIMIT_STRING_LEN (64 * KIB)     /* any protobuf string */
#define LIMIT_CC_FOLDERS 4096u          /* folders in a ClusterConfig */
#define LIMIT_CC_DEVICES 1024u          /* devices in one folder of it */
#define LIMIT_CC_DEVICES_ALL 65536u     /* devices in all folders of it */
#define LIMIT_CC_ADDRESSES 64u          /* addresses of one device of it */
#define LIMIT_INDEX_FILES 65536u        /* entries in one index message */
#define LIMIT_BLOCKS (1u << 20)         /* blocks in one file: 16 TiB */
#define LIMIT_BLOCK_LEN_MIN (128 * KIB) /* bytes */
#define LIMIT_BLOCK_LEN_MAX (16 * MIB)  /* bytes */
#define LIMIT_REQUEST_LEN (32 * MIB)    /* bytes asked for at once */
#define LIMIT_COUNTERS 256u             /* counters in a version vector */
#define LIMIT_PROGRESS_UPDATES 4096u    /* in one DownloadProgress */
#define LIMIT_SIGNAL_LEN 1200u          /* bytes of one */
#define LIMIT_ECHO_TEXT 128u            /* bytes of a text in an Echo */
#define LIMIT_MEMBERS_LEN (256 * KIB)   /* words about the membership log */
#define LIMIT_FORWARD_DATA                                                     \
	(16 * KIB)                     /* bytes of a carried connection in one \
					  message: others wait for no more */
#define LIMIT_CHUNK_RANGES 1024u       /* in one ChunksRequest */
#define LIMIT_CHUNK_MAP_LEN (16 * GIB) /* bytes of file in one chunk map */
#define LIMIT_PLATFORM_LEN (64 * KIB)  /* bytes of platform data, kept raw */

/* The index. */
#define LIMIT_FOLDER_DEVICES 256u /* device slots of one folder's index */
#define LIMIT_KEY_LEN 500u        /* bytes; LMDB has 511 */
#define LIMIT_ROW_VERSIONS 64u    /* distinct versions kept for one path */
#define LIMIT_INDEX_GAPS 64u      /* runs told apart, 16 bytes each */

/* Queues and windows. */
#define LIMIT_INDEX_BATCH_FILES 1000u   /* entries we send in a message */
#define LIMIT_INDEX_BATCH_LEN (1 * MIB) /* and about that many bytes */
#define LIMIT_FETCH_WINDOW (32 * MIB)   /* bytes asked of one device */
#define LIMIT_FETCH_REQUESTS 512u       /* requests asked of one device */
#define LIMIT_ANSWER_NS                                                        \
	UINT64_C(45000000000)         /* no answer at all: ask others          \
				       */
#define LIMIT_SERVE_WINDOW (32 * MIB) /* bytes read for one device */
#define LIMIT_PROGRESS_FILES 1024u    /* unfinished, of a peer's folder */
#define LIMIT_PROGRESS_LEN (1 * MIB)  /* bytes; a bit for each block */
#define LIMIT_SERVE_QUEUE 2048u       /* requests one device may queue */
#define LIMIT_SENDQ_LEN (64 * MIB)    /* bytes waiting on one session */
#define LIMIT_FOLDER_ITEMS 1024u      /* items in work in a folder */
#define LIMIT_COMMIT_OPS 16384u       /* store puts before a commit */
#define LIMIT_COMMIT_HELD (32 * MIB)  /* bytes not on disk: read no more */
#define LIMIT_STEP_ROWS 512u          /* rows one step may touch */
#define LIMIT_SCAN_LISTS 8u           /* directories listed at once */
#define LIMIT_SCAN_HASHES 128u        /* files being hashed at once */
#define LIMIT_SCAN_PROBLEMS 1000u     /* remembered for people; a folder */

#define LIMIT_FORWARD_CHANNELS 64u /* one device opened, not over yet */
#define LIMIT_FORWARD_WINDOW                                                   \
	(256 * KIB)                /* bytes in, not taken here yet; one        \
				      channel */
#define LIMIT_FORWARD_QUEUED 4u    /* messages of one that wait: read no more */
#define LIMIT_FORWARD_UNSENT 1024u /* of all of a device: it does not read */
#define LIMIT_FORWARD_ASK_NS UINT64_C(15000000000) /* to be taken here */

/* The network: what a stranger can make us hold. */
#define LIMIT_HALF_OPEN 64u           /* accepted, not yet known */
#define LIMIT_HALF_OPEN_SOURCE 16u    /* of them from one IP address */
#define LIMIT_KNOCKS 256u             /* in vain, from one source at once */
#define LIMIT_KNOCK_NS 62500000ull    /* and then 16 a second */
#define LIMIT_SLOW_LEN 1024u          /* bytes a second of a message, */
#define LIMIT_SLOW_NS 300000000000ull /* at least, after so long */
#define LIMIT_TLS_NS 10000000000ull   /* for the handshake; as Syncthing */
#define LIMIT_HELLO_NS 20000000000ull /* for the Hello after it */
#define LIMIT_DIAL_NS 10000000000ull  /* to connect one address */
#define LIMIT_QUIC_UNPROVEN 8u        /* a second, or half-open at once */
#define LIMIT_QUIC_EARLY (64 * KIB)   /* bytes of who is not known yet */
#define LIMIT_QUIC_WINDOW (16 * MIB)  /* bytes in, not read yet; one peer */
#define LIMIT_QUIC_UNSENT (256 * KIB) /* bytes taken to be sent, */
#define LIMIT_QUIC_UNACKED (16 * MIB) /* and sent, not acknowledged */
/* Silence, as Syncthing has it. */
#define LIMIT_QUIC_IDLE_NS 30000000000ull

#define LIMIT_DESCRIPTORS 65536u      /* asked of the system */
#define LIMIT_DIALS 32u               /* running at once */
#define LIMIT_PEERS 1024u             /* configured devices */
#define LIMIT_PEER_ADDRESSES 32u      /* known ways to one device */
#define LIMIT_STRANGERS 64u           /* pending devices remembered */
#define LIMIT_ANNOUNCE_LEN 4096u      /* bytes of a discovery datagram */
#define LIMIT_RELAY_NS 20000000000ull /* to come through a relay */
#define LIMIT_RELAY_MEMBERS 512u      /* who wait at our relay, or ask there */
#define LIMIT_RELAY_SESSIONS 256u     /* through it */
#define LIMIT_RELAY_DEVICE 16u        /* of them, of one device */
#define LIMIT_RELAY_LEN (64 * KIB)    /* bytes held of one, each way */
#define LIMIT_FINDER_LEN (64 * KIB)   /* bytes a discovery server answers */
#define LIMIT_FINDER_ASKS 4u          /* questions put at once */
#define LIMIT_FINDER_SERVERS 8u       /* configured */
#define LIMIT_STUND_RATE 4000u        /* answers a second of our STUN server */
#define LIMIT_STUN_SERVERS 8u         /* asked for our own address */
/* A coordinator: what it can make us hold, and others it. */
#define LIMIT_COORDINATORS 8u              /* configured */
#define LIMIT_COORD_NS 20000000000ull      /* to answer */
#define LIMIT_COORD_HELD_NS 30000000000ull /* so long a line was a good one */
#define LIMIT_COORD_OUT (1 * MIB)          /* bytes said and not taken yet */
#define LIMIT_COORD_BOXES 8u               /* for letters, of one device */
#define LIMIT_COORD_BOXES_ALL 65536u
#define LIMIT_COORD_BOX_NS 86400000000000ull /* then an invitation is over */
#define LIMIT_COORD_BOX_STRANGERS 16u        /* who write to one */
#define LIMIT_COORD_LETTERS 64u              /* of one of them */
#define LIMIT_COORD_VAIN 4u        /* what may not be, then a guest goes */
#define LIMIT_COORD_STRANGERS 256u /* here at once, without a domain */
#define LIMIT_COORD_GUESTS 60000u  /* members here at once */
#define LIMIT_COORD_GUEST_OUT (16 * MIB) /* bytes for one, not taken yet */
#define LIMIT_COORD_DOMAINS 65536u
#define LIMIT_COORD_LOG 4096u                /* entries of one domain */
#define LIMIT_COORD_LOG_LEN (4 * MIB)        /* bytes of them */
#define LIMIT_COORD_GONE_NS 3600000000000ull /* shown after it left */
#define LIMIT_COORD_UNFLUSHED 64u /* logs written to, not on disk yet */
/* A discovery server. */
#define LIMIT_DISCO_DEVICES 65536u    /* that told where they are */
#define LIMIT_DISCO_SOURCE 256u       /* of them from one source */
#define LIMIT_DISCO_LEN 1024u         /* bytes of the addresses of one */
#define LIMIT_DISCO_BODY (16 * KIB)   /* bytes of what it says */
#define LIMIT_DISCO_NS 10000000000ull /* to say it */

/* Memory and log. */
#define LIMIT_DIRECT_FROM (1 * MIB) /* data written past the page cache, */
#define LIMIT_DIRECT_ALIGN 4096u    /* and how it lies: suits every disk */
#define LIMIT_ARENA_BLOCK (64 * KIB)
#define LIMIT_ARENA_KEEP (1 * MIB)
#define LIMIT_LOG_LINE 2048u

#endif
