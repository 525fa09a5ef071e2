/* Time. The only callers of clock_gettime. */
#include "base/clock.h"

#include <time.h>

enum { LEAP_MS = 5 * 60 * 1000, DOUBT_MS = 3600 * 1000 };

static int64_t turned_s;

static int64_t now_us(clockid_t which)
{
	struct timespec t;
	clock_gettime(which, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

uint64_t clock_mono_us(void)
{
	return (uint64_t)now_us(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

uint64_t clock_thread_us(void)
{
	return (uint64_t)now_us(CLOCK_THREAD_CPUTIME_ID);
}

int64_t clock_wall_us(void)
{
	return now_us(CLOCK_REALTIME) + turned_s * 1000000;
}

int64_t clock_wall_s(void)
{
	return clock_wall_us() / 1000000;
}

static int64_t offset_ms(void)
{
	return clock_wall_us() / 1000 - (int64_t)clock_mono_ms();
}

void clock_watch_begin(struct clock_watch *w)
{
	*w = (struct clock_watch){ .offset_ms = offset_ms() };
}

int64_t clock_watch_leap(struct clock_watch *w)
{
	int64_t offset = offset_ms(), leap = offset - w->offset_ms;
	if (leap > -LEAP_MS && leap < LEAP_MS) {
		w->offset_ms += leap / 16; /* many small steps are no leap */
		return 0;
	}
	w->offset_ms = offset;
	if (leap > 0)
		clock_watch_doubt(w);
	return leap;
}

void clock_watch_doubt(struct clock_watch *w)
{
	w->doubt_ms = clock_mono_ms() + DOUBT_MS;
}

bool clock_watch_believes(const struct clock_watch *w)
{
	return clock_mono_ms() >= w->doubt_ms;
}

uint64_t clock_watch_doubt_s(const struct clock_watch *w)
{
	uint64_t now = clock_mono_ms();
	return now < w->doubt_ms ? (w->doubt_ms - now + 999) / 1000 : 0;
}

void clock_test_turn_wall(int64_t seconds)
{
	turned_s += seconds;
}
