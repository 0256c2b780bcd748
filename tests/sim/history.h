/*
 * One history: a world made of the head's bytes, acts of people and faults as
 * the bytes go on, then everything is healed, and what must hold then is asked.
 *
 * Each class of fault is on or off for the whole history, with a rate of its
 * own: worlds that differ much find more than one that has everything.
 */
#ifndef HOLDFAST_TESTS_SIM_HISTORY_H
#define HOLDFAST_TESTS_SIM_HISTORY_H

#include "sim.h"

#define HISTORY_PATH_LEN 64u

enum shape {
	SHAPE_MESH,
	SHAPE_CHAIN,
	SHAPE_RING,
	SHAPE_STAR,
};

/* Who acts. */
enum writers {
	WRITERS_ALL,  /* everybody at any time */
	WRITERS_ONE,  /* the first device only */
	WRITERS_TURN, /* one after the other, in sync in between */
};

struct settings {
	uint32_t nodes;
	enum shape shape;
	enum writers writers;
	uint32_t names;
	uint32_t pause;      /* longest run between acts, steps */
	uint32_t fault_rate; /* one act in so many is a fault */
	bool dirs, links, moves, chmods, utimes, spellings, accents, ignores,
	    big, opens;
	bool kills, power, hostile, unflushed, syncfs, reuses;
	bool cuts, one_way, full, away, read_only;
	bool hides;     /* ignore rules are edited to hide what is there */
	bool works_on;  /* ... by who then works on it */
	bool misses;    /* hints are lost, or nobody watches */
	bool syncthing; /* the second device is node_syncthing.c */
	bool liar;      /* the last device is node_liar.c */
	bool two;       /* ... and gives one version two contents */
	uint64_t lag_ns;
	uint32_t twice, replays, flush_io; /* sim.h */
	bool index_lost, index_restored, clocks, modes, removals;
	bool rotates;     /* IDs change */
	bool no_battery;  /* a clock begins anew, without power */
	bool same_second; /* ... in the second it began in before */
	bool folds[SIM_NODES], normalises[SIM_NODES], blind[SIM_NODES];
};

/* Settings of the tail: which byte is whose.  New ones come at the end. */
enum tail {
	TAIL_WIRE,      /* devices speak in bytes */
	TAIL_COMPRESS,  /* ... compressed or not */
	TAIL_LAG,       /* messages are late by seconds */
	TAIL_TWICE,     /* ... come twice */
	TAIL_REPLAY,    /* ... or again in another session */
	TAIL_LIAR,      /* the last device lies */
	TAIL_SYNCTHING, /* the second device is a Syncthing, of some version */
	TAIL_BRAKE,     /* who takes away much is held */
	TAIL_HIDE,      /* rules may come to ignore what is known */
	TAIL_CLOCKS,    /* clocks are set where indexes are lost, too */
	TAIL_FLUSH,     /* flushes before commits fail, where others do */
	TAIL_TWO,       /* who lies gives one version two contents */
	TAIL_LATE,      /* what the disk answered is heard late */
	TAIL_BATTERY,   /* clocks begin anew with the machine */
	TAIL_ROTATE,    /* devices get other IDs now and then */
	TAILS
};

/* What will strike a device when it changes names. */
enum crash {
	CRASH_NONE,
	CRASH_KILL,
	CRASH_POWER,
};

struct history {
	struct sim sim;
	struct settings set;
	uint32_t writer; /* whose turn it is */
	bool cut[SIM_NODES][SIM_NODES];
	bool removed[SIM_NODES][SIM_NODES];
	enum crash due[SIM_NODES];
	bool amnesia;                    /* an index was lost or rolled back */
	bool resolved;                   /* somebody reverted or overrode */
	struct store *backup[SIM_NODES]; /* of an index; owned */
	struct vnode *open[SIM_NODES];   /* a file some program has open */
	uint32_t next_token;
};

struct history_result {
	bool ok;
	char why[400];
	uint64_t hash; /* of all that happened */
	uint64_t events;
	uint64_t count[COUNTERS];
};

/* `story`: print what happens; `debug`: and the engines' log. */
void history_run(const uint8_t *byte, size_t len, bool story, bool debug,
    struct history_result *out);

/* The devices that tell the truth: the first so many. */
uint32_t history_honest(const struct history *h);

/* people.c: one of the names that everybody uses. */
void people_path(struct history *h, char path[HISTORY_PATH_LEN]);
/* A person does something on the disk of `node`. */
void people_act(struct history *h, uint32_t node);
/* ... writes to a file that is there. */
void people_work_on(struct history *h, uint32_t node);
/* ... and programs that have a file open go on writing to it. */
void people_write_on(struct history *h);
/* node_liar.c: the device that lies says something. */
void node_liar_act(struct history *h, uint32_t node);
/* faults.c: something breaks, or is mended. */
void faults_act(struct history *h);
/* What waits for a device to change names may strike now. */
void faults_strike(struct history *h);
/* Everything is mended, and everybody is connected as the shape says. */
void faults_heal(struct history *h);
void faults_connect(struct history *h);
/* The device that lies is let in again. */
void faults_admit(struct history *h);
void faults_fini(struct history *h);

#endif
