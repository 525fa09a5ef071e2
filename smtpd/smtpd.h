#ifndef SMTPD_SMTPD_H
#define SMTPD_SMTPD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/house.h"
#include "base/loop.h"
#include "delivery/mailbox_proto.h"

/* The process that speaks SMTP: what its sessions share. One for each processor; none of them holds anything that must survive. */
struct attacks;
struct crowd;
struct dns;
struct flight;
struct harvest;
struct keeper;
struct map_set;
struct peer;
struct session;
struct tls_context;

struct smtpd_counts {
	uint64_t sessions, refused_sessions, transactions, taken, later, refused, recipients, unknown_recipients, bytes, smuggling, syntax_errors, tls_sessions, lost_replies;
};

struct smtpd {
	struct house *house;
	struct loop *loop;
	struct worker *worker;             /* writes and reads pens */
	struct map_set *maps;              /* NULL: none yet, everything is 451 */
	struct peer *mailbox, *queue, *delivery, *login;
	struct keeper *keeper;
	struct tls_context *tls;           /* NULL: no certificate, no STARTTLS */
	struct dns *dns;
	struct clock_watch clock;
	size_t tellings;                   /* open ones of smtpd/evidence_tell */
	struct harvest *harvest;
	struct crowd *crowd;
	struct attacks *attacks;           /* NULL: not counted */
	struct flight *flight;             /* what is under way; NULL: it is not kept */
	uint32_t flight_owner;             /* we, in it */
	struct mailbox_state store;        /* what the mailbox process last said of the mail root */
	bool store_known;
	struct session *sessions;          /* all, in a list */
	size_t session_count;
	bool draining, stopping;
	bool large_ended;                  /* a transaction of many recipients, since memory was last given back */
	struct loop_timer *idle;           /* memory is given back when it fires without a session */
	struct smtpd_counts counts;
};

/* From session_free: the last session of a process that drains ends it, and else may give memory back. */
void smtpd_session_ended(struct smtpd *d);

int smtpd_main(struct house *h);
#endif
