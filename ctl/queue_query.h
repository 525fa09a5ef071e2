#ifndef CTL_QUEUE_QUERY_H
#define CTL_QUEUE_QUERY_H
#include "ctl/ctl.h"
#include "queue/spool.h"

/* Which messages of the spool a command is about, and the walk over them. porterctl reads the spool by itself, so that it works when nothing runs and a million messages
 * never stop the queue's loop. */
struct queue_query {
	struct slice sender, recipient, domain, place, reason, id;   /* "" any; parts of the text count, letters folded */
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

/* Each message that the query names, in no order, until each says false. 0, or an exit code. */
int queue_query_walk(struct ctl *c, const struct queue_query *q, enum spool_folder where, bool (*each)(void *arg, const struct queue_row *row), void *arg);
#endif
