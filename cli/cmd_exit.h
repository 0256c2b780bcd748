/*
 * Exit codes of syncctl: an interface, FEATURES.md E5.  They never change
 * meaning; a code not listed here is a failure.
 */
#ifndef HOLDFAST_CLI_CMD_EXIT_H
#define HOLDFAST_CLI_CMD_EXIT_H

enum cmd_exit {
	CMD_OK = 0,
	CMD_FAILED = 1,
	CMD_USAGE = 2,
	CMD_NO_DAEMON = 3,
	CMD_WORKING = 4,   /* not in sync yet; no problem */
	CMD_ATTENTION = 5, /* works, but a person should look */
	CMD_STOPPED = 6,   /* a folder is halted */
	CMD_TIMEOUT = 7,
	CMD_REFUSED = 8,
	CMD_NOT_FOUND = 9,
	CMD_PARTLY = 10,
	CMD_OFFLINE = 11,
	CMD_NO_DIRECT = 12, /* ping --until-direct: no direct way came up */
	CMD_INTERRUPTED = 130,
};

#endif
