#ifndef DELIVERY_ATTEMPT_INSIDE_H
#define DELIVERY_ATTEMPT_INSIDE_H
#include "delivery/attempt.h"
#include "delivery/dial.h"
#include "delivery/pool.h"
#include "delivery/route_login.h"
#include "delivery/tls_policy.h"

/* The parts of an attempt: attempt.c is its life, attempt_hosts.c finds a host and deals with its loss, attempt_tls.c says how it is protected, attempt_talk.c speaks with it.
 * Internal to them. */
enum { ATTEMPT_MAX_ROUNDS = 3, ATTEMPT_ARENA = 4 << 20, ATTEMPT_MAX_TEXT = 512, ATTEMPT_MAX_KEY = 4096 };

struct tls_info;

enum rcpt_state { RCPT_NEW, RCPT_ASKED, RCPT_YES, RCPT_NO };

struct attempt_recipient {
	struct hop_recipient is;
	enum rcpt_state state;
	bool told;                     /* the owner has its answer */
	bool yes;                      /* and it was MAIL_OK: a promise for the content */
	bool over_limit, heard;        /* heard: a host has answered its RCPT */
};

enum talk { TALK_NONE, TALK_MAIL, TALK_OPEN };
enum content { CONTENT_NONE, CONTENT_WAITS, CONTENT_ASKED /* DATA */, CONTENT_GOES, CONTENT_TOLD, CONTENT_LATE };

struct attempt {
	struct hops *hops;
	const struct attempt_handler *handler;
	void *arg;
	struct arena mem;              /* lives as long as the attempt */
	struct arena words;            /* of one callback */
	struct hop_envelope envelope;
	struct hops_choice choice;
	unsigned busy;
	bool freed, over;              /* over: every question from now on gets `last` */

	/* the way to a host */
	struct buf place_key;
	struct hosts_query *query;
	struct hosts_target *targets;  /* those not known to be dead */
	size_t target_count, next;     /* next: the first not tried yet */
	struct tls_choice *choices;    /* for each target, contexts held; NULL before tls_policy has said */
	struct tls_policy_query *policy_query;
	struct route_login_query *login_query;
	bool login_known;              /* or none is needed */
	struct slice policy_domain;    /* whose policy it is, for reports */
	bool lmtp, resolved, plain_only;
	bool dials;                    /* takes no kept connection: a host of the place lacked what the message needs, or one was worn out */
	unsigned rounds;
	uint64_t rest_ms;
	struct dial *dial;
	bool asking_host, allowed;     /* leave for targets[next] is awaited; is given */
	struct link *link;
	bool fresh;                    /* the link was dialled by us, not taken from the pool */
	bool ready;                    /* its client is */
	struct mail_status last;       /* why no host was good so far */
	bool down;                     /* and that says nothing about anybody's address */
	bool unheard;                  /* a host could not be asked */
	struct loop_timer *budget, *soon;
	struct loop_timer *share;      /* what a host that was just dialled may have of the budget where others are left */
	uint64_t budget_ms, budget_end_ms, host_began_ms;

	/* the conversation */
	enum talk talk;
	struct attempt_recipient *rcpts;
	size_t count, room, untold;
	bool broken;                   /* a promise could not be renewed at another host */
	struct body *body;
	enum content content;
	uint64_t content_ms;
	struct mail_status *each;
	size_t each_count, each_heard;
	bool dot_sent, unknown, by_chunks;

	struct hop_facts facts;
	struct buf host, address, tls;
};

/* attempt.c */
void attempt_hold(struct attempt *a);
void attempt_let_go(struct attempt *a);
void attempt_go_on(struct attempt *a);                                  /* does what is due next */
void attempt_give_up(struct attempt *a, struct mail_status s, bool down);
void attempt_drop_link(struct attempt *a);                              /* closes it */
void attempt_set_budget(struct attempt *a);
void attempt_note_silent(struct attempt *a);                            /* a host that was not ready though it had most of the budget is left alone for a while */
struct mail_status attempt_keep(struct attempt *a, struct mail_status s); /* a copy that lives as long as the attempt */

/* attempt_hosts.c */
void attempt_look(struct attempt *a);                                   /* a kept connection, else the next target */
void attempt_out_of_share(void *attempt);                               /* the timer's */
void attempt_next_host(struct attempt *a, struct mail_status why);      /* this host is no good: hangs up, tries the next or gives up */
struct mail_status attempt_of_place(const struct attempt *a, struct mail_status s); /* what one host never takes another one may, which can't be asked just now: then not s, but a 451 */
void attempt_same_host(struct attempt *a);                               /* the connection is of no use, its host may be */

/* attempt_tls.c: how each target is to be protected, asked between its addresses and the dialling */
void attempt_ask_policy(struct attempt *a, const struct hosts_answer *found); /* goes on by attempt_look */
void attempt_free_policy(struct attempt *a);
const struct tls_choice *attempt_choice(const struct attempt *a);      /* of the target at work; NULL: it is a kept connection */
bool attempt_may_go_plain(const struct attempt *a);                    /* TLS failed there, and none need be */
void attempt_note_tls(struct attempt *a, const struct tls_info *tls);  /* it is up (or, NULL, was not wanted): log and report */
void attempt_note_tls_failed(struct attempt *a, const struct mail_status *s);
bool attempt_requires_tls(const struct attempt *a);                     /* or it does not go */
bool attempt_waives_tls(const struct attempt *a);

/* attempt_talk.c */
void attempt_talk(struct attempt *a);                                   /* says what may be said to a client that is ready */
void attempt_on_reply(void *arg, struct client *c, enum client_step step, size_t index, const struct mail_reply *r);
bool attempt_may_serve(struct attempt *a);                              /* the host offers what the message needs; else all are answered */
void attempt_refuse_all(struct attempt *a, struct mail_status s, struct slice reply);
void attempt_tell_rcpt(struct attempt *a, size_t index, struct mail_status s, struct slice reply);
void attempt_content_lost(struct attempt *a, struct mail_status s);     /* the connection is gone while content is asked for or under way */
void attempt_content_late(struct attempt *a);                           /* the budget is over and the dot was sent */
#endif
