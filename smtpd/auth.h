#ifndef SMTPD_AUTH_H
#define SMTPD_AUTH_H
#include <stdbool.h>
#include "base/slice.h"
#include "smtpd/facts.h"
#include "smtpd/smtpd.h"

/* SASL on the server's side (RFC 4422, RFC 4954): PLAIN, LOGIN, SCRAM-SHA-256(-PLUS) (RFC 5802, RFC 7677, RFC 9266), OAUTHBEARER (RFC 7628), XOAUTH2,
 * EXTERNAL. An exchange takes the client's base64 lines and says what comes next; it never writes to the socket, and never sees a verifier: passwords, proofs and
 * tokens are judged by the process `login`. One exchange at a time in a session.
 *
 * Failures are counted by address, network and login in the table that all processes share; past a budget attempts are answered late, then not asked
 * about at all (454). A login alone is only ever slowed, so that nobody can lock somebody out. */
enum { AUTH_MAX_LINE = 12288 }; /* RFC 4954, 4.5 */

enum auth_step {
	AUTH_CHALLENGE,  /* 334 auth_text() */
	AUTH_GOOD,       /* 235: auth_login() */
	AUTH_FAILED,     /* 535 */
	AUTH_UNSURE,     /* 454 */
	AUTH_SYNTAX,     /* 501: bad base64, or a message that the mechanism doesn't have */
	AUTH_CANCELLED,  /* 501: the client said "*" */
	AUTH_UNKNOWN,    /* 504: no such mechanism, or not here */
	AUTH_WAIT        /* done is called once, later, with one of the above */
};

struct tls_info;
struct auth;
/* tls: this session's, which must be there; done is called from the loop, never inside auth_begin or auth_input. */
struct auth *auth_new(struct smtpd *d, const struct session_facts *facts, const struct tls_info *tls,
                      void (*done)(void *arg, enum auth_step step), void *arg);
void auth_free(struct auth *a); /* NULL is fine; a question that is open is dropped */

/* "AUTH MECHANISM [initial]": initial as written ("=" is an empty one), p NULL where there was none. */
enum auth_step auth_begin(struct auth *a, struct slice mechanism, struct slice initial);
/* The client's next line, without its end. */
enum auth_step auth_input(struct auth *a, struct slice line);

struct slice auth_text(const struct auth *a);       /* AUTH_CHALLENGE: base64 */
struct slice auth_login(const struct auth *a);      /* AUTH_GOOD */
struct slice auth_mechanism(const struct auth *a);   /* AUTH_GOOD: by which */

/* The parameter of the EHLO keyword AUTH: " PLAIN LOGIN ..." by what this session can do. */
struct buf;
void auth_add_mechanisms(const struct session_facts *facts, const struct tls_info *tls, struct buf *out);
#endif
