#ifndef BASE_LOGIN_PROTO_H
#define BASE_LOGIN_PROTO_H
#include <stdbool.h>
#include <stdint.h>
#include "base/answer.h"
#include "base/buf.h"
#include "base/slice.h"

/* Questions to the process `login`, which alone reads password hashes and SCRAM verifiers. Each gets one LOGIN_ANSWER with its id. The same records are what
 * the short-lived helpers (Dovecot's auth socket, PAM, token verifiers) read from and write to their standard input. */
enum login_message {
	LOGIN_PASSWORD = 1,  /* name, secret (the password), ip */
	LOGIN_SCRAM_FIRST,   /* name. Answer: salt, rounds, also for names that don't exist */
	LOGIN_SCRAM_FINAL,   /* name, message (AuthMessage of RFC 5802), secret (ClientProof). Answer: proof (ServerSignature) */
	LOGIN_TOKEN,         /* name ("" where the mechanism sends none), secret (a bearer token), ip */
	LOGIN_HOP,           /* delivery alone: name of a line of credentials. Answer: name (the user there), proof (the password) */
	LOGIN_ANSWER
};
enum { LOGIN_MAX_NAME = 320, LOGIN_MAX_SECRET = 8192, LOGIN_MAX_MESSAGE = 8192, LOGIN_MAX_PAYLOAD = 24 << 10 };

struct login_question {
	struct slice name, secret, message, ip;
};

struct login_answer {
	enum answer answer;     /* FOUND: that's who it is; ABSENT: refused; UNSURE: can't be told now */
	struct slice name;      /* FOUND: the login in its one spelling */
	struct slice salt, proof;
	uint32_t rounds;
	struct slice why;       /* for the log */
};

int login_question_add(struct buf *out, const struct login_question *q);
bool login_question_read(struct slice in, struct login_question *q); /* views into in; bounds are checked */
int login_answer_add(struct buf *out, const struct login_answer *a);
bool login_answer_read(struct slice in, struct login_answer *a);
#endif
