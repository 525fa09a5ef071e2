#ifndef SMTPD_FACTS_H
#define SMTPD_FACTS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/mail_path.h"
#include "base/net.h"
#include "base/slice.h"
#include "base/unique.h"
#include "maps/resolve.h"
#include "queue/evidence.h"

/* What is known of a session and of its transaction, for checks, destinations, trace fields and the log. Plain data: who learns something writes it here. */
enum listener_kind { LISTENER_MX, LISTENER_SUBMISSION, LISTENER_SUBMISSIONS, LISTENER_LOCAL /* the sendmail command */ };

struct recipient {
	struct mail_path path;              /* as parsed */
	struct slice address;               /* "local@domain", canonical where ours, as printed else */
	struct resolved resolved;           /* its leaves */
	unsigned notify;                    /* NOTIFY bits (queue/envelope.h); 0: not said */
	struct slice original;              /* ORCPT, decoded; "" */
	struct mail_status status;          /* PRDR: its own outcome */
	struct slice hop_leaf, hop_place, hop_host; /* refused by a next hop: the leaf's address, where it is the hop's, the host that spoke; "" not so. For the log */
	bool maybe, done;                   /* the ledger may know that it has this message; it has */
};

struct transaction_facts {
	struct unique id;                   /* in the log, in file names and in Received */
	struct mail_path reverse_path;
	struct slice sender;                /* the reverse-path as "local@domain", "" is null */
	struct slice forward_sender;        /* what a forward bears as reverse-path (SRS); "" the sender's own */
	uint64_t announced;                 /* SIZE; 0 not said */
	bool eight_bit, utf8, require_tls, return_full, return_headers, prdr;
	struct slice envelope_id;           /* ENVID */
	int64_t hold_until_s, hold_for_s, deliver_by_s; /* hold_for_s: where that was asked for */
	bool deliver_by_return, deliver_by_trace;
	int priority;
	struct slice made_message_id;       /* by us, where its author gave it none; "" */
	struct recipient **recipients;      /* those that were answered 250, in order; each stays where it is */
	size_t recipient_count;
	struct evidence evidence;           /* of the reverse-path, graded */
	struct slice quarantine;            /* why a filter wants it held back, a dead letter for the postmaster to decide on; "" not */
	bool hop_down;                      /* the queue stands in for a next hop that could not be reached just now */
	bool blind;                         /* harvesting: everything is answered 250 and the dot 451 */
	struct slice tags[16];              /* words of access and checks, for X-Porter-Tags and greylisting */
	size_t tag_count;
	struct slice bypass[16];            /* names of checks that access spares this transaction */
	size_t bypass_count;
};

struct session_facts {
	struct unique id;
	enum listener_kind listener;
	struct net_address peer;
	struct net_ip ip;
	char ip_text[64];
	struct slice reverse_name;          /* confirmed reverse DNS; "" unknown (smtpd/client_name) */
	bool nameless;                      /* it is sure that there is none */
	bool exempt;                        /* loopback and listed: no limits, no harvesting */
	struct slice helo;                  /* as said */
	bool esmtp;
	bool tls;
	const char *tls_protocol, *tls_cipher; /* NULL without TLS */
	struct slice login;                 /* authenticated; "" */
	struct slice login_mechanism;       /* SASL's; "" */
	struct slice user;                  /* LISTENER_LOCAL: the system user, by SO_PEERCRED; "" elsewhere */
	bool client_certificate;
	uint8_t certificate_sha256[32];
	const struct transaction_facts *transaction; /* NULL outside of one */
	struct slice unknown_command;       /* during CHECK_UNKNOWN: the line, valid until run returns */
};
#endif
