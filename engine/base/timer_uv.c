/*
 * Timers of the loop; see timer_uv.h.
 */
#include "engine/base/timer_uv.h"

#include "engine/base/clock.h"

void
timer_uv_arm(uv_timer_t *timer, uv_timer_cb cb, uint64_t at_ns)
{
	uint64_t now_ns;

	if (at_ns == CLOCK_NEVER) {
		uv_timer_stop(timer);
		return;
	}
	/* The loop's clock may lag behind; a timer counts from that. */
	uv_update_time(timer->loop);
	now_ns = uv_hrtime();
	/* Rounded up, so that it is due when we wake. */
	uv_timer_start(timer, cb,
	    at_ns <= now_ns ? 0 : (at_ns - now_ns + CLOCK_MS - 1) / CLOCK_MS,
	    0);
}
