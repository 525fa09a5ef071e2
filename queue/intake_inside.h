#ifndef QUEUE_INTAKE_INSIDE_H
#define QUEUE_INTAKE_INSIDE_H
#include "base/arena.h"
#include "queue/queue_inside.h"

/* A transaction of a peer and its PUT. Between intake.c, which hears the peer and decides, and intake_put.c, which brings what was admitted to disk. */

/* One envelope of a PUT on its way to disk. */
struct part {
	struct spool_put put;            /* first */
	struct putting *whole;
	struct spool_gone gone;
	bool published;
};

/* A PUT. Lives in its transaction until it is taken, dropped or failed. */
struct putting {
	struct intake *intake;
	char *payload;                   /* what all views point into */
	size_t payload_n;
	struct arena mem;
	struct queue_put put;
	struct part *parts;
	uint64_t question;
	size_t waiting;                  /* parts in the syncer */
	int error;
	enum { PUT_WRITING, PUT_HELD, PUT_PUBLISHING } stage;
};

/* A transaction of a peer. */
struct intake {
	struct index_node node;          /* first */
	struct peer *peer;
	char id[QUEUE_MAX_TRANSACTION + 1];
	struct pen pen;
	struct syncer_job pen_job;
	uint64_t pen_question;
	bool pen_busy, aborted;
	struct putting *putting;
};

/* intake.c */
void intake_end(struct intake *t);                /* as soon as nothing of it is in the syncer */
void intake_answer(struct putting *w, int error); /* to the question that is open: 0, or -errno */

/* intake_put.c */
void putting_start(struct putting *w);            /* prepare all; publish them, unless the peer wants to decide that (hold) */
void putting_publish(struct putting *w);
void putting_free(struct putting *w);             /* what was not published goes */
#endif
