/* This machine and this node, as they are for us.  See cmd_doctor.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd_doctor.h"
#include "cli/print.h"
#include "cli/sandbox.h"
#include "engine/base/limits.h"
#include "mesh/identity.h"

/* No clock that is right shows less: this was written then. */
#define DOCTOR_EPOCH_S 1767225600 /* 2026-01-01 */
/* Descriptors that are not folders or devices: the loop, the API, LMDB, jobs'
 * open files. */
#define DOCTOR_FDS 200u
#define DOCTOR_FDS_FOLDER 8u

/* --- The home --- */

/* The directory, or what is there of its path. */
static const char *
cmd_doctor_nearest(struct arena *ar, const char *dir)
{
	char *at = arena_str(ar, slice_str(dir));

	while (access(at, F_OK) < 0 && errno == ENOENT) {
		char *slash = strrchr(at, '/');

		if (slash == NULL || slash == at)
			return "/";
		*slash = '\0';
	}
	return at;
}

/* Can files be made in `dir`?  Else what that means: `lost`. */
static bool
cmd_doctor_writable(struct cmd_doctor *d, const char *dir,
    enum doctor_state state, const char *lost)
{
	const char *there = cmd_doctor_nearest(&d->call->ar, dir);
	const char *todo = "run this as the user of syncd, or chown it";

	if (faccessat(AT_FDCWD, there, W_OK | X_OK, AT_EACCESS) == 0)
		return true;
	if (errno == EROFS)
		todo = "mount it writable, or name another home: --home DIR";
	cmd_doctor_add(d, state, "home", dir, todo, "cannot be written: %s; %s",
	    strerror(errno), lost);
	return false;
}

void
cmd_doctor_home(struct cmd_doctor *d)
{
	const struct home *home = &d->call->home;
	bool good = cmd_doctor_writable(d, home->state_dir, DOCTOR_FAIL,
	    "syncd can keep neither keys nor what it knows of the folders");

	/* With --home all three are one. */
	if (strcmp(home->config_dir, home->state_dir) != 0)
		good &= cmd_doctor_writable(d, home->config_dir, DOCTOR_WARN,
		    "syncctl and syncd cannot change the configuration");
	if (strcmp(home->run_dir, home->state_dir) != 0)
		good &= cmd_doctor_writable(d, home->run_dir, DOCTOR_FAIL,
		    "syncd can make no socket for syncctl");
	if (good)
		cmd_doctor_add(d, DOCTOR_OK, "home", "", NULL, "%s",
		    home->state_dir);
}

/* --- Keys --- */

/* Others may not do with `path` what the bits of `deny` say. */
static void
cmd_doctor_private(struct cmd_doctor *d, const char *path, unsigned deny)
{
	struct stat st;

	if (lstat(path, &st) < 0) {
		if (errno != ENOENT)
			cmd_doctor_add(d, DOCTOR_FAIL, "keys", path, NULL, "%s",
			    strerror(errno));
		return;
	}
	if (st.st_uid != geteuid() && geteuid() != 0)
		cmd_doctor_add(d, DOCTOR_FAIL, "keys", path,
		    "run this as the user of syncd, or give the file to it",
		    "belongs to user %u", (unsigned)st.st_uid);
	else if (!S_ISLNK(st.st_mode) && (st.st_mode & deny) != 0)
		cmd_doctor_add(d, DOCTOR_FAIL, "keys", path,
		    arena_printf(&d->call->ar, "chmod %o %s",
			st.st_mode & 0777 & ~deny, path),
		    "open to others, mode %o", st.st_mode & 0777);
}

void
cmd_doctor_keys(struct cmd_doctor *d)
{
	const struct home *home = &d->call->home;
	struct arena *ar = &d->call->ar;
	const size_t before = d->line.len;
	const char *key = arena_printf(ar, "%s/key.pem", home->state_dir);
	struct identity *identity = NULL;
	struct err err = { 0 };
	char id[DEVID_TEXT_LEN + 1];

	if (access(key, F_OK) < 0 && errno == ENOENT) {
		cmd_doctor_add(d, DOCTOR_WARN, "keys", "", "syncctl id",
		    "no identity yet: it is made at the first start");
		return;
	}
	cmd_doctor_private(d, key, 077);
	cmd_doctor_private(d, home->index_dir, 077); /* names of files */
	cmd_doctor_private(d, home->socket, 077);    /* commands */
	/* Who may write here may put another key in its place. */
	cmd_doctor_private(d, home->state_dir, 022);
	if (strcmp(home->config_dir, home->state_dir) != 0)
		cmd_doctor_private(d, home->config_dir, 022);
	if (identity_open(&identity, home->state_dir, &err) < 0) {
		cmd_doctor_add(d, DOCTOR_FAIL, "keys", "",
		    "restore cert.pem and key.pem from a copy", "%s", err.text);
		return;
	}
	if (d->line.len == before) {
		devid_text(identity_devid(identity), id);
		cmd_doctor_add(d, DOCTOR_OK, "keys", "", NULL, "%s", id);
	}
	identity_close(identity);
}

/* --- Sandbox --- */

static void
cmd_doctor_sandbox_off(struct cmd_doctor *d, const char *fence,
    const json_t *state)
{
	cmd_doctor_add(d, DOCTOR_WARN, "sandbox", fence,
	    "a kernel with it; in a container, a profile that lets it through",
	    "not there: %s", cmd_text(state, "why"));
}

/* Without the daemon: what it will find. */
static void
cmd_doctor_sandbox_ahead(struct cmd_doctor *d)
{
	const int abi = sandbox_landlock_abi();

	if (abi < 2 || !sandbox_seccomp_is_there())
		cmd_doctor_add(d, DOCTOR_WARN, "sandbox", "", NULL,
		    "this kernel has %s%s%s",
		    sandbox_seccomp_is_there() ? "seccomp" : "no seccomp", ", ",
		    abi < 2 ? "no Landlock that would do" : "Landlock");
	else
		cmd_doctor_add(d, DOCTOR_OK, "sandbox", "", NULL,
		    "when syncd starts: seccomp, Landlock ABI %d", abi);
}

void
cmd_doctor_sandbox(struct cmd_doctor *d)
{
	const json_t *box = json_object_get(d->self, "sandbox");
	const json_t *seccomp = json_object_get(box, "seccomp");
	const json_t *landlock = json_object_get(box, "landlock");
	const bool off = strcmp(cmd_text(box, "mode"), "off") == 0;

	if (d->self == NULL) {
		cmd_doctor_sandbox_ahead(d);
		return;
	}
	if (d->has_cfg && off != (d->cfg.sandbox == SANDBOX_OFF))
		cmd_doctor_add(d, DOCTOR_WARN, "sandbox", "", "restart syncd",
		    "node.sandbox was changed since it started");
	if (off) {
		cmd_doctor_add(d, DOCTOR_WARN, "sandbox", "",
		    "syncctl config unset node.sandbox, then restart syncd",
		    "switched off");
		return;
	}
	if (!cmd_bool(seccomp, "on"))
		cmd_doctor_sandbox_off(d, "seccomp", seccomp);
	if (!cmd_bool(landlock, "on"))
		cmd_doctor_sandbox_off(d, "Landlock", landlock);
	if (cmd_int(box, "denied") > 0)
		cmd_doctor_add(d, DOCTOR_WARN, "sandbox", "",
		    "report it; node.sandbox = off goes on without",
		    "refused %lld system calls: %s",
		    (long long)cmd_int(box, "denied"),
		    cmd_text(box, "denied_names"));
	else if (cmd_bool(seccomp, "on") && cmd_bool(landlock, "on"))
		cmd_doctor_add(d, DOCTOR_OK, "sandbox", "", NULL,
		    "seccomp, Landlock ABI %lld",
		    (long long)cmd_int(landlock, "level"));
}

/* --- Clock --- */

void
cmd_doctor_clock(struct cmd_doctor *d)
{
	struct timex tx = { 0 };
	const int state = adjtimex(&tx);
	const time_t now = time(NULL);
	char text[64];
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M %Z", &tm);
	if (now < DOCTOR_EPOCH_S)
		cmd_doctor_add(d, DOCTOR_FAIL, "clock", "",
		    "set the clock: timedatectl set-ntp true",
		    "%s is in the past; conflicts are decided by time", text);
	else if (state < 0 || state == TIME_ERROR ||
		 (tx.status & STA_UNSYNC) != 0)
		cmd_doctor_add(d, DOCTOR_WARN, "clock", "",
		    "timedatectl set-ntp true",
		    "%s, kept right by nobody that the kernel knows of", text);
	else
		cmd_doctor_add(d, DOCTOR_OK, "clock", "", NULL,
		    "%s, synchronised", text);
}

/* --- Watches --- */

/* A number of the kernel's; -1 when there is none. */
static int64_t
cmd_doctor_number(const char *path)
{
	FILE *f = fopen(path, "re");
	long long n = -1;

	if (f == NULL)
		return -1;
	if (fscanf(f, "%lld", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

void
cmd_doctor_watches(struct cmd_doctor *d)
{
	const int64_t limit =
	    cmd_doctor_number("/proc/sys/fs/inotify/max_user_watches");
	const json_t *f;
	int64_t need = 0;
	size_t i;

	json_array_foreach(json_object_get(d->status, "folders"), i, f)
		need += 1 + cmd_int(json_object_get(f, "local"), "dirs");
	if (limit < 0)
		cmd_doctor_add(d, DOCTOR_WARN, "watches", "", NULL,
		    "this kernel tells no limit of inotify");
	else if (need > limit)
		cmd_doctor_add(d, DOCTOR_WARN, "watches", "",
		    arena_printf(&d->call->ar,
			"sysctl fs.inotify.max_user_watches=%lld",
			(long long)(need * 2 + 8192)),
		    "%lld directories, but only %lld may be watched",
		    (long long)need, (long long)limit);
	else if (d->status == NULL)
		cmd_doctor_add(d, DOCTOR_OK, "watches", "", NULL,
		    "%lld allowed", (long long)limit);
	else
		cmd_doctor_add(d, DOCTOR_OK, "watches", "", NULL,
		    "%lld of %lld in use",
		    (long long)cmd_int(d->self, "watches"), (long long)limit);
}

/* --- Descriptors --- */

void
cmd_doctor_descriptors(struct cmd_doctor *d)
{
	const uint64_t need = DOCTOR_FDS + LIMIT_HALF_OPEN +
			      (d->has_cfg ? d->cfg.setup.device_count : 0) +
			      (d->has_cfg ? d->cfg.setup.folder_count : 0) *
				  (uint64_t)DOCTOR_FDS_FOLDER;
	struct rlimit own = { 0 };
	uint64_t limit, used = 0;

	getrlimit(RLIMIT_NOFILE, &own);
	limit = own.rlim_cur;
	if (d->self != NULL) {
		limit = (uint64_t)cmd_int(d->self, "fd_limit");
		used = (uint64_t)cmd_int(d->self, "fd_used");
	}
	if (limit < need || used > limit / 10 * 8)
		cmd_doctor_add(d, DOCTOR_WARN, "descriptors", "",
		    "raise it: ulimit -n 65536, or LimitNOFILE= in the unit",
		    "%llu in use, %llu allowed, up to %llu needed",
		    (unsigned long long)used, (unsigned long long)limit,
		    (unsigned long long)need);
	else
		cmd_doctor_add(d, DOCTOR_OK, "descriptors", "", NULL,
		    "%llu of %llu in use", (unsigned long long)used,
		    (unsigned long long)limit);
}

/* --- Ports --- */

static void
cmd_doctor_coordinators(struct cmd_doctor *d)
{
	const json_t *item;
	size_t i;

	const json_t *own = json_object_get(d->status, "coordinator");

	if (json_is_object(own))
		cmd_doctor_add(d, DOCTOR_OK, "coordinator", "", NULL,
		    "serving at %s: %lld domains, %lld members here",
		    cmd_text(own, "listen"),
		    (long long)cmd_int(own, "domain_count"),
		    (long long)cmd_int(own, "members"));
	json_array_foreach(json_object_get(d->status, "coordinators"), i,
	    item) {
		const char *why = cmd_text(item, "error");
		const char *at =
		    print_safe(&d->call->ar, cmd_text(item, "address"));

		if (cmd_bool(item, "up"))
			cmd_doctor_add(d, DOCTOR_OK, "coordinator", at, NULL,
			    "it knows where this device is");
		else
			cmd_doctor_add(d, DOCTOR_WARN, "coordinator", at,
			    "syncctl config get mesh.coordinator", "%s",
			    print_safe(&d->call->ar, why));
	}
}

void
cmd_doctor_ports(struct cmd_doctor *d)
{
	const json_t *listen = json_object_get(d->status, "listen");
	const json_t *own = json_object_get(d->status, "relay");
	const json_t *relays = json_object_get(d->status, "relays");
	const char *lan = cmd_text(d->status, "announce_error");
	struct arena *ar = &d->call->ar;
	const char *all = NULL;
	const json_t *item;
	size_t i;

	if (d->status == NULL)
		return;
	json_array_foreach(listen, i, item)
		all = arena_printf(ar, "%s%s%s", all == NULL ? "" : all,
		    all == NULL ? "" : ", ", json_string_value(item));
	if (d->has_cfg && json_array_size(listen) + json_array_size(relays) <
			      d->cfg.mesh.listen_count)
		cmd_doctor_add(d, DOCTOR_FAIL, "ports", "",
		    "ss -ltnp: who has the port?",
		    "listening at %s, but %zu are configured",
		    all == NULL ? "nothing" : all, d->cfg.mesh.listen_count);
	else
		cmd_doctor_add(d, DOCTOR_OK, "ports", "", NULL, "%s",
		    all == NULL ? "none: others cannot connect here" : all);
	if (lan[0] != '\0')
		cmd_doctor_add(d, DOCTOR_WARN, "discovery", "",
		    "ss -lunp: who has the port?", "%s", lan);
	else if (cmd_bool(d->status, "announcing"))
		cmd_doctor_add(d, DOCTOR_OK, "discovery", "", NULL,
		    "on the local network");
	if (json_is_object(own))
		cmd_doctor_add(d, DOCTOR_OK, "relay", "", NULL,
		    "serving at %s: %lld wait, %lld sessions",
		    cmd_text(own, "listen"), (long long)cmd_int(own, "members"),
		    (long long)cmd_int(own, "sessions"));
	json_array_foreach(relays, i, item) {
		const char *why = cmd_text(item, "error");
		const char *relay = print_safe(ar, cmd_text(item, "address"));

		if (!cmd_bool(item, "joined"))
			cmd_doctor_add(d, DOCTOR_WARN, "relay", relay,
			    "syncctl config get mesh.listen", "%s",
			    why[0] != '\0' ? print_safe(ar, why)
					   : "no answer yet");
		else
			cmd_doctor_add(d, DOCTOR_OK, "relay", relay, NULL,
			    "others can ask for this device there");
	}
	json_array_foreach(json_object_get(d->status, "discovery"), i, item) {
		const char *why = cmd_text(item, "error");
		const char *server = print_safe(ar, cmd_text(item, "server"));

		if (why[0] != '\0')
			cmd_doctor_add(d, DOCTOR_WARN, "discovery", server,
			    "syncctl config get mesh.discovery", "%s",
			    print_safe(ar, why));
		else
			cmd_doctor_add(d, DOCTOR_OK, "discovery", server, NULL,
			    cmd_bool(item, "announced")
				? "it knows where this device is"
				: "asked for others only, so far");
	}
	cmd_doctor_coordinators(d);
}
