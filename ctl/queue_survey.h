#ifndef CTL_QUEUE_SURVEY_H
#define CTL_QUEUE_SURVEY_H
#include "ctl/queue_query.h"
#include "queue/taken.h"

/* Messages as the running queue's schedule knows them, without a look at their files (queue/survey.c): for summaries, and for acts on queries that ask for nothing
 * but destination, age and whether they are held. The age is told by the id, which was made when the message came. */

/* The query asks for nothing that stands in files alone. */
bool queue_survey_serves(const struct queue_query *q);

/* Each message that the query names, once and in no order. false: the queue does not run, scans still, or can't tell of all: look at the files (each may have been called). */
bool queue_survey_walk(struct ctl *c, const struct queue_query *q, bool (*each)(void *arg, const struct taken *t), void *arg);
#endif
