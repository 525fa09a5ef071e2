#ifndef SMTPD_BODY_DIGEST_H
#define SMTPD_BODY_DIGEST_H
#include "base/mail_body.h"
#include "smtpd/message.h"

/* The relaxed SHA-256 of a message's body as it stands at the dot, read again: for signatures over what a filter has changed. The state is the caller's, zeroed, and
 * lives as long as the message (message_free ends the reading without a word). done is called from the loop; error 0 or -errno. */
struct body_digest {
	struct message *message;
	struct mail_body *body;
	int number;
	void (*done)(void *arg, int error, const struct mail_digest *digest);
	void *arg;
};

void body_digest_start(struct body_digest *d, struct message *m, void (*done)(void *arg, int error, const struct mail_digest *digest), void *arg);
void body_digest_end(struct body_digest *d); /* frees what it holds; any time */
#endif
