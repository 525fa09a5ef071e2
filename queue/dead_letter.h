#ifndef QUEUE_DEAD_LETTER_H
#define QUEUE_DEAD_LETTER_H

/* Looks once a day: a digest of new dead letters and of attacks to the postmaster, and an end to those past dead-letter-time. */
struct queue;
void dead_letter_start(struct queue *q);  /* before the first of the others */
void dead_letter_daily(struct queue *q);
void dead_letter_digest(struct queue *q); /* the same at once, because somebody asks */
#endif
