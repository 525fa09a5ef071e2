/* Time. The only callers of clock_gettime. */
#include "base/clock.h"

#include <time.h>

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

void clock_test_turn_wall(int64_t seconds)
{
	turned_s += seconds;
}
