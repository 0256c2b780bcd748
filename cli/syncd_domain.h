/*
 * The daemon's domain: its log on disk, who invites, who joins, and what of it
 * the rest of the daemon has to know.
 *
 * The log decides who is a member (mesh/members.h); the members other than us
 * are written to HOME/domain/members, and whoever reads the configuration, this
 * daemon and syncctl, finds them there as devices.  So a change of the log is a
 * reload, and a member that was removed is cut within that.
 *
 *	entry from a coordinator --\
 *	entry signed here ---------> members_take -> log, pin, members
 *	                                          -> reload
 *
 * Entries go to every coordinator that lacks them, and to members that are
 * connected (syncd_talk.c).  Nothing of a log counts
 * until it holds the head that was pinned: by the join, and then by each
 * change.
 *
 * Private to syncd*.c.  Thread: loop.
 */
#ifndef HOLDFAST_CLI_SYNCD_DOMAIN_H
#define HOLDFAST_CLI_SYNCD_DOMAIN_H

#include <uv.h>

#include "cli/domain_record.h"
#include "cli/syncd.h"
#include "engine/base/vec.h"
#include "mesh/ballot.h"
#include "mesh/coord_client_uv.h"
#include "mesh/fixedaddr.h"
#include "mesh/join.h"
#include "mesh/members.h"
#include "mesh/members_entry.h"
#include "mesh/members_talk.h"

enum syncd_invite_state {
	SYNCD_INVITE_OPENING, /* it waits for a box */
	SYNCD_INVITE_OPEN,
	SYNCD_INVITE_OVER, /* used, expired, burnt or failed: see `why` */
};

struct syncd_invite {
	uint32_t number;
	enum syncd_invite_state state;
	bool asked;               /* a box, of `line` */
	struct devid coordinator; /* who has the box; none: not known yet */
	struct coord_client *line;
	uint32_t box;
	struct join_code code;
	struct join_inviter *inviter; /* owned; NULL: no box yet */
	int64_t expires_wall_s;
	bool approve;          /* who comes has to be approved */
	struct join_asker who; /* who came */
	const char *why;       /* "used", "expired", "burnt", "no-box" */
};

enum syncd_join_state {
	SYNCD_JOIN_NONE,
	SYNCD_JOIN_DIALLING, /* until a coordinator is there */
	SYNCD_JOIN_ASKING,
	SYNCD_JOIN_WELCOME, /* until the log is there, with us in it */
	SYNCD_JOIN_PENDING, /* until somebody approves us there */
	SYNCD_JOIN_DONE,
	SYNCD_JOIN_REFUSED,
};

struct syncd_join {
	uint32_t number;
	enum syncd_join_state state;
	bool has_at;
	struct addr at; /* which coordinator */
	struct join_code code;
	struct join_joiner *joiner; /* owned */
	struct join_asker self;
	struct coord_client *line;
	struct join_answer answer;
	uint64_t until_ns;
	const char *why; /* "code-wrong", ...: stable */
	char text[COORD_TEXT_MAX + 1];
};

struct syncd_talker { /* a connected device that knows FEATURE_MEMBERS */
	struct devid id;
	struct members_talk talk;
	uint64_t ballots; /* syncd_domain.ballots, as it was last told */
	unsigned vain;    /* ballots of it that were none */
};

struct syncd_domain {
	struct members *ms;
	struct fixedaddr_book *fixed; /* owned; NULL: we are no member */
	bool has_pin;
	struct domain_pin pin;
	bool has_owner;
	struct sign_secret owner; /* secret; wiped */
	bool has_next;
	struct sign_secret next; /* waits to be an owner's; likewise */
	bool unkept;           /* an entry counts that the disk did not take */
	struct ballot *ballot; /* what wants more signatures; owned */
	uint64_t ballots;      /* grows when that changes */
	struct digest waits; /* the wish that syncd_domain_make() left there */
	uint32_t numbers;
	VEC(struct syncd_invite) invite;
	struct buf invites; /* as they are on disk; secret */
	struct syncd_join join;
	VEC(struct domain_waiting) waiting; /* for an approval */
	VEC(struct coord_client *) ready;   /* lines that know our domain */
	bool told;       /* lines are told our domain; else we are strangers */
	bool complained; /* of an entry, since a line came up */
	bool again;      /* the whole log was asked for, since a line came up */
	uv_timer_t timer;
	VEC(struct syncd_talker) talker;
	/* A key that waits to be this device's, and who heard of it: */
	struct identity *successor; /* owned; NULL: none */
	uint64_t rotate_heard_ns;   /* somebody has its entry since; 0: no */
	bool rotate_fresh;          /* the log changed since it was looked at */
	bool between_keys;          /* there is no net, until there is one */
	VEC(struct devid) met;      /* new IDs that were connected */
	size_t olds;                /* old certificates that the net hears */
	uv_timer_t rotate_timer;
	uint64_t push_from;     /* came of a member: the first; 0: none */
	uv_timer_t apply_timer; /* a turn of the loop later: syncd_talk.c */
};

/* syncd_domain.c */
/* Read what is on disk.  Before the configuration is read. */
int syncd_domain_open(struct syncd *sd, struct err *err);
/* Hear coordinators.  After the net is open. */
void syncd_domain_hook(struct syncd *sd);
/* The same of a net that was opened anew; and before it is closed. */
void syncd_domain_listen(struct syncd *sd);
void syncd_domain_lines_gone(struct syncd *sd);
void syncd_domain_close(struct syncd *sd);
/*
 * An entry from outside: taken, and kept on disk when it was new.  The caller
 * applies.  MEMBERS_INVALID, too, while we do not know our FOUND.
 */
enum members_verdict syncd_domain_take(struct syncd *sd, uint64_t seq,
    struct slice entry);
/* An entry that has all its signatures: on the log, on disk, and told. */
int syncd_domain_enact(struct syncd *sd, uint64_t seq, struct slice entry,
    struct err *err);
/* The log changed: pin it, tell of it, read the configuration again. */
void syncd_domain_apply(struct syncd *sd);
/* To a coordinator, what it lacks: from entry `seq` on. */
void syncd_domain_push(struct syncd *sd, struct coord_client *line,
    uint64_t seq);
/*
 * Sign, keep and tell; `e` needs kind and subject only.  1: it waits for more
 * signatures, as d->waits.  ERR_DENIED: this device has no owner's key.
 */
int syncd_domain_make(struct syncd *sd, struct members_entry *e,
    struct err *err);
/* Make the domain, when there is none; the recovery key is given out once. */
int syncd_domain_found(struct syncd *sd, struct sign_secret *recovery,
    struct err *err);
/* New owner: this device, by the recovery key. */
int syncd_domain_recover(struct syncd *sd, const struct sign_secret *recovery,
    struct err *err);
/* What a join has pinned; another domain that we had is put aside. */
int syncd_domain_enter(struct syncd *sd, const struct coord_id *domain,
    uint64_t seq, const uint8_t head[32], struct err *err);
/* To every line that we are a stranger, until syncd_domain_tell(). */
void syncd_domain_hide(struct syncd *sd);
/* Tell them who we are, by what we have or `from_start` of the log. */
void syncd_domain_tell(struct syncd *sd, bool from_start);
/*
 * What the questions of a configured device get: the owner's policy for a
 * member, and the switch in the configuration for any.  A member that may not
 * is told so, any other device nothing.
 */
enum net_answer syncd_domain_diag(const struct syncd *sd, uint32_t device);
/* Is this device a member, by a log that counts? */
bool syncd_domain_is_in(const struct syncd *sd);
int64_t syncd_domain_now_s(void);

/* syncd_join.c */
/* Is the line one that net_coord_at() gives? */
bool syncd_line_is_there(const struct syncd *sd,
    const struct coord_client *line);
/* Codes of an earlier run that are still good. */
void syncd_invites_read(struct syncd *sd);
int syncd_invite(struct syncd *sd, int64_t expires_s, bool approve,
    uint32_t *number, struct err *err);
int syncd_join(struct syncd *sd, const struct join_code *code,
    const struct addr *at, const char *name, uint32_t *number, struct err *err);
/* Somebody waits for it: make it a member (or forget it). */
int syncd_approve(struct syncd *sd, struct slice device, bool yes,
    struct err *err);
/* The log is there, or more of it. */
void syncd_join_look(struct syncd *sd);
void syncd_join_close(struct syncd *sd);
/* Of the lines: what concerns boxes and letters. */
void syncd_join_up(struct syncd *sd, struct coord_client *line);
void syncd_join_down(struct syncd *sd, struct coord_client *line);
/* All lines go, whatever they were; the next ones begin anew. */
void syncd_join_lines_gone(struct syncd *sd);
void syncd_join_box(struct syncd *sd, struct coord_client *line, uint32_t box);
void syncd_join_mail(struct syncd *sd, struct coord_client *line, uint32_t box,
    uint64_t stranger, struct slice letter);
void syncd_join_refused(struct syncd *sd, struct coord_client *line,
    enum coord_type what, enum coord_code code, const char *text);

/* syncd_keys.c: the owner's key */
/* A fresh one, in that file of the domain first. */
int syncd_keys_make(struct syncd *sd, const char *file, struct sign_secret *out,
    struct err *err);
/* Read what is on disk. */
int syncd_keys_open(struct syncd *sd, struct err *err);
void syncd_keys_forget(struct syncd *sd);
/* Is the key of this device an owner's, as of now? */
bool syncd_keys_owns(const struct syncd *sd);
/* The log changed: a key that waited to be an owner's takes its place. */
void syncd_keys_settle(struct syncd *sd);
/* A new key for this owner; the one before is none any more. */
int syncd_keys_rotate(struct syncd *sd, struct err *err);

/*
 * What may be an owner's: a key of this device that waits, and its public half.
 * The one that is here when there is one.
 */
int syncd_keys_new(struct syncd *sd, struct err *err);
/* Another list of owners, or how many of them must sign. */
int syncd_keys_owner(struct syncd *sd, struct slice key, bool add,
    struct err *err);
int syncd_keys_quorum(struct syncd *sd, uint64_t need, struct err *err);

/* syncd_rotate.c: another key, and so another ID, for a device */
/* The successor that waits, if one does. */
int syncd_rotate_open(struct syncd *sd, struct err *err);
void syncd_rotate_hook(struct syncd *sd);
void syncd_rotate_close(struct syncd *sd);
/*
 * A new key for this device: made, and signed when an owner's key is here; else
 * it waits until that was done elsewhere.  The old one is heard for `grace_s`
 * longer.  As syncd_domain_make(); ERR_NOT_FOUND: there is no domain.
 */
int syncd_rotate_self(struct syncd *sd, int64_t grace_s, struct err *err);
/* The same of another member, whose new ID was told to us. */
int syncd_rotate_member(struct syncd *sd, const struct member *m,
    const struct devid *now, int64_t grace_s, struct err *err);
/* The successor that waits; `is_signed`: until somebody else has heard. */
bool syncd_rotate_next(const struct syncd *sd, struct devid *out,
    bool *is_signed);
/* Somebody else showed that he has this entry. */
void syncd_rotate_heard(struct syncd *sd, struct slice entry);
/* The log changed; or somebody heard of it.  Nothing happens from within. */
void syncd_rotate_changed(struct syncd *sd);
void syncd_rotate_look(struct syncd *sd);
/* May this device be heard by an ID of before, too?  By which? */
bool syncd_rotate_old_of(const struct syncd *sd, const struct devid *id,
    struct devid *old);
/* Is it such an ID: no peer, but one that may talk of the log? */
bool syncd_rotate_is_old(const struct syncd *sd, const struct devid *id);
/* It was connected: what it was before is not needed any more. */
void syncd_rotate_met(struct syncd *sd, const struct devid *id);

/* syncd_ballot.c: what wants the signatures of more owners than one */
void syncd_ballot_open(struct syncd *sd);
/* Signed here; as syncd_domain_make(). */
int syncd_ballot_start(struct syncd *sd, struct slice entry, struct err *err);
/* Sign or deny what is there, by wish; or by device, if it is about one. */
int syncd_ballot_answer(struct syncd *sd, struct slice wish, bool yes,
    struct err *err);
const struct ballot_item *syncd_ballot_about(const struct syncd *sd,
    struct slice device);
/* A member says that somebody signed this. */
void syncd_ballot_came(struct syncd *sd, struct syncd_talker *t,
    struct slice entry);
/* Put on the log what has all its signatures; not in a call of the net's. */
void syncd_ballot_finish(struct syncd *sd);
/* The log changed. */
void syncd_ballot_settle(struct syncd *sd);
/* To a member, unless it was told. */
void syncd_ballot_tell(struct syncd *sd, struct syncd_talker *t);

/* syncd_talk.c: the log between connected members */
void syncd_talk_open(struct syncd *sd);
void syncd_talk_close(struct syncd *sd);
void syncd_talk_up(struct syncd *sd, const struct devid *id, uint32_t features);
void syncd_talk_down(struct syncd *sd, const struct devid *id);
/* It said something about the log.  Nothing is called back from within. */
void syncd_talk_said(struct syncd *sd, const struct devid *id,
    struct slice body);
/* May it hear who the members are? */
bool syncd_talk_may_hear(const struct syncd *sd, const struct devid *id);
/* In the next turn of the loop: apply what came. */
void syncd_talk_apply_soon(struct syncd *sd);
void syncd_talk_say(struct syncd *sd, const struct devid *id,
    const struct members_word *w);
/* The log is another one: nothing was said of it. */
void syncd_talk_forget(struct syncd *sd);
/* To all who are members: our head, if it is another than they heard. */
void syncd_talk_tell(struct syncd *sd);

/* syncd_domain_api.c */
json_t *syncd_domain_show(void *arg);
json_t *syncd_domain_log(void *arg);
int syncd_domain_do(void *arg, const struct api_domain_ask *ask, json_t *out,
    struct err *err);

#endif
