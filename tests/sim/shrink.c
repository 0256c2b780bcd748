/*
 * Shrinking.  See shrink.h.
 */
#include "shrink.h"

#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "history.h"

#define PATIENCE_S 20u /* with one that never rests */
#define TRIES 4000u

struct shrinking {
	uint8_t best[CHOICE_LEN_MAX];
	size_t len;
	char why[400];
	uint32_t tries;
};

bool
shrink_try(const uint8_t *byte, size_t len, char why[400])
{
	int status = 0, fd[2];
	ssize_t n;
	pid_t pid;

	why[0] = '\0';
	fflush(stdout);
	if (pipe(fd) < 0)
		return true;
	pid = fork();
	if (pid == 0) {
		struct history_result r;

		alarm(PATIENCE_S);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(3);
		history_run(byte, len, false, false, &r);
		if (write(fd[1], r.why, strlen(r.why)) < 0)
			_exit(3);
		_exit(r.ok ? 0 : 1);
	}
	close(fd[1]);
	n = read(fd[0], why, 399);
	why[n > 0 ? n : 0] = '\0';
	close(fd[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return true;
	if (WIFSIGNALED(status) || WEXITSTATUS(status) > 1)
		snprintf(why, 400, "died: signal %d", WTERMSIG(status));
	return status == 0;
}

/* "lost", "no quiet", ...: what comes before the colon. */
static bool
is_same_kind(const char *a, const char *b)
{
	const size_t n = strcspn(a, ":");

	return n == strcspn(b, ":") && memcmp(a, b, n) == 0;
}

/* Does it still fail so?  Then it is the best from now on. */
static bool
accept(struct shrinking *sh, const uint8_t *byte, size_t len)
{
	char why[400];

	if (sh->tries >= TRIES ||
	    (len == sh->len && memcmp(byte, sh->best, len) == 0))
		return false;
	sh->tries++;
	if (shrink_try(byte, len, why) || !is_same_kind(why, sh->why))
		return false;
	memcpy(sh->best, byte, len);
	sh->len = len;
	memcpy(sh->why, why, sizeof(sh->why));
	return true;
}

static size_t
acts(const struct shrinking *sh)
{
	return sh->len < CHOICE_HEAD ? 0 : (sh->len - CHOICE_HEAD) / CHOICE_ACT;
}

static bool
cut_acts(struct shrinking *sh)
{
	uint8_t byte[CHOICE_LEN_MAX];
	bool any = false;

	for (size_t n = acts(sh) / 2 + 1; n > 0; n /= 2)
		for (size_t at = 0; at + n <= acts(sh);) {
			const size_t from = CHOICE_HEAD + at * CHOICE_ACT;
			const size_t gap = n * CHOICE_ACT;

			memcpy(byte, sh->best, from);
			memcpy(byte + from, sh->best + from + gap,
			    sh->len - from - gap);
			if (accept(sh, byte, sh->len - gap))
				any = true;
			else
				at += n;
		}
	return any;
}

/* Each byte 0, or else half of what it is. */
static bool
lower(struct shrinking *sh, size_t from, size_t to)
{
	uint8_t byte[CHOICE_LEN_MAX];
	bool any = false;

	for (size_t i = from; i < to && i < sh->len; i++) {
		while (sh->best[i] > 0) {
			memcpy(byte, sh->best, sh->len);
			byte[i] = 0;
			if (accept(sh, byte, sh->len)) {
				any = true;
				break;
			}
			byte[i] = sh->best[i] / 2;
			if (byte[i] == 0 || !accept(sh, byte, sh->len))
				break;
			any = true;
		}
	}
	return any;
}

/* Whole acts in calm weather. */
static bool
calm(struct shrinking *sh)
{
	uint8_t byte[CHOICE_LEN_MAX];
	bool any = false;

	for (size_t i = CHOICE_HEAD; i + CHOICE_ACT <= sh->len;
	     i += CHOICE_ACT) {
		memcpy(byte, sh->best, sh->len);
		byte[i + CHOICE_ACT - 2] = byte[i + CHOICE_ACT - 1] = 0;
		any = accept(sh, byte, sh->len) || any;
	}
	return any;
}

size_t
shrink(uint8_t *byte, size_t len, char why[400])
{
	struct shrinking sh = { .len = len };
	bool any = true;

	memcpy(sh.best, byte, len);
	if (shrink_try(byte, len, sh.why)) {
		why[0] = '\0';
		return len;
	}
	while (any && sh.tries < TRIES) {
		any = cut_acts(&sh);
		any = lower(&sh, 0, CHOICE_HEAD) || any;
		any = calm(&sh) || any;
		any = cut_acts(&sh) || any;
		any = lower(&sh, CHOICE_HEAD, sh.len) || any;
	}
	memcpy(byte, sh.best, sh.len);
	memcpy(why, sh.why, sizeof(sh.why));
	return sh.len;
}
