#ifndef SMTPD_AUTH_INSIDE_H
#define SMTPD_AUTH_INSIDE_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/login_proto.h"
#include "base/loop.h"
#include "base/tls.h"
#include "smtpd/auth.h"
#include "smtpd/auth_scram.h"
#include "smtpd/peer.h"

/* Inside an exchange: auth.c has the table and drives, auth_mechanisms.c takes the client's messages, auth_ask.c asks the process `login` and counts failures.
 * Nobody else includes this. */
struct mechanism;
struct auth {
	struct smtpd *d;
	const struct session_facts *facts;
	const struct tls_info *tls;
	void (*done)(void *arg, enum auth_step step);
	void *arg;
	const struct mechanism *mechanism;
	unsigned step;                 /* messages taken */
	struct arena mem;              /* of one exchange */
	struct buf text, payload;      /* secrets pass through payload: wiped */
	uint16_t type;
	struct slice login;
	struct scram scram;
	struct peer_question *question;
	struct loop_timer *timer;
	enum auth_step late;           /* told by the timer; AUTH_WAIT: it is time to ask */
};

struct mechanism {
	struct slice name;
	enum auth_step (*take)(struct auth *a, struct slice message);
	bool (*offered)(const struct session_facts *f, const struct tls_info *tls);
	const char *server_first;      /* NULL: the client begins */
};

/* The mechanisms' functions: one decoded message of the client. */
enum auth_step auth_take_plain(struct auth *a, struct slice message);
enum auth_step auth_take_login(struct auth *a, struct slice message);
enum auth_step auth_take_scram(struct auth *a, struct slice message);
enum auth_step auth_take_oauthbearer(struct auth *a, struct slice message);
enum auth_step auth_take_xoauth2(struct auth *a, struct slice message);
enum auth_step auth_take_external(struct auth *a, struct slice message);

bool auth_binding_offered(const struct session_facts *f, const struct tls_info *tls);

/* Asks login about a->login; the answer comes late where failures were many. */
enum auth_step auth_ask(struct auth *a, uint16_t type, struct login_question *q);
void auth_count(struct auth *a, bool good);
void auth_say(struct auth *a, struct slice message);      /* the next challenge, not yet in base64 */
void auth_log(struct auth *a, const char *word, struct slice why);
void auth_forget_payload(struct auth *a);                 /* wiped */
#endif
