#ifndef SMTPD_CHECK_H
#define SMTPD_CHECK_H
#include "base/mail_status.h"
#include "smtpd/facts.h"
#include "smtpd/message.h"

/* Checks: whatever has a say before Porter answers: SPF, DKIM, DMARC, DNS lists, greylisting, milters, policy services, header rules. Each kind is a row in
 * smtpd/checks.c; a session runs the rows in order at each stage, one after the other, and the first refusal answers. At most one question is open in a session.
 *
 * CHECK_CONNECT stands before the greeting, CHECK_RCPT behind the resolver's good answer, CHECK_DOT behind the last byte, before anything is delivered;
 * CHECK_UNKNOWN where a command is none of ours (facts->unknown_command), at any place outside of content; CHECK_ASKER where an unknown recipient is about to be
 * counted for whoever asks: what can prove a domain does so, and what anybody says is not the answer. */
enum check_stage { CHECK_CONNECT, CHECK_HELO, CHECK_MAIL, CHECK_RCPT, CHECK_DATA, CHECK_DOT, CHECK_UNKNOWN, CHECK_ASKER };
enum check_step {
	CHECK_GO_ON,
	CHECK_REFUSE,      /* check_refuse said how */
	CHECK_WAIT         /* check_answer comes later, once, from the loop */
};

struct smtpd;
struct check;          /* one kind in one session */
struct check_kind {
	const char *name;                                                  /* in logs, and for access' `bypass NAME` */
	void (*start)(struct smtpd *d);                                    /* once in the process, before it serves; may be NULL */
	void *(*begin)(struct check *c);                                   /* a session begins; NULL: not interested in it */
	enum check_step (*run)(void *state, struct check *c, enum check_stage stage);
	void (*on_head)(void *state, struct check *c, struct slice head);  /* header section complete, CRLF; may be NULL */
	void (*on_body)(void *state, struct check *c, struct slice bytes); /* body as it arrives, CRLF; may be NULL */
	void (*cancel)(void *state, struct check *c);                      /* CHECK_WAIT: nobody waits any more, no check_answer may follow */
	void (*reset)(void *state, struct check *c);                       /* the transaction is over; may be NULL */
	void (*end)(void *state);                                          /* the session is over */
};

void check_answer(struct check *c, enum check_step step);
void *check_state_of(const struct check *c, const struct check_kind *kind); /* another kind's state in the same session; NULL: not interested */

/* For kinds. Strings of status are copied. */
void check_refuse(struct check *c, struct mail_status status);
const struct session_facts *check_facts(const struct check *c);
const struct recipient *check_recipient(const struct check *c);        /* CHECK_RCPT: the one asked about */
struct recipient *check_candidate(struct check *c);                    /* the same, for one who resolves it anew */
struct message *check_message(struct check *c);                        /* from CHECK_DATA on */
struct arena *check_arena(struct check *c);                            /* lives as long as the transaction (before MAIL: the session) */
struct smtpd *check_smtpd(struct check *c);
bool check_is_passed_by(const struct check *c, struct slice name);     /* access spares this client, sender or recipient what is called so */
void check_adds_fields(struct check *c);                               /* a field may be added at the dot: large messages leave room for it. Without, they are written anew */
void check_add_field(struct check *c, struct slice name, struct slice value);
void check_tag(struct check *c, struct slice word);
void check_evidence(struct check *c, const struct evidence *e);        /* raises the transaction's grade, never lowers it */
void check_proven_domain(struct check *c, struct slice domain);        /* SPF or DKIM: harvest's budget is its registrable domain's from now on: names below one are had for nothing */
void check_set_forward_sender(struct check *c, struct slice path);     /* what a forward of this transaction bears as reverse-path */
void check_made_message_id(struct check *c, struct slice id);          /* the Message-ID that it leaves with, where its author gave it none */
bool check_change_sender(struct check *c, const struct mail_path *path); /* false: a next hop has heard the old one, and keeps it */
void check_quarantine(struct check *c, struct slice reason);           /* at the dot: a dead letter instead of delivered */
const char *check_add_recipient(struct check *c, struct slice address); /* at the dot: NULL, or why not; whether it can be taken is found out behind the checks */
void check_delete_recipient(struct check *c, struct slice address);
struct mail_status check_client_name(struct check *c, struct slice name); /* its confirmed name, "" it has none: what access says of it */

/* The rows, ending with NULL (smtpd/checks.c). */
extern const struct check_kind *const check_kinds[];
enum { CHECK_MAX_KINDS = 16 };

/* For the session. c NULL: no kind is interested, done is called at once. ------------------------------------------------------------------- */
struct session;
struct checks;
typedef void (*checks_done)(struct session *s, const struct mail_status *refusal);
struct checks *checks_new(struct session *s);                          /* NULL if no kind is interested */
void checks_run(struct checks *c, enum check_stage stage, const struct recipient *r, checks_done done, struct session *s); /* done may be called inside */
void checks_cancel(struct checks *c);
bool checks_want_content(const struct checks *c);
bool checks_add_fields(const struct checks *c);
void checks_head(struct checks *c, struct slice head);
void checks_body(struct checks *c, struct slice bytes);
void checks_reset(struct checks *c);
void checks_free(struct checks *c);
void checks_start(struct smtpd *d);

/* The registrable domain above (lower case), for whom harvesting counts; where there is none, the domain itself. */
struct slice checks_organisation(struct slice domain);
#endif
