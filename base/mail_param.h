#ifndef BASE_MAIL_PARAM_H
#define BASE_MAIL_PARAM_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* Parameters of MAIL and RCPT (RFC 5321, 4.1.2: esmtp-param), one at a time from the front of *in. */
struct mail_param {
	struct slice keyword;  /* as sent */
	struct slice value;    /* "" without "=" */
	bool has_value;
};

/* 1: *out is set. 0: the end. -EINVAL: no parameter stands there. */
int mail_param_next(struct slice *in, struct mail_param *out);

/* SIZE (RFC 1870): up to 20 digits; numbers past 2^63 count as that. False: no number. */
bool mail_param_size(struct slice value, uint64_t *out);

/* NOTIFY (RFC 3461, 4.1): NEVER, or SUCCESS, FAILURE, DELAY separated by commas; bits 1, 2, 4, 8 in that order. */
bool mail_param_notify(struct slice value, unsigned *bits);

/* ORCPT (4.2) decoded into mem as "type;address": xtext, printable ASCII; of type utf-8 in any form of RFC 6533, 3, UTF-8. ENVID (4.4): xtext, at most 100 characters. */
bool mail_param_orcpt(struct slice value, struct arena *mem, struct slice *out);
/* The same way back: the parameter's value; of type utf-8 with what is not ASCII as it is, or as "\x{F6}" (utf-8-addr-xtext, which may stand anywhere). */
void mail_param_add_orcpt(struct buf *out, struct slice original, bool utf8);
/* An address in UTF-8 as utf-8-addr-xtext. */
void mail_param_add_utf8_address(struct buf *out, struct slice address, bool utf8);
bool mail_param_envid(struct slice value, struct arena *mem, struct slice *out);

/* BY (RFC 2852): seconds, ";", R or N, optional T. HOLDFOR (RFC 4865): seconds; HOLDUNTIL: a date of RFC 3339. MT-PRIORITY (RFC 6710): -9..9. */
struct mail_by {
	int64_t seconds;
	bool return_mode, trace;
};
bool mail_param_by(struct slice value, struct mail_by *out);
bool mail_param_priority(struct slice value, int *out);
#endif
