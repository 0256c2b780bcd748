/*
 * The daemon's sandbox: when it is put up, and how a folder is let in.
 * See syncd.h, sandbox.h.
 *
 * A root is looked at by a worker, because a disk that hangs must not hang the
 * loop; then the workers are renewed.  All roots that come within
 * SYNCD_ADMIT_MS share one renewal, so a start with many folders needs few.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/syncd.h"
#include "engine/base/assert.h"
#include "engine/base/mem.h"

#define SYNCD_ADMIT_MS 20u /* one that hangs keeps others no longer */

/* A root that is looked at before OPEN_FOLDER may open it. */
struct syncd_admit {
	struct job job;
	struct syncd *sd;
	struct effect open, close; /* close.id 0: none came meanwhile */
	char *path, *folder_id;    /* what `open` points to; owned */
	int fd;                    /* O_PATH, of the root; -1: not there */
	bool seen;                 /* the worker is done with it */
};

/* A fence that could not be put up: go on, or do not start. */
static int
syncd_sandbox_miss(struct syncd *sd, const char *fence, const char *why,
    struct err *err)
{
	if (sd->cfg.sandbox == SANDBOX_REQUIRE)
		return err_set(err, ERR_INVALID,
		    "node.sandbox = require, but there is no %s: %s", fence,
		    why);
	log_warn(&sd->log, "sandbox miss fence=%s reason=\"%s\"", fence, why);
	return 0;
}

int
syncd_sandbox_open(struct syncd *sd, struct err *err)
{
	static const char off[] = "node.sandbox is off";
	struct err why = { 0 };
	int rc = 0;

	sd->sandbox_mode = sd->cfg.sandbox;
	if (sd->cfg.sandbox == SANDBOX_OFF) {
		snprintf(sd->seccomp.why, sizeof(off), off);
		snprintf(sd->landlock.why, sizeof(off), off);
		log_warn(&sd->log, "sandbox off");
		return 0;
	}
	/* Threads inherit the filter, and Landlock's gate is one. */
	if (sandbox_seccomp(&sd->seccomp, &why) < 0)
		rc = syncd_sandbox_miss(sd, "seccomp", why.text, err);
	if (rc == 0 &&
	    sandbox_landlock(&sd->sandbox, &sd->home, &sd->landlock, &why) < 0)
		rc = syncd_sandbox_miss(sd, "landlock", why.text, err);
	if (rc == 0)
		log_info(&sd->log, "sandbox up seccomp=%d landlock=%d",
		    sd->seccomp.on, sd->landlock.on ? sd->landlock.level : 0);
	return rc;
}

void
syncd_sandbox_close(struct syncd *sd)
{
	sandbox_landlock_free(sd->sandbox);
	sd->sandbox = NULL;
}

/* --- Letting a folder in --- */

/* Worker: O_PATH is no access, so any thread may. */
static void
syncd_admit_run(struct job *job)
{
	struct syncd_admit *ad = (struct syncd_admit *)(void *)job;

	do
		ad->fd = open(ad->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	while (ad->fd < 0 && errno == EINTR);
}

/* On to the disk, with all that was seen. */
static void
syncd_admit_pass(struct syncd *sd)
{
	for (size_t i = 0; i < sd->admit.len;) {
		struct syncd_admit *ad = sd->admit.item[i];

		if (!ad->seen) {
			i++;
			continue;
		}
		VEC_DROP(&sd->admit, i);
		disk_uv_do(sd->disk, &ad->open);
		if (ad->close.id != 0)
			disk_uv_do(sd->disk, &ad->close);
		mem_free(ad->path);
		mem_free(ad->folder_id);
		mem_free(ad);
	}
}

static void
syncd_admit_all(struct syncd *sd)
{
	struct err err = { 0 };
	bool renew = false;

	uv_timer_stop(&sd->admit_timer);
	for (size_t i = 0; i < sd->admit.len; i++) {
		struct syncd_admit *ad = sd->admit.item[i];

		if (!ad->seen || ad->fd < 0)
			continue;
		sandbox_landlock_put(sd->sandbox, ad->open.folder, ad->fd);
		renew = true;
	}
	if (renew && sandbox_landlock_renew(sd->sandbox, &err) < 0)
		/* The folder halts, "unreadable", and tries again. */
		log_error(&sd->log, "sandbox renew: %s", err.text);
	else if (renew)
		pool_uv_renew(sd->pool);
	syncd_admit_pass(sd);
}

static void
syncd_admit_on_timer(uv_timer_t *timer)
{
	syncd_admit_all(timer->data);
}

static void
syncd_admit_done(struct job *job)
{
	struct syncd_admit *ad = (struct syncd_admit *)(void *)job;
	struct syncd *sd = ad->sd;

	ad->seen = true;
	for (size_t i = 0; i < sd->admit.len; i++)
		if (!sd->admit.item[i]->seen) {
			if (!uv_is_active((uv_handle_t *)&sd->admit_timer))
				uv_timer_start(&sd->admit_timer,
				    syncd_admit_on_timer, SYNCD_ADMIT_MS, 0);
			return;
		}
	syncd_admit_all(sd);
}

static char *
syncd_admit_copy(struct slice *s)
{
	char *copy = mem_zalloc(s->len + 1);

	memcpy(copy, s->ptr, s->len);
	*s = slice_of(copy, s->len);
	return copy;
}

void
syncd_sandbox_do(struct syncd *sd, const struct effect *ef)
{
	struct syncd_admit *ad;

	if (sd->sandbox == NULL) {
		disk_uv_do(sd->disk, ef);
		return;
	}
	if (ef->kind == EFFECT_CLOSE_FOLDER) {
		for (size_t i = 0; i < sd->admit.len; i++) {
			if (sd->admit.item[i]->open.folder != ef->folder)
				continue;
			sd->admit.item[i]->close = *ef;
			return;
		}
		disk_uv_do(sd->disk, ef);
		return;
	}
	ASSERT(ef->kind == EFFECT_OPEN_FOLDER);
	ad = mem_zalloc(sizeof(*ad));
	ad->job.run = syncd_admit_run;
	ad->job.on_done = syncd_admit_done;
	ad->sd = sd;
	ad->open = *ef;
	ad->path = syncd_admit_copy(&ad->open.u.open.path);
	ad->folder_id = syncd_admit_copy(&ad->open.u.open.folder_id);
	*VEC_ADD(&sd->admit) = ad;
	pool_uv_add(sd->pool, &ad->job, JOB_QUICK);
}

void
syncd_sandbox_closed(struct syncd *sd, uint32_t folder)
{
	if (sd->sandbox != NULL)
		sandbox_landlock_remove(sd->sandbox, folder);
}

/* How many entries a directory of the kernel's has. */
static uint64_t
syncd_count_entries(const char *path)
{
	DIR *dir = opendir(path);
	uint64_t n = 0;

	if (dir == NULL)
		return 0;
	for (const struct dirent *de; (de = readdir(dir)) != NULL;)
		n += de->d_name[0] != '.';
	closedir(dir);
	return n;
}

void
syncd_sandbox_self(struct syncd *sd, struct arena *ar, struct api_self *out)
{
	struct rlimit limit = { 0 };
	char *names = arena_str(ar, SLICE_EMPTY);
	char name[64];

	getrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned n = 0; sandbox_seccomp_name(n, name), name[0] != '\0';
	     n++)
		names =
		    arena_printf(ar, "%s%s%s", names, n > 0 ? ", " : "", name);
	*out = (struct api_self){ .pid = getpid(),
		.sandbox = sd->sandbox_mode,
		.seccomp = sd->seccomp,
		.landlock = sd->landlock,
		.denied = sandbox_seccomp_denied(),
		.denied_names = slice_str(names),
		.fd_used = syncd_count_entries("/proc/self/fd"),
		.fd_limit = limit.rlim_cur,
		.watches = watch_uv_count(sd->watch) };
}
