/* Ids: time, process, counter, in base 32 whose digits sort as their values. */
#include "base/unique.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

static const char digits[] = "0123456789bcdfghjklmnpqrstvwxyz_";

enum { TIME_DIGITS = 11, PROCESS_DIGITS = 3, COUNT_DIGITS = 2 };

static uint32_t process_mark;
static atomic_uint counter;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Process ids come again after a restart; random bits in front of them make that unlikely to matter within one microsecond. */
static void make_mark(void)
{
	uint32_t noise = 0;
	if (getrandom(&noise, sizeof noise, 0) != sizeof noise)
		noise = (uint32_t)clock_mono_us();
	process_mark = noise ^ (uint32_t)getpid();
	counter = noise >> 16;
	pthread_atfork(NULL, NULL, make_mark);
}

static void put(char *to, int count, uint64_t v)
{
	while (count--) {
		to[count] = digits[v & 31];
		v >>= 5;
	}
}

struct unique unique_new(void)
{
	struct unique u;
	pthread_once(&once, make_mark);
	put(u.text, TIME_DIGITS, (uint64_t)clock_wall_us());
	put(u.text + TIME_DIGITS, PROCESS_DIGITS, process_mark);
	put(u.text + TIME_DIGITS + PROCESS_DIGITS, COUNT_DIGITS, atomic_fetch_add(&counter, 1));
	u.text[UNIQUE_LENGTH] = 0;
	return u;
}

int64_t unique_time_us(struct slice id)
{
	uint64_t v = 0;
	if (id.n != UNIQUE_LENGTH)
		return 0;
	for (size_t i = 0; i < id.n; i++) {
		const char *at = id.p[i] ? strchr(digits, id.p[i]) : NULL;
		if (!at)
			return 0;
		if (i < TIME_DIGITS)
			v = v << 5 | (uint64_t)(at - digits);
	}
	return (int64_t)v;
}
