/*
 * Where a node's files are, by option and environment; see home.h.
 */
#include "cli/home.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"

/* `a`/`b`, owned. */
static char *
home_join(const char *a, const char *b)
{
	const size_t len = strlen(a) + strlen(b) + 2;
	char *out = mem_alloc(len);

	snprintf(out, len, "%s/%s", strcmp(a, "/") == 0 ? "" : a, b);
	return out;
}

/* Absolute; links resolved as far as the path exists.  Owned. */
static char *
home_absolute(const char *dir, struct err *err)
{
	char *real = realpath(dir, NULL);
	char *cwd = NULL;
	char *out;

	if (real == NULL && dir[0] != '/') {
		cwd = realpath(".", NULL);
		if (cwd == NULL) {
			err_sys(err, errno, "current directory");
			return NULL;
		}
	}
	if (real != NULL)
		out = mem_strdup(real);
	else
		out = cwd == NULL ? mem_strdup(dir) : home_join(cwd, dir);
	for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--)
		out[n - 1] = '\0';
	free(real);
	free(cwd);
	return out;
}

/* $VAR/holdfast, or $HOME/fallback/holdfast.  Relative values are ignored, as
 * the XDG specification says. */
static char *
home_xdg(const char *user_home, const char *var, const char *fallback)
{
	const char *base = getenv(var);
	char *dir;
	char *out;

	if (base != NULL && base[0] == '/')
		return home_join(base, "holdfast");
	if (fallback == NULL)
		return NULL;
	dir = home_join(user_home, fallback);
	out = home_join(dir, "holdfast");
	mem_free(dir);
	return out;
}

static int
home_find_user(struct home *home, struct err *err)
{
	const char *dir = getenv("HOME");
	char host[256] = "";

	if (dir == NULL || dir[0] != '/') {
		const struct passwd *pw = getpwuid(getuid());

		dir = pw == NULL ? NULL : pw->pw_dir;
	}
	if (dir == NULL || dir[0] != '/')
		return err_set(err, ERR_INVALID,
		    "no home directory: set HOME, or use --home DIR");
	home->user_home = home_absolute(dir, err);
	if (gethostname(host, sizeof(host) - 1) < 0 || host[0] == '\0')
		snprintf(host, sizeof(host), "holdfast");
	host[strcspn(host, ".")] = '\0';
	home->host = mem_strdup(host);
	return home->user_home == NULL ? ERR_INVALID : 0;
}

int
home_init(struct home *home, const char *dir, struct err *err)
{
	struct sockaddr_un un;
	int rc;

	memset(home, 0, sizeof(*home));
	rc = home_find_user(home, err);
	if (rc < 0)
		goto out;
	if (dir != NULL) {
		home->state_dir = home_absolute(dir, err);
		if (dir[0] == '\0' || home->state_dir == NULL) {
			rc = err_set(err, ERR_INVALID,
			    "--home wants a directory");
			goto out;
		}
		home->config_dir = mem_strdup(home->state_dir);
		home->run_dir = mem_strdup(home->state_dir);
	} else {
		home->config_dir =
		    home_xdg(home->user_home, "XDG_CONFIG_HOME", ".config");
		home->state_dir =
		    home_xdg(home->user_home, "XDG_STATE_HOME", ".local/state");
		home->run_dir =
		    home_xdg(home->user_home, "XDG_RUNTIME_DIR", NULL);
		if (home->run_dir == NULL)
			home->run_dir = mem_strdup(home->state_dir);
	}
	home->config = home_join(home->config_dir, "config");
	home->index_dir = home_join(home->state_dir, "index");
	home->coord_dir = home_join(home->state_dir, "coord");
	home->lock = home_join(home->state_dir, "syncd.lock");
	home->socket = home_join(home->run_dir, "syncd.sock");
	if (strlen(home->socket) >= sizeof(un.sun_path))
		rc = err_set(err, ERR_INVALID,
		    "the path of the socket is too long, at most %zu bytes "
		    "are possible: %s",
		    sizeof(un.sun_path) - 1, home->socket);
out:
	if (rc < 0)
		home_fini(home);
	return rc;
}

void
home_fini(struct home *home)
{
	mem_free(home->config_dir);
	mem_free(home->config);
	mem_free(home->state_dir);
	mem_free(home->index_dir);
	mem_free(home->coord_dir);
	mem_free(home->lock);
	mem_free(home->run_dir);
	mem_free(home->socket);
	mem_free(home->user_home);
	mem_free(home->host);
	memset(home, 0, sizeof(*home));
}

/* mkdir -p; new directories have mode 0700. */
static int
home_make_dir(const char *dir, struct err *err)
{
	char *path = mem_strdup(dir);
	int rc = 0;

	for (char *p = path + 1; rc == 0; p++) {
		const char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			rc = err_sys(err, errno, "make directory %s", path);
		*p = c;
		if (c == '\0')
			break;
	}
	mem_free(path);
	return rc;
}

int
home_make(const struct home *home, struct err *err)
{
	int rc;

	rc = home_make_dir(home->config_dir, err);
	if (rc == 0)
		rc = home_make_dir(home->state_dir, err);
	if (rc == 0)
		rc = home_make_dir(home->run_dir, err);
	return rc;
}

char *
home_index_of(const struct home *home, const char *id)
{
	const struct hash128 h = hash_u128(slice_str(id));
	const size_t len =
	    strlen(home->index_dir) + 1 + HOME_INDEX_NAME_LEN + 1;
	char *dir = mem_alloc(len);

	snprintf(dir, len, "%s/%016llx%016llx", home->index_dir,
	    (unsigned long long)h.hi, (unsigned long long)h.lo);
	return dir;
}
