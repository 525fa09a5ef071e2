#ifndef QUEUE_EVIDENCE_H
#define QUEUE_EVIDENCE_H
#include <stdbool.h>
#include "base/slice.h"

/* How well a sender is known: the evidence gathered before the answer, graded, stored with the message and never raised later.
 * The order matters: "evidence >= spf" in rule.md is grade >= EVIDENCE_SPF. */
enum evidence_grade {
	EVIDENCE_NONE,    /* neutral, softfail, none, temperror, permerror: allows nothing */
	EVIDENCE_DKIM,    /* valid and aligned signature: recorded, allows nothing alone, since a signed message can be replayed */
	EVIDENCE_SPF,     /* SPF pass for the MAIL FROM domain along a path that proves something */
	EVIDENCE_OWNER,   /* a copy of a list of ours; set only inside queue/, never from a MAIL command */
	EVIDENCE_CLIENT,  /* client address or certificate listed in `clients` for this reverse-path domain */
	EVIDENCE_LOCAL,   /* the sendmail command, for a reverse-path that `senders` grants to the user */
	EVIDENCE_AUTH     /* SMTP AUTH, for a reverse-path and From that the login may use */
};
enum { EVIDENCE_GRADES = EVIDENCE_AUTH + 1 };

struct evidence {
	enum evidence_grade grade;
	struct slice who;      /* login, user name, client network, SPF or DKIM domain, owner; "" for none */
	struct slice reason;   /* in words, for log, explain and the dead letter */
};

/* "none" "dkim" "spf" "owner" "client" "local" "auth", for records, logs and porterctl. */
struct slice evidence_name(enum evidence_grade grade);
#endif
