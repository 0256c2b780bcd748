/*
 * Home: where everything of one node lies.
 *
 * With --home DIR all of it is in DIR.  Without, the XDG places:
 * $XDG_CONFIG_HOME/holdfast (config), $XDG_STATE_HOME/holdfast (cert.pem,
 * key.pem, index/, coord/, syncd.lock), $XDG_RUNTIME_DIR/holdfast (syncd.sock;
 * the state directory when there is no runtime directory).  Under systemd's
 * system manager $STATE_DIRECTORY and $RUNTIME_DIRECTORY are meant by --home.
 */
#ifndef HOLDFAST_CLI_HOME_H
#define HOLDFAST_CLI_HOME_H

#include "engine/base/err.h"

/* Absolute, NUL-terminated; owned. */
struct home {
	char *config_dir;
	char *config;    /* the file */
	char *state_dir; /* cert.pem, key.pem */
	char *index_dir;
	char *coord_dir; /* what our own coordinator keeps */
	char *lock;
	char *run_dir;
	char *socket;
	char *user_home; /* $HOME */
	char *host;      /* host name, without domain */
};

/* `dir` is --home's, or NULL.  Looks at the environment; makes nothing.
 * ERR_INVALID when there is no $HOME, or a path is too long for a socket. */
int home_init(struct home *home, const char *dir, struct err *err);
void home_fini(struct home *home);
/* Make the directories that are missing, mode 0700. */
int home_make(const struct home *home, struct err *err);

/*
 * The directory of a folder's index, owned; there or not.  It is named by a
 * hash, 32 hex digits: folder IDs may hold anything.
 */
#define HOME_INDEX_NAME_LEN 32
char *home_index_of(const struct home *home, const char *id);

#endif
