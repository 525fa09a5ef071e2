#ifndef QUEUE_DEAD_LETTER_H
#define QUEUE_DEAD_LETTER_H

/* Looks once a day: a digest of new dead letters to the postmaster, and an end to those past dead-letter-time. */
struct queue;
void dead_letter_daily(struct queue *q);
#endif
