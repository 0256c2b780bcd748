/*
 * The mapper; see portmap_uv.h.
 *
 * A job goes to its thread as an argument and comes back as a pointer in a
 * pipe; whoever has it owns it.  When nobody reads the pipe any more the thread
 * frees it.
 */
#include "mesh/portmap_uv.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"
#include "mesh/router.h"
#include "mesh/udp_uv.h"

#define PORTMAP_UV_CLOSE_NS (2 * CLOCK_S)

struct portmap_uv_job {
	struct portmap_ask ask;
	struct portmap_answer answer;
	struct router_memory memory;
	int fd; /* the job's own end of the pipe */
};

struct portmap_uv {
	struct portmap *pm;
	const struct log *log;
	portmap_uv_change_fn *on_change;
	void *arg;
	uv_timer_t timer;
	uv_poll_t poll;
	struct udp *udp; /* hears what routers announce; NULL: cannot */
	int fd[2];
	struct router_memory memory;
	uint64_t told;
	unsigned handles;
	bool running, closing, closed;
	uint64_t close_by_ns;
	void (*on_closed)(void *);
	void *closed_arg;
};

/* --- the thread ------------------------------------------------------- */

static void *
portmap_uv_run(void *arg)
{
	struct portmap_uv_job *job = arg;
	const int fd = job->fd;

	router_ask(&job->ask, &job->memory, &job->answer);
	/* A pointer is written whole, or not at all (PIPE_BUF). */
	if (write(fd, &job, sizeof(job)) != (ssize_t)sizeof(job))
		mem_free(job);
	close(fd);
	return NULL;
}

static bool
portmap_uv_start(struct portmap_uv *m, const struct portmap_ask *ask)
{
	struct portmap_uv_job *job = mem_zalloc(sizeof(*job));
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	job->ask = *ask;
	job->memory = m->memory;
	job->fd = fcntl(m->fd[1], F_DUPFD_CLOEXEC, 0);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = job->fd < 0 ? errno
			 : pthread_create(&thread, &attr, portmap_uv_run, job);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return true;
	if (job->fd >= 0)
		close(job->fd);
	mem_free(job);
	return false;
}

/* --- ending ----------------------------------------------------------- */

static void
portmap_uv_freed(void *arg)
{
	struct portmap_uv *m = arg;

	struct portmap_uv_job *job;

	if (--m->handles > 0)
		return;
	while (read(m->fd[0], &job, sizeof(job)) == (ssize_t)sizeof(job))
		mem_free(job);
	close(m->fd[0]);
	close(m->fd[1]);
	if (m->on_closed != NULL)
		m->on_closed(m->closed_arg);
	portmap_free(m->pm);
	mem_free(m);
}

static void
portmap_uv_handle_freed(uv_handle_t *handle)
{
	portmap_uv_freed(handle->data);
}

static void
portmap_uv_finish(struct portmap_uv *m)
{
	if (m->closed)
		return;
	m->closed = true;
	uv_close((uv_handle_t *)&m->timer, portmap_uv_handle_freed);
	uv_close((uv_handle_t *)&m->poll, portmap_uv_handle_freed);
	if (m->udp != NULL)
		udp_close(m->udp, portmap_uv_freed, m);
	m->udp = NULL;
}

/* --- the loop --------------------------------------------------------- */

static void portmap_uv_on_timer(uv_timer_t *timer);

static void
portmap_uv_arm(struct portmap_uv *m)
{
	uint64_t at = portmap_wake_at(m->pm);

	if (m->closed)
		return;
	if (m->closing && at == CLOCK_NEVER && !m->running)
		at = 0;
	if (m->closing && at > m->close_by_ns)
		at = m->close_by_ns;
	timer_uv_arm(&m->timer, portmap_uv_on_timer, at);
}

static void
portmap_uv_tell(struct portmap_uv *m)
{
	if (m->told == portmap_changes(m->pm))
		return;
	m->told = portmap_changes(m->pm);
	if (!m->closing)
		m->on_change(m->arg);
}

static void
portmap_uv_on_timer(uv_timer_t *timer)
{
	struct portmap_uv *m = timer->data;
	const uint64_t now_ns = uv_hrtime();
	struct portmap_answer none = { .code = PORTMAP_NOT_NEEDED,
		.why = "no thread" };
	struct portmap_ask ask;

	if (m->closing &&
	    (now_ns >= m->close_by_ns ||
		(!m->running && portmap_wake_at(m->pm) == CLOCK_NEVER))) {
		portmap_uv_finish(m);
		return;
	}
	if (portmap_next(m->pm, now_ns, &ask)) {
		m->running = portmap_uv_start(m, &ask);
		if (!m->running)
			portmap_answered(m->pm, &ask, &none, now_ns);
	}
	portmap_uv_tell(m);
	portmap_uv_arm(m);
}

static void
portmap_uv_note(const struct portmap_uv *m, const struct portmap_uv_job *job)
{
	const struct portmap_answer *a = &job->answer;
	const char *method = portmap_method_text(job->ask.method);
	const char *scheme = addr_scheme_text(job->ask.port.scheme);
	char outer[ADDR_TEXT_MAX];

	addr_text_host(&a->outer, outer);
	if (job->ask.remove)
		log_info(m->log, "portmap close method=%s port=%s:%u", method,
		    scheme, job->ask.port.inner);
	else if (a->code == PORTMAP_GRANTED)
		log_debug(m->log,
		    "portmap open method=%s port=%s:%u outer=%s lease=%u",
		    method, scheme, job->ask.port.inner, outer, a->lease_s);
	else
		log_debug(m->log,
		    "portmap fail method=%s port=%s:%u reason=\"%s\"", method,
		    scheme, job->ask.port.inner, a->why);
}

static void
portmap_uv_on_poll(uv_poll_t *poll, int status, int events)
{
	struct portmap_uv *m = poll->data;
	struct portmap_uv_job *job;

	(void)status;
	(void)events;
	if (read(m->fd[0], &job, sizeof(job)) != (ssize_t)sizeof(job))
		return;
	m->running = false;
	m->memory = job->memory;
	portmap_uv_note(m, job);
	portmap_answered(m->pm, &job->ask, &job->answer, uv_hrtime());
	mem_free(job);
	portmap_uv_tell(m);
	portmap_uv_arm(m);
}

static void
portmap_uv_on_datagram(void *arg, struct slice datagram,
    const struct addr *from)
{
	struct portmap_uv *m = arg;

	portmap_heard(m->pm, datagram, from, uv_hrtime());
	portmap_uv_arm(m);
}

/* --- what owners ask for ---------------------------------------------- */

int
portmap_uv_open(struct portmap_uv **out, uv_loop_t *loop,
    portmap_uv_change_fn *on_change, void *arg, const struct log *log,
    struct err *err)
{
	struct portmap_uv *m;
	uint8_t nonce[PCP_NONCE_LEN];
	uint64_t seed;
	int fd[2];

	*out = NULL;
	if (uv_random(NULL, NULL, nonce, sizeof(nonce), 0, NULL) != 0 ||
	    uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL) != 0)
		return err_set(err, ERR_IO, "random numbers");
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, errno, "pipe");
	m = mem_zalloc(sizeof(*m));
	m->fd[0] = fd[0];
	m->fd[1] = fd[1];
	m->on_change = on_change;
	m->arg = arg;
	m->log = log;
	m->pm = portmap_new(seed, nonce);
	uv_timer_init(loop, &m->timer);
	uv_poll_init(loop, &m->poll, fd[0]);
	m->timer.data = m->poll.data = m;
	m->handles = 2;
	uv_poll_start(&m->poll, UV_READABLE, portmap_uv_on_poll);
	/* Without it a router's start is found out some minutes later. */
	if (udp_open(&m->udp, loop, PCP_ANNOUNCE_PORT, portmap_uv_on_datagram,
		m, NULL) == 0)
		m->handles++;
	*out = m;
	return 0;
}

void
portmap_uv_close(struct portmap_uv *m, void (*on_closed)(void *), void *arg)
{
	const uint64_t now_ns = uv_hrtime();

	ASSERT(!m->closing);
	m->closing = true;
	m->on_closed = on_closed;
	m->closed_arg = arg;
	m->close_by_ns = now_ns + PORTMAP_UV_CLOSE_NS;
	portmap_set(m->pm, NULL, 0, now_ns);
	portmap_uv_arm(m);
}

void
portmap_uv_set(struct portmap_uv *m, const struct portmap_port *port,
    size_t count)
{
	portmap_set(m->pm, port, count, uv_hrtime());
	portmap_uv_arm(m);
}

void
portmap_uv_refresh(struct portmap_uv *m)
{
	portmap_refresh(m->pm, uv_hrtime());
	portmap_uv_arm(m);
}

size_t
portmap_uv_own(const struct portmap_uv *m, struct addr *out, size_t cap)
{
	return portmap_own(m->pm, out, cap);
}

bool
portmap_uv_state_at(const struct portmap_uv *m, size_t i,
    struct portmap_state *out)
{
	return portmap_state_at(m->pm, i, out);
}
