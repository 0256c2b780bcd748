/*
 * A libuv timer by the monotonic clock that pure code is given, in ns.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_BASE_TIMER_UV_H
#define HOLDFAST_BASE_TIMER_UV_H

#include <stdint.h>
#include <uv.h>

/*
 * Call `cb` once, at `at_ns` of uv_hrtime()'s clock or just after it, in place
 * of whenever it was to be called; CLOCK_NEVER: not at all.
 */
void timer_uv_arm(uv_timer_t *timer, uv_timer_cb cb, uint64_t at_ns);

#endif
