#ifndef CTL_SCREEN_H
#define CTL_SCREEN_H
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"

/* A picture on a terminal, drawn anew in place: cut to its window, which may change; keys are heard at once and not shown. However it ends (q, ^C, ^Z), the terminal
 * is left as it was found. One at a time. */
struct screen {
	size_t rows, columns;        /* of the window, as it was drawn on last */
	bool keys;                   /* standard input is a terminal, too */
};
enum screen_event { SCREEN_TIME, SCREEN_CHANGED /* draw again */, SCREEN_QUIT };

/* False: standard output is no terminal, or one that can't place a cursor (TERM). */
bool screen_begin(struct screen *s);
/* Until ms have passed, the window changes, or somebody wants to leave. */
enum screen_event screen_wait(struct screen *s, uint64_t ms);
/* Lines, each with its end. */
void screen_draw(struct screen *s, struct slice lines);
void screen_end(struct screen *s);
#endif
