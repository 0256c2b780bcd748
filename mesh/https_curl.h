/*
 * HTTPS questions under libuv: one request, one bounded answer, no more.
 *
 * No redirections, no proxies, no cookies, nothing but https.  Who the server
 * is, is checked before a byte of the question is sent: by the SHA-256 of its
 * certificate (a device ID), or by the system's certificate authorities.
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call.
 */
#ifndef HOLDFAST_MESH_HTTPS_CURL_H
#define HOLDFAST_MESH_HTTPS_CURL_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "blockproto/devid.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

/* Opaque. */
struct https;

struct https_question { /* borrowed for the call */
	const char *url;
	const struct devid *id; /* who it must be; NULL: ask the authorities */
	bool show_us;           /* with our certificate */
	struct slice body;      /* JSON: POST; empty: GET */
};

struct https_answer { /* borrowed for the call */
	int status;   /* 0: there was no answer, and `error` says why */
	const char *error;
	struct slice body;
	uint64_t retry_s;      /* Retry-After, in seconds; 0: none */
	uint64_t reannounce_s; /* Reannounce-After likewise */
};

typedef void https_done_fn(void *arg, const struct https_answer *answer);

/*
 * `dir` holds cert.pem and key.pem; NULL: nobody is shown a certificate.  An
 * answer has at most `answer_max` bytes; a longer one is none.
 */
int https_open(struct https **out, uv_loop_t *loop, const char *dir,
    size_t answer_max, struct err *err);
/* Ask; on_done() comes once, within half a minute. */
void https_ask(struct https *h, const struct https_question *q,
    https_done_fn *on_done, void *arg);
/* End all questions without an answer; frees it when the loop has let go. */
void https_close(struct https *h, void (*on_closed)(void *), void *arg);

#endif
