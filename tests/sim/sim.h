/*
 * A world: devices, their disks, the network between them, the time.
 *
 * Everything that will happen is a job in a heap, by time and then by order of
 * asking; how long it takes is the weather's choice.  A device is a table of
 * functions (struct node_ops), so it need not be our engine: a model of another
 * program, or one that sends whatever it likes, has the same disk, network and
 * people.  node_engine.c is the engine.
 *
 * The world knows what a device may rely upon: one session with another device
 * at a time, whose end it hears of before the next begins; messages of one
 * session in order, up to some point; effects answered once, in any order;
 * hints for what changed on its disk, or word that some were lost.
 */
#ifndef HOLDFAST_TESTS_SIM_SIM_H
#define HOLDFAST_TESTS_SIM_SIM_H

#include "blockproto/message.h"
#include "choice.h"
#include "engine/base/arena.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/payload.h"
#include "engine/base/vec.h"
#include "engine/effect.h"
#include "engine/event.h"
#include "engine/setup.h"
#include "oracle.h"
#include "vdisk.h"

#define SIM_NODES 5u
#define SIM_FAR_NS (20 * CLOCK_S) /* timers beyond it are housekeeping */
#define SIM_WALL_NS INT64_C(1700000000000000000) /* when a history begins */
/* Jobs of one device waiting at once: more is a queue without a bound. */
#define SIM_JOBS_MAX 20000u

/* Rare states that the runs must have reached: counters.h tells them apart. */
enum rare {
	COUNT_POWER_LOSS,
	COUNT_POWER_DIRTY, /* ... with something not flushed */
	COUNT_KILL,
	COUNT_KILL_IN_COMMIT,
	COUNT_KILL_INTENDED,    /* intents committed, names not flushed */
	COUNT_KILL_IN_RECOVERY, /* while an earlier crash was being mended */
	COUNT_KILL_KEPT,        /* old bytes in staging */
	COUNT_COMMIT_UNDONE,    /* puts lost with the power */
	COUNT_SYNC_FAILED,
	COUNT_IO_ERROR,
	COUNT_FULL,
	COUNT_FULL_AT_COMMIT,
	COUNT_COMMIT_FAILED,
	COUNT_COMMIT_FLUSH_FAILED,
	COUNT_TWO_OF_ONE,
	COUNT_READ_ONLY,
	COUNT_UNMOUNTED,
	COUNT_BARE_MOUNT,
	COUNT_INDEX_LOST,
	COUNT_INDEX_LOST_ALONE, /* while a peer was away */
	COUNT_INDEX_RESTORED,
	COUNT_ONE_WAY,
	COUNT_CUT_IN_FLIGHT,
	COUNT_HINTS_LOST,
	COUNT_CLOCK_BACK,
	COUNT_DEVICE_REMOVED,
	COUNT_MODE_CHANGED,
	COUNT_IGNORES_CHANGED,
	COUNT_CHANGED_AT_ACT,  /* a person was faster than an act */
	COUNT_OPEN_WRITE_KEPT, /* a program wrote to what was taken away */
	COUNT_CONFLICT,
	COUNT_FOLDED_CLASH,
	COUNT_CASE_RENAME,
	COUNT_TRASHED,
	COUNT_BIG_FILE,
	COUNT_DIR_MOVED,
	COUNT_MANY_FLUSHED, /* syncfs() */
	COUNT_CUT_FRAME,    /* a frame came in pieces */
	COUNT_CUT_IN_FRAME, /* ... and its end did not */
	COUNT_PIECES_JOINED,
	COUNT_SILENT, /* a peer was given up for its silence */
	COUNT_TWICE,  /* a message came twice */
	COUNT_REPLAYED,
	COUNT_HELD, /* the brake asks a person */
	COUNT_CONFIRMED,
	COUNT_THEIR_CONFLICT, /* a Syncthing made a conflict copy */
	COUNT_LIED,           /* a device said what none would say */
	COUNT_LIED_BYTES,     /* ... and gave other bytes than were asked for */
	COUNT_LATE,           /* an answer of the disk was heard late */
	COUNT_CLOCK_ANEW,     /* a clock began where it had begun */
	COUNT_FLUSH_STAGED,   /* a flush failed while a temp was not flushed */
	COUNT_ROTATED,        /* a device has another ID */
	COUNT_ROTATED_AWAY,   /* ... while another one was off */
	COUNTERS
};

extern const char *const sim_counter_name[COUNTERS];

enum job_kind {
	JOB_EFFECT,  /* do it, tell of it */
	JOB_ANSWER,  /* it was done; tell of it now */
	JOB_DELIVER, /* the next message of a session arrives */
	JOB_HINT,
	JOB_PEER, /* a session begins or ends */
};

struct job { /* in the history's arena */
	uint64_t at_ns;
	uint64_t order;
	enum job_kind kind;
	uint32_t node;
	uint64_t life; /* of the device; an older one is dead */
	struct effect effect;
	struct event *answer; /* ANSWER */
	uint32_t from;        /* DELIVER, PEER */
	uint64_t link;        /* the session it belongs to */
	bool up;
	bool overflow;
	struct change_hint hint[2];
	uint32_t hint_count;
};

struct letter {
	struct letter *next;
	uint64_t link;
	int32_t type;
	struct slice body;
	bool whole; /* of a piece: a frame ends with it */
};

struct session; /* mesh/session.h */
struct sim;
struct node;

/* What a kind of device does.  Called by the world, one thing at a time. */
struct node_ops {
	const char *name;
	bool lies; /* may say anything */
	void (*start)(struct node *nd);
	/* kill -9, or the power: what it had in memory is gone. */
	void (*stop)(struct node *nd, bool power);
	void (*peer)(struct node *nd, uint32_t other, bool up);
	/* Takes `p`: the data of a Response, or NULL. */
	void (*message)(struct node *nd, uint32_t from, const struct message *m,
	    struct payload *p);
	uint32_t (*features)(const struct node *nd);      /* of its Hello */
	void (*effect)(struct node *nd, struct job *job); /* it is time */
	/* It was done a while ago: tell of it. */
	void (*answer)(struct node *nd, struct job *job);
	/* It was under way when the device died: done, or not, or done and not
	 * told of; free it. */
	void (*abandon)(struct node *nd, struct job *job, bool done);
	void (*hints)(struct node *nd, const struct job *job);
	void (*tick)(struct node *nd); /* wake_at_ns has come */
	/* The configuration changed: modes, devices. */
	void (*setup)(struct node *nd);
	/* Look at everything, as a person or a timer asks now and then. */
	void (*scan)(struct node *nd);
	/* Undo what was changed here (`theirs`), or what was elsewhere. */
	void (*resolve)(struct node *nd, bool theirs);
	/* A device is held for what it takes away: let it.  False: none is. */
	bool (*confirm)(struct node *nd);
	/* In sync and at rest?  Tells the oracle what is not. */
	bool (*is_well)(struct node *nd);
	void (*free)(struct node *nd);
};

struct node {
	const struct node_ops *ops;
	void *impl; /* the kind's own; NULL: not running */
	struct sim *sim;
	uint32_t number;
	struct devid id;
	char name[4]; /* "A" */
	struct vdisk *disk;
	struct store *store;
	bool running;
	uint64_t life;
	uint64_t wake_at_ns;
	uint32_t jobs; /* waiting */
	/* Configuration. */
	enum folder_mode mode;
	bool knows[SIM_NODES]; /* is that device configured here? */
	bool watches;          /* false: rescans only */
	/* Clock: wall = world's + offset, and drifts. */
	int64_t clock_ns;
	int32_t drift_ppm;
	/* Network, by the other device. */
	uint64_t link[SIM_NODES];    /* 0: no connection */
	uint64_t session[SIM_NODES]; /* what the device knows of */
	uint64_t last_ns[SIM_NODES]; /* when the last letter arrives */
	uint64_t told_ns[SIM_NODES];
	bool dark[SIM_NODES]; /* nothing of that device arrives here */
	struct letter *first[SIM_NODES], *last[SIM_NODES];
	struct slice old_index[SIM_NODES]; /* what it said in some session */
	int32_t old_type[SIM_NODES];
	uint64_t old_link[SIM_NODES];
	struct session *wire[SIM_NODES]; /* owned; NULL: no session, or none
					  * that is bytes */
	bool told[SIM_NODES];            /* that the other is up */
	bool partly[SIM_NODES];          /* what came last was no whole frame */
	bool hurt;          /* a temp was not flushed when a flush failed */
	struct slice acted; /* the name that was changed last */
	uint64_t acted_ns;
	/* What peers took away here since they were quiet: the brake. */
	VEC(struct slice) taken;
	uint64_t taken_ns;   /* when, last */
	uint64_t allowed_ns; /* a person let it be, until then */
	struct log log;
};

#define SIM_FORMERS 8u

struct sim_former { /* an ID that a device had */
	struct devid was;
	uint32_t node;
};

struct sim {
	struct choice choice;
	struct arena arena; /* dies with the history */
	struct oracle oracle;
	struct now now;
	struct node node[SIM_NODES];
	uint32_t nodes;
	struct sim_former former[SIM_FORMERS];
	uint32_t formers;
	uint64_t delay_ns; /* longest of an effect */
	uint32_t features;
	bool bytes; /* devices speak in bytes: wire.h */
	enum message_compression compression;
	uint64_t wire_at_ns; /* when a session wants to be woken, or before */
	uint64_t trash_age_ns;
	uint32_t brake;    /* a device may take away so many files; 0: any */
	bool syncthing_v1; /* the model is of 1.x: an edit beats a deletion */
	uint64_t lag_ns;   /* longest of a message, besides delay_ns */
	uint32_t late;     /* one answer in so many is heard late; 0: none */
	uint32_t twice;    /* one message in so many comes twice */
	uint32_t replays;  /* one session in so many hears what an older said */
	struct vdisk_trouble trouble;
	uint32_t lost_hints; /* one in so many; 0: none */
	uint32_t full_commits;
	uint32_t failed_commits;
	uint32_t flush_io; /* ... flushes before them fail, one in so many */
	bool flush_failed; /* one did: what was not flushed may be lost */
	uint64_t next_order, next_link;
	VEC(struct job *) heap;
	uint64_t events, messages;
	uint64_t hash;
	uint64_t count[COUNTERS];
	bool story;   /* print what happens */
	bool debug;   /* ... the engines' log, too */
	bool debts;   /* effects failed: some things wait for a restart */
	bool uneven;  /* what one ignores another may not: it stays behind */
	bool clashes; /* names clash on some disk: problems are expected */
};

/* In place; `byte` is borrowed until sim_fini(). */
void sim_init(struct sim *s, const uint8_t *byte, size_t len);
void sim_fini(struct sim *s);
void sim_add(struct sim *s, const struct node_ops *ops,
    const struct vdisk_make *make);

void sim_start(struct sim *s, uint32_t node);
/* kill -9; or, when `power`, the disk forgets, too. */
void sim_stop(struct sim *s, uint32_t node, bool power);
void sim_connect(struct sim *s, uint32_t a, uint32_t b);
void sim_disconnect(struct sim *s, uint32_t a, uint32_t b);
/*
 * The device has another ID, and all know it: those that run by their setup,
 * which the caller tells them, the others when they start.  Its sessions end
 * before.  False: it had so many already.
 */
bool sim_rotate(struct sim *s, uint32_t node);
/* What `to` would hear of `from` waits from now on, or not any more. */
void sim_darken(struct sim *s, uint32_t to, uint32_t from, bool dark);

/* One thing; false when nothing is due before something far away. */
bool sim_step(struct sim *s);
void sim_run(struct sim *s, uint64_t ns);
/* Somebody changed `path`, and maybe `other`, on the device's disk. */
void sim_hint(struct sim *s, uint32_t node, struct slice path,
    struct slice other, bool subtree);
struct now sim_now(const struct node *nd); /* by its own clock */

/* For kinds of devices. */
struct job *sim_job(struct node *nd, enum job_kind kind);
void sim_later(struct node *nd, struct job *job);      /* after some weather */
void sim_much_later(struct node *nd, struct job *job); /* ... a lot of it */
/* Send; silently nothing when there is no session.  Takes `p`. */
void sim_send(struct node *nd, uint32_t to, const struct message *m,
    struct payload *p);
/* ... a message with any body at all. */
void sim_send_raw(struct node *nd, uint32_t to, int32_t type,
    struct slice body);
/* For wire.c: what is to arrive, and what has arrived. */
void sim_post(struct node *nd, uint32_t to, int32_t type, struct slice body,
    bool whole);
void sim_tell_peer(struct node *nd, uint32_t other, bool up);
void sim_tell_message(struct node *nd, uint32_t from, const struct message *m,
    struct payload *p);
/* What both ends of a connection announced. */
uint32_t sim_features(const struct node *nd, uint32_t other);
/* Does it say what no device would? */
bool sim_is_liar(const struct node *nd);
uint32_t sim_node_of(const struct sim *s, const struct devid *id);
void sim_count(struct sim *s, enum rare what);
void sim_mix(struct sim *s, uint64_t v);
/* A line of the story; cheap when nobody listens. */
void sim_say(struct node *nd, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

extern const struct node_ops node_engine_ops;
extern const struct node_ops node_liar_ops;
extern const struct node_ops node_syncthing_ops;

#endif
