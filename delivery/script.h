#ifndef DELIVERY_SCRIPT_H
#define DELIVERY_SCRIPT_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/conn.h"
#include "base/mail_reply.h"
#include "delivery/body.h"

/* What a client says and waits for, as rows: a command, the class of reply that it hopes for, how long the reply may take, who is told. A send cursor
 * and a reply cursor walk down the rows; pipelining is how far the first runs ahead of the second (RFC 2920). Replies are told in order, one for each
 * row. A reply that no row waits for, or that is none, ends it. */
struct script;

enum script_end {
	SCRIPT_CLOSED,      /* the connection ended or broke */
	SCRIPT_TIMEOUT,
	SCRIPT_NONSENSE,    /* what came is no reply, or nobody's */
	SCRIPT_SHUTDOWN,    /* 421 */
	SCRIPT_BODY         /* the content can't be sent: script_why says whether it is unfit or unreadable */
};

struct script_row {
	struct slice command;      /* without CRLF; p NULL: nothing is sent, a further reply is waited for */
	struct slice after;        /* sent right behind the command's CRLF (content of BDAT) */
	struct body *body;         /* sent as the row's text (behind the command, if there is one), a dot line behind it if `dot` */
	bool dot;
	unsigned hopes;            /* class of the reply: 2, 3 */
	bool alone;                /* nothing may be sent behind it before its reply */
	uint64_t timeout_ms;       /* for the reply, once all before it are there */
	void (*on_reply)(void *arg, size_t index, bool good, const struct mail_reply *r);
	size_t index;
};

struct script_handler {
	/* reply: what SCRIPT_SHUTDOWN said, else NULL. Called once; only script_free may follow. */
	void (*on_end)(void *arg, enum script_end how, const char *why, const struct mail_reply *reply);
};

/* The connection stays the caller's, who hands its events on; it is freed after the script. arg is the rows' too. */
struct script *script_new(struct loop *l, struct conn *c, const struct script_handler *h, void *arg);
void script_free(struct script *s); /* NULL is fine; may be called from its callbacks */
void script_pipeline(struct script *s, bool may);

/* Adds a row (its texts are copied); script_go sends as many as may go. */
void script_add(struct script *s, const struct script_row *row);
void script_go(struct script *s);
void script_unsay(struct script *s); /* rows of which nothing was sent yet are gone; nobody is told */

/* The connection's events. */
void script_data(struct script *s);
void script_drained(struct script *s);

bool script_is_idle(const struct script *s);         /* no row is open */
bool script_body_sent(const struct script *s);       /* the last row with a body was handed to the kernel or its queue whole */
size_t script_input_left(const struct script *s);    /* bytes behind the reply just told (S2) */
#endif
