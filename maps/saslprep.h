#ifndef MAPS_SASLPREP_H
#define MAPS_SASLPREP_H
#include "base/buf.h"
#include "base/slice.h"

/* One spelling for each login and password, whatever keyboard it was typed on: SASLprep (RFC 4013), as SCRAM (RFC 5802, 5.1) and PLAIN (RFC 4616) ask. Its tables are
 * RFC 3454's; normal form, categories and directions are libunistring's, of today's Unicode where the RFC stopped at 3.2. Asked where a login is named (smtpd/auth,
 * the keys of credentials and senders) and wherever a password is hashed (maps/password). */
enum saslprep_use {
	SASLPREP_STORED, /* what verifiers are made of: only characters that exist */
	SASLPREP_QUERY,  /* what somebody says to us: others are let through, and fit nothing or what an older table let through */
};

/* Adds the prepared form of text to out. NULL, or a fixed phrase with nothing added: not UTF-8, a character that is not for names and passwords, both directions of
 * writing in one, nothing left, longer than out may be. text may be a secret: what is made on the way is wiped. */
const char *saslprep_add(struct slice text, enum saslprep_use use, struct buf *out);
#endif
