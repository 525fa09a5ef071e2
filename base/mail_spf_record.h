#ifndef BASE_MAIL_SPF_RECORD_H
#define BASE_MAIL_SPF_RECORD_H
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/mail_spf.h"
#include "base/net.h"

/* One SPF record, read whole before any of it is evaluated (RFC 7208, 4.6: an error anywhere is an error), and macro strings (section 7). */
enum spf_mechanism { SPF_ALL, SPF_INCLUDE, SPF_A, SPF_MX, SPF_PTR, SPF_IP4, SPF_IP6, SPF_EXISTS };

struct spf_term {
	enum spf_result result;     /* by its qualifier, when it matches */
	enum spf_mechanism kind;
	struct slice text;          /* as written */
	struct slice target;        /* domain-spec, macros unexpanded; "" means the current domain */
	struct net_ip network;      /* ip4, ip6 */
	unsigned prefix4, prefix6;  /* a, mx: both; ip4, ip6: their own */
};

struct spf_record {
	struct spf_term *terms;
	size_t count;
	struct slice redirect;      /* domain-spec; p NULL: none */
	struct slice explanation;   /* exp=, checked, not used */
};

/* "v=spf1" and then a blank or the end: the mark of an SPF record among a name's TXT records (4.5). */
bool spf_record_is(struct slice txt);

/* text begins with "v=spf1"; views of it. -EINVAL: *why says in a fixed phrase, *at what stands there. */
int spf_record_parse(struct slice text, struct arena *mem, struct spf_record *out, const char **why, struct slice *at);

/* What the macro letters stand for. */
struct spf_names {
	struct net_ip client;
	struct slice local_part, sender_domain, helo, domain;
	struct slice validated;     /* %{p} */
};

bool spf_macro_uses(struct slice spec, char letter);
bool spf_macro_any(struct slice spec);

/* A domain-spec expanded to a name, without a last dot, cut from the left to 253 octets (7.3). out has room for 8 KiB at least. */
void spf_macro_expand(struct slice spec, const struct spf_names *n, struct buf *out);
#endif
