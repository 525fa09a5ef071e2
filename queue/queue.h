#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/loop.h"
#include "base/slice.h"

/* The queue process: takes the questions of queue/queue_proto.h from any number of peers, hands jobs out (queue/job_proto.h), settles what comes back. */
struct attacks;
struct flight;
struct queue_setup {
	const char *spool_path;       /* the spool folder */
	int spool;                    /* set by queue_new */
	struct slice host;            /* our name, for reports */
	struct slice postmaster;      /* address, or a bare name of the first mailbox domain */
	const char *maps_directory;   /* of generations; NULL: none, then nothing local is delivered to */
	void (*alert)(void *arg, struct slice text);
	void (*answer)(void *arg, uint64_t question, int code, struct slice text); /* what queue_question left open */
	void (*on_idle)(void *arg);   /* after queue_drain: nothing is under way and no peer is left */
	void *arg;
	struct attacks *attacks;      /* the account of attacks, stays the caller's; NULL: none */
	struct flight *flight;        /* what is under way, likewise */
	struct usage *usage;          /* what users have handed in, likewise; NULL: no limits */
};

struct queue;

/* Opens the spool and the ledger; the scan of what lies there begins and goes on while we serve. -errno if nothing can be stored there. */
int queue_new(struct loop *l, const struct queue_setup *setup, struct queue **out);
void queue_free(struct queue *q);

/* A channel to a process of that role ("smtpd", "delivery", "mailbox"); fd becomes ours. */
void queue_add_peer(struct queue *q, struct slice role, int fd);
void queue_maps(struct queue *q, uint64_t generation);

/* No new jobs from now on. */
void queue_drain(struct queue *q);
void queue_stop(struct queue *q);   /* the same, without waiting for peers: what they ask from now on is lost with the channel */

/* The scan at start is over. */
bool queue_is_scanned(const struct queue *q);

/* porterctl's question (queue/queue_ask.c): an exit code, -ENOSYS, or HOUSE_LATER (base/house.h): what a disk has to do first is answered then. */
int queue_question(struct queue *q, uint64_t question, const struct slice *words, size_t count, struct buf *answer);

/* The role `queue` (queue/queue_main.c). */
struct house;
int queue_main(struct house *h);
#endif
