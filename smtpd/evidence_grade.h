#ifndef SMTPD_EVIDENCE_GRADE_H
#define SMTPD_EVIDENCE_GRADE_H
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/mail_dkim.h"
#include "base/mail_spf.h"
#include "base/slice.h"
#include "queue/evidence.h"

/* How well a reverse-path is proven: the one function behind rule.md's table "Who counts as authenticated". Pure: facts in, grade and reason out. */
struct evidence_facts {
	struct slice local_part, domain;      /* of the reverse-path; both "" is null */
	struct slice login;                   /* SMTP AUTH; "" none */
	bool login_may;                       /* the login may use this reverse-path (and From, once known) */
	struct slice user;                    /* the sendmail command's user; "" none */
	bool user_may;                        /* `senders` grants the path to the user */
	struct slice client;                  /* a line of `clients` that names this reverse-path domain: its network or certificate; "" none */
	const struct spf_verdict *spf;        /* of MAIL FROM; NULL: not known */
	bool spf_is_helo;                     /* the null path: HELO alone never */
	bool hoster;                          /* the matched path, or the client, is a shared hoster's */
	const struct dkim_verdict *dkim;
	size_t dkim_count;
};

/* who and reason live in mem. */
void evidence_grade(const struct evidence_facts *f, struct arena *mem, struct evidence *out);

/* A signature's d= is the reverse-path's domain, or above or below it (with two labels at least). */
bool evidence_is_aligned(struct slice signer, struct slice domain);
#endif
