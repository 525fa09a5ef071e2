#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include <stdbool.h>
#include <stdint.h>

/* Time: monotonic for waiting, wall for dates; the unit is in the name. Tests turn both clocks. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
uint64_t clock_thread_us(void); /* what the processor has spent on this thread */
int64_t clock_wall_s(void);
int64_t clock_wall_us(void);

/* A wall clock that was set; slewing moves both. After a leap forward it is doubted for an hour: what is over by it may not be. */
struct clock_watch {
	int64_t offset_ms;         /* wall minus monotonic */
	uint64_t doubt_ms;         /* monotonic: until then */
};
void clock_watch_begin(struct clock_watch *w);
int64_t clock_watch_leap(struct clock_watch *w);      /* by how much it was set since the last call, in ms; 0: by less than five minutes */
void clock_watch_doubt(struct clock_watch *w);        /* as behind a leap forward */
bool clock_watch_believes(const struct clock_watch *w);
uint64_t clock_watch_doubt_s(const struct clock_watch *w); /* for how long yet, rounded up; 0: it is believed */

/* Tests only: add to what the wall clock says from now on. */
void clock_test_turn_wall(int64_t seconds);
#endif
