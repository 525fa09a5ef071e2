#ifndef QUEUE_ATTEMPT_H
#define QUEUE_ATTEMPT_H
#include "queue/queue_inside.h"

/* One attempt at one item, from its reading to the moment when what came of it is on disk. Between attempt.c and settle.c alone. */
struct outcome {
	uint32_t recipient;          /* index in the envelope */
	enum event_kind kind;        /* EVENT_DONE, EVENT_LATER, EVENT_FAILED */
	struct mail_status status;
	struct slice host;
	bool dsn_passed, deadline_passed;
	int64_t next_s;              /* EVENT_LATER */
};

struct attempt {
	struct index_node node;      /* first: by id, while it is out */
	struct queue *queue;
	struct item *item;
	uint64_t id;
	struct ipc *channel;         /* who has it; NULL nobody */
	char message_id[SCHEDULE_ID + 1];
	int error;                   /* of reading */
	const char *why;
	struct buf raw;
	struct arena mem;
	struct spool_message message;
	struct slice author;         /* of a message of ours: whose domain signs it */
	uint32_t *picked;            /* the item's waiting recipients, as many as go into one job */
	size_t picked_count, waiting_count;
	struct outcome *outcomes;
	size_t outcome_count;
	uint32_t window;
	uint64_t rest_ms;
	struct spool_append append;
	struct spool_gone gone;
	struct loop_timer *again;    /* the disk was full */
	bool look_only;              /* not to be tried, only looked at (lookout.c): then it goes back to where it was, until back_s */
	int64_t back_s;
};

/* What came of it is known: writes it down, then lets the item go. Takes the attempt. */
void settle_attempt(struct attempt *a);
void queue_attempt_free(struct attempt *a);
#endif
