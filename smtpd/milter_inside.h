#ifndef SMTPD_MILTER_INSIDE_H
#define SMTPD_MILTER_INSIDE_H
#include "base/conn.h"
#include "base/mail_status.h"
#include "smtpd/milter.h"
#include "smtpd/milter_changes.h"
#include "smtpd/milter_proto.h"

/* Inside of the milter client alone: a milter in a session is a list of steps (smtpd/milter_tell.c: what to tell, which bits spare it) and a place in it, which smtpd/milter.c walks;
 * smtpd/milter_verdict.c knows what its answers mean. */
enum { MILTER_MAX_MACRO_NAMES = 1024 };

/* Places in the list of steps. */
enum { AT_OPTIONS, AT_CONNECT, AT_HELO, AT_MAIL, AT_RCPT, AT_DATA, AT_HEADERS, AT_END_OF_HEADER, AT_BODY, AT_END, MILTER_STEPS };

struct milter {
	const struct filter_service *service;
	struct check *check;
	void (*done)(void *arg, enum check_step step);
	void *arg;
	struct smtpd *smtpd;
	struct filter_dial *dial;
	struct conn *conn;
	struct loop_timer *timer;
	struct buf out;
	uint32_t actions, options;
	unsigned at, goal;
	unsigned awaited[MILTER_STEPS]; /* told and not answered yet; answers come in the order of the steps */
	unsigned answered;             /* whose answer is being looked at; MILTER_STEPS: unknown_asked's */
	bool unknown_asked;
	bool waiting;                  /* run said CHECK_WAIT */
	bool reading, draining;        /* the body is being read; what was written goes out */
	bool lost;                     /* it went away in this transaction */
	bool passed_message, passed_session, refused_session;
	bool ended;                    /* it has said its verdict of the whole message */
	struct mail_status refusal;    /* of the session */
	struct arena mem;              /* refusal's text */
	struct arena names;            /* of the connection: macros */
	struct slice macros[MILTER_MACRO_PLACES]; /* names that it wants at each place; p NULL: the usual ones */
	struct buf helo;               /* as it was told */
	bool helo_tls;
	struct slice head;             /* header fields that it hasn't seen */
	struct slice stray;            /* what stands behind a line that is no field: it is told in front of the body */
	struct buf piece;              /* of the body, read and not told */
	uint64_t cursor;               /* in the body */
	bool body_over;
	uint64_t end_began_ms;
	struct milter_changes changes;
};

enum wrote { WROTE, NOTHING, BUSY };

struct milter_step {
	uint32_t no, quiet;
	bool repeats;                  /* until there is nothing more */
	enum wrote (*put)(struct milter *m);
};
extern const struct milter_step milter_steps[]; /* by place */

void milter_body_was_read(struct milter *m, int error); /* the worker's answer to a step that was BUSY */

/* The walk, for who knows what an answer means. */
unsigned milter_next_awaited(const struct milter *m);    /* whose answer comes next; MILTER_STEPS: none does */
enum check_step milter_walk(struct milter *m);           /* tells what is due; CHECK_WAIT: answers are to come, or the body, or what was written has to go out first */
void milter_lose(struct milter *m, const char *why);     /* for this message */
enum check_step milter_down(const struct milter *m);     /* what a lost one means for the message */

/* Answers. */
enum check_step milter_nonsense(struct milter *m, const char *why);
enum check_step milter_on_options(struct milter *m, const struct milter_reply *r);
enum check_step milter_on_verdict(struct milter *m, const struct milter_reply *r);                      /* to the step m->answered */
const char *milter_on_change(struct milter *m, const struct milter_reply *r, struct slice frame);       /* before its verdict: a change, or "still at work"; NULL, or what is wrong */
#endif
