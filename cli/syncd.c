/*
 * The daemon's loop; see syncd.h.
 */
#include "cli/syncd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "cli/config_file.h"
#include "cli/syncd_domain.h"
#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"

/* After this many steps memory is given back, once fewer than a tenth of them
 * came in SYNCD_TRIM_MS. */
#define SYNCD_TRIM_STEPS 1000u
#define SYNCD_TRIM_MS 3000u
#define SYNCD_STOP_MS 10000u /* then we end as we are: all is crash-safe */

struct now
syncd_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct now){ .mono_ns = uv_hrtime(),
		.wall_ns = (int64_t)ts.tv_sec * (int64_t)CLOCK_S + ts.tv_nsec };
}

/* --- Log --- */

/* Under journald each line says its level; else it says the time. */
static void
syncd_log(void *arg, enum log_level level, const char *line)
{
	static const char *const prefix[] = { "<3>", "<4>", "<6>", "<7>" };
	struct syncd *sd = arg;
	char when[32];

	(void)sd;
	if (getenv("JOURNAL_STREAM") != NULL) {
		fprintf(stderr, "%s%s\n", prefix[level], line);
		return;
	}
	clock_rfc3339(syncd_now().wall_ns, when);
	fprintf(stderr, "%s %-5s %s\n", when, log_level_name(level), line);
}

/* --- Stepping --- */

static void
syncd_on_timer(uv_timer_t *timer)
{
	struct event ev = { .kind = EVENT_TICK };

	syncd_step(timer->data, &ev);
}

static void
syncd_set_timer(struct syncd *sd, uint64_t at_ns)
{
	if (at_ns == sd->timer_at_ns && uv_is_active((uv_handle_t *)&sd->timer))
		return;
	sd->timer_at_ns = at_ns;
	timer_uv_arm(&sd->timer, syncd_on_timer, at_ns);
}

static void
syncd_do(struct syncd *sd, const struct effect *ef)
{
	switch (ef->kind) {
	case EFFECT_SEND:
		syncd_send(sd, ef);
		return;
	case EFFECT_DROP_PEER:
		syncd_drop(sd, ef);
		return;
	case EFFECT_COMMIT:
		syncd_commit(sd, ef);
		return;
	case EFFECT_WATCH:
		syncd_watch(sd, ef);
		return;
	case EFFECT_NOTE:
		syncd_note(sd, ef);
		return;
	case EFFECT_OPEN_FOLDER:
	case EFFECT_CLOSE_FOLDER:
	case EFFECT_CHECK_ROOT:
	case EFFECT_MAKE_MARKER:
	case EFFECT_LIST_DIR:
	case EFFECT_STAT:
	case EFFECT_HASH_FILE:
	case EFFECT_READ_FILE:
	case EFFECT_READ_BLOCK:
	case EFFECT_CHUNK_FILE:
	case EFFECT_WRITE_TEMP:
	case EFFECT_COPY_TEMP:
	case EFFECT_CHECK_TEMP:
	case EFFECT_SEAL_TEMP:
	case EFFECT_SYNC_TEMPS:
	case EFFECT_DROP_TEMP:
	case EFFECT_LIST_TEMPS:
	case EFFECT_FINISH_FILE:
	case EFFECT_MAKE_LINK:
	case EFFECT_MAKE_DIR:
	case EFFECT_MOVE:
	case EFFECT_REMOVE:
	case EFFECT_SET_META:
	case EFFECT_PUT_BACK:
	case EFFECT_KEEP_VERSION:
	case EFFECT_CLEAN_TRASH:
	case EFFECT_SYNC_DIRS:
		syncd_disk_effect(sd, ef);
		return;
	}
}

static void
syncd_step_once(struct syncd *sd, struct event *ev)
{
	struct effects out;

	ev->now = syncd_now();
	engine_step(sd->en, ev, &out);
	for (size_t i = 0; i < out.count; i++)
		syncd_do(sd, &out.item[i]);
	syncd_set_timer(sd, out.wake_at_ns);
}

/* Work comes in bursts: when one is over its memory goes back. */
static void
syncd_on_trim(uv_timer_t *timer)
{
	struct syncd *sd = timer->data;

	if (sd->steps - sd->steps_then > SYNCD_TRIM_STEPS / 10) {
		sd->steps_then = sd->steps;
		uv_timer_start(timer, syncd_on_trim, SYNCD_TRIM_MS, 0);
		return;
	}
	sd->steps = sd->steps_then = 0;
	syncd_rest(sd);
}

void
syncd_step(struct syncd *sd, struct event *ev)
{
	if (++sd->steps >= SYNCD_TRIM_STEPS &&
	    !uv_is_active((uv_handle_t *)&sd->trim_timer)) {
		sd->steps_then = sd->steps;
		uv_timer_start(&sd->trim_timer, syncd_on_trim, SYNCD_TRIM_MS,
		    0);
	}
	/* Doors never call back from inside a call of ours. */
	ASSERT(!sd->stepping);
	sd->stepping = true;
	syncd_step_once(sd, ev);
	while (sd->answer.len > 0) {
		const struct syncd_answer a = sd->answer.item[--sd->answer.len];
		struct event done = { .kind = EVENT_DONE };

		done.u.done.id = a.id;
		done.u.done.code = a.code;
		if (a.code != 0)
			done.u.done.text = slice_str(err_name(a.code));
		syncd_step_once(sd, &done);
	}
	sd->stepping = false;
	if (sd->reload_due) {
		struct err err = { 0 };

		sd->reload_due = false;
		if (syncd_reload(sd, &err) < 0)
			log_error(&sd->log, "syncd reload: %s", err.text);
	}
}

/* --- Configuration --- */

static int32_t
syncd_zone(void)
{
	const time_t t = time(NULL);
	struct tm tm;

	return localtime_r(&t, &tm) == NULL ? 0 : (int32_t)tm.tm_gmtoff;
}

/* The log may say who we shall be; until then we are who we are. */
static void
syncd_stay_self(struct setup *su, struct arena *ar)
{
	struct setup_former *list =
	    arena_array(ar, su->former_count, sizeof(*list));
	uint32_t kept = 0;

	for (uint32_t i = 0; i < su->former_count; i++)
		if (!devid_equal(&su->former[i].was, &su->self))
			list[kept++] = su->former[i];
	su->former = list;
	su->former_count = kept;
}

static int
syncd_read_config(struct syncd *sd, struct err *err)
{
	const int at = 1 - sd->cfg_at;
	struct config cfg;
	int rc;

	arena_clear(&sd->cfg_arena[at]);
	rc = config_file_load(&sd->home, &sd->cfg_arena[at], &cfg, NULL, NULL,
	    err);
	if (rc < 0)
		return rc;
	cfg.setup.self = *identity_devid(sd->identity);
	syncd_stay_self(&cfg.setup, &sd->cfg_arena[at]);
	cfg.setup.zone_s = syncd_zone();
	if (getrandom(&cfg.setup.seed, sizeof(cfg.setup.seed), 0) !=
		(ssize_t)sizeof(cfg.setup.seed) ||
	    getrandom(&cfg.setup.hash_seed, sizeof(cfg.setup.hash_seed), 0) !=
		(ssize_t)sizeof(cfg.setup.hash_seed))
		return err_sys(err, errno, "random numbers");
	if (sd->coord_only)
		cfg.setup.folder_count = 0;
	sd->cfg = cfg;
	sd->cfg_at = at;
	sd->log.level = sd->log_is_forced ? sd->log_forced : sd->cfg.log_level;
	return 0;
}

static void
syncd_put_event(struct syncd *sd, enum events_type type, const char *text)
{
	const struct events_item item = { .type = type,
		.wall_ns = syncd_now().wall_ns,
		.text = slice_str(text) };

	events_put(sd->events, &item);
}

int
syncd_reload(struct syncd *sd, struct err *err)
{
	struct event ev = { .kind = EVENT_SETUP };
	const int was_at = sd->cfg_at;
	const struct config was = sd->cfg;
	int rc;

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)(uv_hrtime() / 1000));
	rc = syncd_read_config(sd, err);
	if (rc == 0) {
		rc = syncd_net_configure(sd, err);
		if (rc < 0) {
			sd->cfg = was;
			sd->cfg_at = was_at;
		}
	}
	sd_notify(0, "READY=1");
	sd->cfg_error_wall_ns = syncd_now().wall_ns;
	snprintf(sd->cfg_error, sizeof(sd->cfg_error), "%s",
	    rc < 0 && err != NULL ? err->text : "");
	if (rc < 0) {
		syncd_put_event(sd, EVENTS_CONFIG_REFUSED, sd->cfg_error);
		return rc;
	}
	ev.u.setup = sd->cfg.setup;
	syncd_sweep(sd);
	syncd_step(sd, &ev);
	syncd_rewatch(sd);
	syncd_forward_judge(sd);
	syncd_put_event(sd, EVENTS_CONFIG_LOADED, "");
	return 0;
}

/* --- Stopping --- */

static void
syncd_stop_if_closed(struct syncd *sd)
{
	if (!sd->stopping || !sd->net_closed || !syncd_disk_is_idle(sd))
		return;
	uv_stop(sd->loop);
}

static void
syncd_on_stop_check(uv_timer_t *timer)
{
	struct syncd *sd = timer->data;

	if (uv_hrtime() - sd->stop_at_ns > SYNCD_STOP_MS * CLOCK_MS) {
		log_warn(&sd->log, "syncd stop: not everything closed in time");
		uv_stop(sd->loop);
		return;
	}
	syncd_stop_if_closed(sd);
}

static void
syncd_on_net_closed(void *arg)
{
	struct syncd *sd = arg;

	sd->net_closed = true;
	sd->net = NULL;
}

void
syncd_stop(struct syncd *sd)
{
	struct event ev = { .kind = EVENT_SETUP };

	if (sd->stopping)
		return;
	sd->stopping = true;
	sd_notify(0, "STOPPING=1");
	log_info(&sd->log, "syncd stop");
	syncd_put_event(sd, EVENTS_STOPPING, "");
	/* No folder is configured any more: the engine closes them all. */
	ev.u.setup = sd->cfg.setup;
	ev.u.setup.folder_count = 0;
	syncd_step(sd, &ev);
	sd->stop_at_ns = uv_hrtime();
	/* Between two keys the net is gone, or closes by itself. */
	if (sd->net != NULL)
		net_close(sd->net, syncd_on_net_closed, sd);
	else if (sd->domain->successor == NULL)
		sd->net_closed = true;
	uv_timer_start(&sd->stop_timer, syncd_on_stop_check, 5, 5);
}

static void
syncd_on_signal(uv_signal_t *handle, int signum)
{
	struct syncd *sd = handle->data;
	struct err err = { 0 };

	if (signum != SIGHUP) {
		syncd_stop(sd);
		return;
	}
	if (syncd_reload(sd, &err) < 0)
		log_error(&sd->log, "syncd reload: %s", err.text);
}

/* --- Opening and closing --- */

static int
syncd_lock(struct syncd *sd, struct err *err)
{
	sd->lock_fd = open(sd->home.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (sd->lock_fd < 0)
		return err_sys(err, errno, "open %s", sd->home.lock);
	if (flock(sd->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, ERR_BUSY,
		    "another syncd runs on %s; stop it first, or use "
		    "another --home",
		    sd->home.state_dir);
	return 0;
}

static void
syncd_start_handles(struct syncd *sd)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

	uv_timer_init(sd->loop, &sd->timer);
	uv_timer_init(sd->loop, &sd->stop_timer);
	uv_timer_init(sd->loop, &sd->trim_timer);
	uv_timer_init(sd->loop, &sd->admit_timer);
	sd->admit_timer.data = sd->timer.data = sd->stop_timer.data =
	    sd->trim_timer.data = sd;
	sd->timer_at_ns = CLOCK_NEVER;
	for (int i = 0; i < 3; i++) {
		uv_signal_init(sd->loop, &sd->signal[i]);
		sd->signal[i].data = sd;
		uv_signal_start(&sd->signal[i], syncd_on_signal, signals[i]);
	}
}

int
syncd_open(struct syncd *sd, const char *home, struct err *err)
{
	struct event ev = { .kind = EVENT_START };
	char id[DEVID_TEXT_LEN + 1];
	int rc;

	sd->lock_fd = -1;
	sd->log = (struct log){ .level = sd->log_is_forced ? sd->log_forced
							   : LOG_INFO,
		.write = syncd_log,
		.arg = sd };
	arena_init(&sd->cfg_arena[0]);
	arena_init(&sd->cfg_arena[1]);
	arena_init(&sd->pending_arena);
	umap_init(&sd->sent);
	umask(0077);
	rc = home_init(&sd->home, home, err);
	if (rc == 0)
		rc = home_make(&sd->home, err);
	if (rc == 0 && mkdir(sd->home.index_dir, 0700) < 0 && errno != EEXIST)
		rc = err_sys(err, errno, "make %s", sd->home.index_dir);
	if (rc == 0)
		rc = syncd_lock(sd, err);
	if (rc == 0)
		rc = identity_open_or_make(&sd->identity, sd->home.state_dir,
		    err);
	if (rc == 0)
		rc = syncd_domain_open(sd, err);
	if (rc == 0)
		rc = syncd_read_config(sd, err);
	if (rc == 0)
		rc = syncd_sandbox_open(sd, err);
	if (rc < 0)
		return rc;
	/* Behind the filter: libuv 1.50 makes an io_uring with its loop, and
	 * ends the program when it may not use what it could make. */
	sd->loop = uv_default_loop();
	sd->started_wall_ns = syncd_now().wall_ns;
	sd->events = events_new();
	sd->en = engine_new(&sd->log);
	rc = syncd_disk_open(sd);
	if (rc == 0) {
		syncd_start_handles(sd);
		syncd_forward_open(sd);
		rc = syncd_net_open(sd, err);
	}
	if (rc == 0)
		syncd_domain_hook(sd);
	if (rc == 0)
		rc = syncd_api_open(sd, err);
	if (rc < 0)
		return rc;
	devid_text(&sd->cfg.setup.self, id);
	log_info(&sd->log, "syncd start version=%s id=%s", HOLDFAST_VERSION,
	    id);
	syncd_put_event(sd, EVENTS_STARTED, HOLDFAST_VERSION);
	syncd_sweep(sd);
	ev.u.setup = sd->cfg.setup;
	syncd_step(sd, &ev);
	sd_notify(0, "READY=1");
	return 0;
}

int
syncd_run(struct syncd *sd)
{
	uv_run(sd->loop, UV_RUN_DEFAULT);
	return sd->exit_code;
}

static void
syncd_close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void
syncd_close(struct syncd *sd)
{
	if (sd->server != NULL)
		api_server_close(sd->server, NULL, NULL);
	syncd_forward_close(sd);
	if (sd->watch != NULL)
		watch_uv_close(sd->watch, NULL, NULL);
	/* Their handles close in a few turns; ours with them. */
	for (int i = 0; i < 8; i++)
		uv_run(sd->loop, UV_RUN_NOWAIT);
	uv_walk(sd->loop, syncd_close_handle, NULL);
	uv_run(sd->loop, UV_RUN_NOWAIT);
	if (sd->disk != NULL && disk_uv_idle(sd->disk) &&
	    pool_uv_idle(sd->pool)) {
		disk_uv_free(sd->disk);
		pool_uv_free(sd->pool);
		syncd_sandbox_close(sd);
	}
	syncd_domain_close(sd);
	engine_free(sd->en);
	api_free(sd->api);
	events_free(sd->events);
	identity_close(sd->identity);
	for (size_t i = 0; i < sd->folder.len; i++)
		mem_free(sd->folder.item[i].id);
	for (struct umap_item *it = NULL;
	     (it = umap_next(&sd->sent, it)) != NULL;)
		mem_free(it->value);
	umap_fini(&sd->sent);
	VEC_FINI(&sd->folder);
	VEC_FINI(&sd->answer);
	VEC_FINI(&sd->pending);
	VEC_FINI(&sd->admit);
	VEC_FINI(&sd->seen);
	arena_fini(&sd->cfg_arena[0]);
	arena_fini(&sd->cfg_arena[1]);
	arena_fini(&sd->pending_arena);
	if (sd->lock_fd >= 0)
		close(sd->lock_fd);
	home_fini(&sd->home);
}
