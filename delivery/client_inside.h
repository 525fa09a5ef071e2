#ifndef DELIVERY_CLIENT_INSIDE_H
#define DELIVERY_CLIENT_INSIDE_H
#include "base/buf.h"
#include "base/conn.h"
#include "delivery/client.h"
#include "delivery/script.h"

/* The parts of a client: client.c is its life, the connection's events and the transactions; client_ready.c is the way from the greeting to them. Internal to both. */

/* RFC 5321, 4.5.3.2 */
enum {
	GREETING_MS = 300000, EHLO_MS = 300000, TLS_MS = 120000, MAIL_MS = 300000, RCPT_MS = 300000, DATA_MS = 120000, DOT_MS = 600000, QUIT_MS = 2000,
	MAX_INPUT = 68 << 10, MAX_OUTPUT = 16 << 20, MAX_COMMAND = 8192, CHUNK = BODY_PIECE
};

struct client {
	struct loop *loop;
	struct conn *conn;
	struct script *script;
	const struct client_handler *handler;
	void *arg;
	bool lmtp, ready, ended, freed, tls_due, prdr_asked, utf8_said;
	bool hears;                    /* ended by a reply, not by the connection: QUIT may be said */
	unsigned busy, served;
	enum client_tls tls;
	struct tls_context *context;
	struct buf helo, host, login, password;
	struct client_offer offer;
	size_t accepted, replies;      /* recipients taken; of the content's replies, how many came */
	bool body_begun;
	struct body *body;             /* of BDAT from a file */
};

/* client.c */
void client_add(struct client *c, struct slice command, unsigned hopes, bool alone, uint64_t ms, void (*on_reply)(void *, size_t, bool, const struct mail_reply *), size_t index);
void client_end(struct client *c, enum client_end how, struct mail_status s); /* told once */
void client_end_heard(struct client *c, enum client_end how, struct mail_status s); /* the same, by a reply: the server still hears QUIT */
void client_end_refused(struct client *c, const struct mail_reply *r);
struct mail_status client_lost(struct slice text);
/* A server that greets twice is one reply behind from then on: each of our commands would get the answer to the one before, the content a recipient's 250. True: the client
 * has ended. */
bool client_is_greeted_again(struct client *c, const struct mail_reply *r);

/* client_ready.c */
void client_await_greeting(struct client *c);
void client_say_ehlo(struct client *c);
#endif
