#ifndef CTL_QUEUE_QUERY_H
#define CTL_QUEUE_QUERY_H
#include "ctl/ctl.h"
#include "queue/spool.h"

/* Which messages of the spool a command is about, and the walk over them. porterctl reads the spool by itself, in several threads, so that it works when nothing
 * runs and a million messages never stop the queue's loop. Where a query asks for nothing that stands in files alone, queue_survey.h is faster. */
struct queue_query {
	struct slice sender, recipient, domain, place, reason;       /* "" any; parts of the text count, letters folded; a reason with * or ? is a pattern for all of it; sender <> is the null path */
	struct slice evidence;
	uint64_t older_s, newer_s, larger, smaller;                  /* 0 any */
	bool held;
	size_t limit;                                                /* 0 none */
	const char **ids;                                            /* named on the command line; NULL: all */
	size_t id_count;
};

struct queue_row {
	struct slice id;
	const struct spool_message *message;
	int64_t next_s;              /* next try; 0 none */
	struct slice place, reason;  /* of the first recipient that waits (or failed) */
	size_t waiting;
};

/* Takes the options of a query out of the arguments; what is left are ids. 0, or an exit code. */
int queue_query_read(struct ctl *c, int *argc, char **argv, struct queue_query *q);

struct queue_walker {
	void (*look)(void *arg, const struct queue_row *row, struct buf *line);         /* in any thread, many at a time: what is wanted of the row, into line. NULL: nothing */
	bool (*take)(void *arg, const struct queue_row *row, struct slice line);        /* one at a time; false: enough. NULL: give */
	void (*give)(void *arg, size_t rows, struct slice lines);                       /* where the rows don't matter, only what look made of them: many at once, behind each other */
	void *arg;
	bool quiet;                  /* no progress bar: rows are printed as they come */
};

/* Each message that the query names, in no order: of the queue by its recipients that wait, of dead letters by any. 0, or an exit code: 1 where an id was named that isn't
 * there or doesn't fit, which is told. */
int queue_query_walk(struct ctl *c, const struct queue_query *q, enum spool_folder where, const struct queue_walker *with);
#endif
