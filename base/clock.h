#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include <stdint.h>

/* Time: monotonic for waiting, wall for dates; the unit is in the name. Tests turn both clocks. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
uint64_t clock_thread_us(void); /* what the processor has spent on this thread */
int64_t clock_wall_s(void);
int64_t clock_wall_us(void);

/* Tests only: add to what the wall clock says from now on. */
void clock_test_turn_wall(int64_t seconds);
#endif
