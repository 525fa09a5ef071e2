#ifndef DELIVERY_LANE_H
#define DELIVERY_LANE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/mail_status.h"
#include "base/slice.h"

/* A place's lane: its jobs, those that wait among them, and its window, which grows with each success and is halved by failures, after which it rests. Of delivery/job alone. */
struct running;
struct lane {
	struct lane *next;
	struct buf place;
	unsigned window, running, failures;
	size_t jobs;                   /* running and waiting */
	uint64_t until_ms;             /* rests */
	struct running *first, **last;     /* waiting */
};

/* The place's lane, made where there is none, and put in front: busy places are found first. */
struct lane *lane_of(struct lane **all, struct slice place);
/* Lanes that have nothing to remember are dropped. */
void lane_drop_idle(struct lane **all);

/* A job is over. failed: the host is down, said 421 or nothing; crowded: it had no room for anybody. rest_ms: how long it is known to be dead. max: the largest window. */
void lane_learn(struct lane *l, bool failed, bool crowded, uint64_t rest_ms, unsigned max);
uint64_t lane_rest(const struct lane *l);

/* What a reply says of the place: it is out of room; our messages come too fast for it. */
bool lane_is_crowded(const struct mail_status *s);
bool lane_is_too_fast(const struct mail_status *s);

void lane_report(const struct lane *all, struct buf *json);
#endif
