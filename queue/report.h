#ifndef QUEUE_REPORT_H
#define QUEUE_REPORT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "queue/envelope.h"
#include "queue/report_gate.h"

/* The text of reports: RFC 3464 in a multipart/report (RFC 6522), in its form of RFC 6533 for messages with SMTPUTF8. It writes, it never decides and
 * never sends: queue/settling_report.c calls it after may_report, and nothing outside of queue/ may.
 * A report carries the header section of the message, never its body; below evidence `client` the stranger's free text is left out, too: then
 * Message-ID and Date alone come back, where they look like what they should be. */
enum report_action { ACTION_FAILED, ACTION_DELAYED, ACTION_DELIVERED, ACTION_RELAYED, ACTION_EXPANDED };

struct report_item {
	const struct envelope_recipient *recipient;
	enum report_action action;
	struct mail_status status;
	struct slice host;            /* who said so: "mx.example.org[192.0.2.1]:25"; "" nobody */
	int64_t last_s;               /* of the attempt; 0 none */
};

struct report {
	enum report_kind kind;        /* REPORT_FAILURE, REPORT_DELAY, REPORT_SUCCESS */
	const struct envelope *envelope;
	const struct report_item *items;
	size_t count;
	struct slice header;          /* of the message, as much of it as there is */
	struct slice id;              /* of the report */
	struct slice host, from;      /* our name; the postmaster's address */
	int64_t now_s;
};

/* The whole report, CRLF. 0 or -EMSGSIZE. *eight_bit: it holds bytes above 127. */
int report_write(struct buf *out, const struct report *r, bool *eight_bit);

/* The head of an automatic message of ours, up to what says how its body is written: From, To, Subject, Date, Message-ID, In-Reply-To, References, Auto-Submitted. */
struct report_head {
	struct slice host, from, to, id;
	bool personal;                /* from is a person's address, not the server's */
	struct slice subject;         /* ASCII */
	struct slice in_reply_to;     /* left out where it is no message-id */
	struct slice references;      /* message-ids, folded; "" then in_reply_to alone */
	int64_t now_s;
	const char *auto_submitted;
};
int report_write_head(struct buf *out, const struct report_head *h);

/* The rest of a message that is one text: Content-Type, the empty line and the body, encoded where it is not plain ASCII in lines. */
void report_write_text(struct buf *out, struct slice text);

bool report_is_message_id(struct slice s);
#endif
