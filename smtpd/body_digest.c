/* A body, read once more in pieces. */
#include "smtpd/body_digest.h"

static void on_piece(void *arg, struct slice bytes, uint64_t next, int error)
{
	struct body_digest *d = arg;
	if (!error && bytes.n) {
		mail_body_add(d->body, bytes);
		message_read_body(d->message, next, MESSAGE_PIECE, on_piece, d);
		return;
	}
	struct mail_digest digest = { .n = 0 };
	mail_body_end(d->body);
	mail_body_digest(d->body, d->number, &digest);
	d->done(d->arg, error, &digest);
}

void body_digest_start(struct body_digest *d, struct message *m, void (*done)(void *arg, int error, const struct mail_digest *digest), void *arg)
{
	body_digest_end(d);
	*d = (struct body_digest){ .message = m, .body = mail_body_new(), .done = done, .arg = arg };
	d->number = mail_body_want(d->body, CANON_RELAXED, false, MAIL_BODY_WHOLE);
	message_read_body(m, 0, MESSAGE_PIECE, on_piece, d);
}

void body_digest_end(struct body_digest *d)
{
	mail_body_free(d->body);
	d->body = NULL;
}
