/*
 * syncctl doctor: is everything around Holdfast as it should be?
 *
 * A list of checks; each adds lines: ok, warn or fail, what was seen, and what
 * to do.  Everything that can be looked at without the daemon is looked at
 * without it, with the rights of who asks; the daemon adds what only it knows.
 * Nothing is changed, but for files of a moment in a folder's own staging
 * directory.
 */
#ifndef HOLDFAST_CLI_CMD_DOCTOR_H
#define HOLDFAST_CLI_CMD_DOCTOR_H

#include "cli/cmd.h"
#include "engine/base/vec.h"

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_line {
	enum doctor_state state;
	const char *check;   /* "sandbox": never changes its meaning */
	const char *subject; /* a folder's ID, a file; "" */
	const char *what;
	const char *todo; /* NULL when there is nothing to do */
};

/* One examination; texts live in call->ar. */
struct cmd_doctor {
	struct cmd_call *call;
	struct config cfg;
	bool has_cfg;
	json_t *self, *status; /* the daemon's answers; NULL: it is down */
	VEC(struct doctor_line) line;
};

void cmd_doctor_add(struct cmd_doctor *d, enum doctor_state state,
    const char *check, const char *subject, const char *todo, const char *fmt,
    ...) __attribute__((format(printf, 6, 7)));

/* cmd_doctor_host.c: this machine and this node */
void cmd_doctor_home(struct cmd_doctor *d);
void cmd_doctor_keys(struct cmd_doctor *d);
void cmd_doctor_sandbox(struct cmd_doctor *d);
void cmd_doctor_clock(struct cmd_doctor *d);
void cmd_doctor_watches(struct cmd_doctor *d);
void cmd_doctor_descriptors(struct cmd_doctor *d);
void cmd_doctor_ports(struct cmd_doctor *d);

/* cmd_doctor_folder.c: the folders */
void cmd_doctor_folders(struct cmd_doctor *d);
/* Is there a Syncthing at work on one of them? */
void cmd_doctor_syncthing(struct cmd_doctor *d);

#endif
