#ifndef CTL_TALK_H
#define CTL_TALK_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/mail_reply.h"
#include "base/net.h"
#include "base/slice.h"

/* SMTP as a client, in programs that people start: one question, one answer, blocking. The server may be anybody's: replies are read with limits and patience. */
struct talk {
	int fd;
	bool shown;               /* the dialogue on standard output */
	struct buf in;
	struct arena mem;         /* the last reply */
	struct mail_status status; /* the last reply's */
	unsigned code;            /* 0: none came */
	const char *why;          /* what went wrong, where 0 or an error was returned */
};

/* Connects, and reads the greeting. 0 with any greeting; -ECONNREFUSED: nobody is there; else -errno. */
int talk_open(struct talk *t, const struct net_address *to, bool shown);
void talk_close(struct talk *t);

/* Says a line (without its end; a CR or LF in it is -EINVAL) and reads the reply. 0 with any reply, else -errno. */
int talk_ask(struct talk *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
int talk_reply(struct talk *t);

/* Content with CRLF line ends, dots stuffed, and the end of content (RFC 5321, 4.5.2); then the reply. */
int talk_content(struct talk *t, struct slice content);
#endif
