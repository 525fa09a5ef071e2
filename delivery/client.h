#ifndef DELIVERY_CLIENT_H
#define DELIVERY_CLIENT_H
#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "base/mail_reply.h"
#include "base/mail_status.h"
#include "base/slice.h"
#include "delivery/body.h"

/* One connection of our SMTP or LMTP client, from the greeting to QUIT (RFC 5321, 2033, 2920, 1870, 6152, 6531, 3030, 3207, 3461, 8689, 2852,
 * 6710). Its owner asks for commands and is told every reply; what to do about them is the owner's (delivery/attempt). An owner may be exchanged between transactions. */
struct client;
struct tls_context;
struct tls_info;

enum client_tls { CLIENT_TLS_NEVER, CLIENT_TLS_MAY, CLIENT_TLS_MUST };

struct client_plan {
	int fd;                        /* connected, non-blocking; the client's */
	bool lmtp;
	struct slice helo;             /* our name */
	struct slice host;             /* theirs, for SNI */
	enum client_tls tls;
	struct tls_context *context;   /* held while it is used */
	struct slice login, password;  /* AUTH where both are given; only over TLS */
};

/* What EHLO offered. */
struct client_offer {
	bool esmtp, pipelining, size, eight_bit, utf8, chunking, starttls, dsn, prdr, require_tls, auth_plain, auth_login, deliver_by, priority;
	uint64_t size_limit;           /* 0 none said */
	uint64_t rcpt_max, mail_max;   /* LIMITS (RFC 9422); 0 none said */
	uint64_t by_least_s;           /* DELIVERBY's least time for mode R; 0 none said */
};

enum client_end {
	CLIENT_CLOSED,      /* the connection ended, broke, timed out, or talked nonsense */
	CLIENT_REFUSED,     /* greeting, EHLO or a 421 said that it will not serve us now */
	CLIENT_TLS_FAILED,  /* STARTTLS or the handshake failed, or is missing where it must be */
	CLIENT_AUTH_FAILED,
	CLIENT_CONTENT      /* the content is not fit for the wire, or can't be read */
};

enum client_step { CLIENT_MAIL, CLIENT_RCPT, CLIENT_DATA, CLIENT_CONTENT_REPLY, CLIENT_RESET };

struct client_handler {
	void (*on_ready)(void *arg, struct client *c);
	/* index: of RCPT and, for LMTP and PRDR, of the content's replies: the number of the accepted recipient, counted from 0. */
	void (*on_reply)(void *arg, struct client *c, enum client_step step, size_t index, const struct mail_reply *r);
	/* Once; only client_free may follow. s: what to say of it, MAIL_LATER save for greetings of 521 (RFC 7504) and unfit content. */
	void (*on_end)(void *arg, struct client *c, enum client_end how, struct mail_status s);
};

struct client *client_new(struct loop *l, const struct client_plan *p, const struct client_handler *h, void *arg);
void client_free(struct client *c); /* closes at once; NULL is fine */
/* Says QUIT (5321, 4.1.1.10: also to a server that refused to serve us) where no reply is open, then closes; the same as free for the caller. */
void client_quit(struct client *c);
void client_own(struct client *c, const struct client_handler *h, void *arg);

struct client_mail {
	struct slice reverse_path;
	uint64_t size;
	bool eight_bit, utf8, require_tls, prdr;
	int ret;                       /* 'F', 'H' or 0 */
	struct slice envelope_id;
	char by_mode;                  /* DELIVERBY: 'R', 'N', or 0 */
	bool by_trace;
	int64_t by_s;                  /* the time left */
	int priority;                  /* MT-PRIORITY; 0 none */
};
/* Commands; each is told by on_reply once, in order, unless the connection ends before. */
void client_mail(struct client *c, const struct client_mail *m);
void client_rcpt(struct client *c, size_t index, struct slice address, struct slice original, unsigned notify);
bool client_utf8_said(const struct client *c);         /* MAIL said SMTPUTF8: recipients may be UTF-8 */
void client_data(struct client *c);                    /* DATA; its reply is CLIENT_DATA. A 354 must be followed by client_body */
void client_body(struct client *c, struct body *b);    /* content and dot; b NULL: the dot alone, for a 354 with no recipient left */
void client_chunks(struct client *c, struct body *b);  /* BDAT, where offered and the body is exact */
void client_reset(struct client *c);
void client_go(struct client *c);                      /* sends what was asked for since */
void client_unsay(struct client *c);                   /* what was not sent yet (there is no PIPELINING) is not said, and not told */

const struct client_offer *client_offer(const struct client *c);
const struct tls_info *client_tls_info(const struct client *c);
bool client_is_lmtp(const struct client *c);
bool client_is_idle(const struct client *c);           /* ready, nothing open */
bool client_may_settle(const struct client *c);        /* ready, and what is open is replies alone: no content is under way */
bool client_dot_sent(const struct client *c);          /* of the transaction under way: the end of content was sent */
unsigned client_served(const struct client *c);        /* transactions so far */
#endif
