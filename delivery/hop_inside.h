#ifndef DELIVERY_HOP_INSIDE_H
#define DELIVERY_HOP_INSIDE_H
#include "base/ipc.h"
#include "delivery/attempt.h"
#include "delivery/hop.h"
#include "delivery/hop_proto.h"

/* What the parts of the delivery process share. Internal to hop.c, job.c and ask.c. */
struct hop_peer {
	struct hop *hop;
	struct ipc *ipc;               /* NULL: gone; what still goes on is unheard */
	struct hop_peer *next;
	size_t users;                  /* transactions, jobs and questions of it */
};

struct passing;
struct lanes;
struct ask_cache;
struct hop {
	struct loop *loop;
	struct hop_setup setup;
	struct hop_peer *peers;
	struct passing *passings;
	struct lanes *lanes;
	struct ask_cache *cache;
	size_t under_way;
	uint64_t passed, refused, lost; /* contents by fate, for status */
};

/* A user of a peer begins and ends; the peer is freed when it is gone and has none left. */
void hop_peer_use(struct hop_peer *p);
void hop_peer_leave(struct hop_peer *p);
/* Answers, if the peer is still there; *b is freed. */
void hop_answer(struct hop_peer *p, uint16_t type, uint64_t id, struct buf *b);

/* job.c */
struct lanes *lanes_new(struct hop *h);
void lanes_free(struct lanes *l);
int job_take(struct hop_peer *p, struct ipc_message *m);
int job_cancel(struct hop_peer *p, struct ipc_message *m);
int job_host_ok(struct hop_peer *p, struct ipc_message *m);
void job_peer_gone(struct hop_peer *p); /* what waits for its word ends */
void lanes_report(const struct lanes *l, struct buf *json);

/* ask.c */
struct ask_cache *ask_cache_new(struct hop *h);
void ask_cache_free(struct ask_cache *c);
/* What was heard of a recipient; false: nothing that is still believed. *s lives in mem. old: the last part of its time has begun. */
bool ask_recall(struct ask_cache *c, struct slice place, struct slice address, struct arena *mem, struct mail_status *s, bool *old);
bool ask_is_unknown(const struct mail_status *s);
void ask_learn(struct ask_cache *c, struct slice place, struct slice address, const struct mail_status *s);
bool ask_takes_all(const struct ask_cache *c, struct slice place, struct slice address); /* a made-up recipient of this one's domain was taken */
/* Questions of our own, in e's name, that nobody waits for: about a recipient again; about a made-up one, unless that was found out. */
void ask_refresh(struct hop_peer *p, const struct hop_envelope *e, struct slice address);
void ask_probe(struct hop_peer *p, const struct hop_envelope *e, struct slice address);
#endif
