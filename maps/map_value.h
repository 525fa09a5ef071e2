#ifndef MAPS_MAP_VALUE_H
#define MAPS_MAP_VALUE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/mail_path.h"
#include "base/mail_status.h"
#include "base/net.h"
#include "base/slice.h"
#include "maps/resolve.h"

/* The values of the maps that RCPT needs, parsed. The compiler, the resolver and prove read them by the same functions, so what compiles resolves.
 * Each returns NULL, or a fixed phrase that says what is wrong; strings live in mem. The forms are those of porter-maps(5). */

enum map_domain_kind { DOMAIN_MAILBOX, DOMAIN_RELAY, DOMAIN_ALIAS_OF, DOMAIN_REFUSE };
struct map_domain {
	enum map_domain_kind kind;
	struct slice target;            /* RELAY: place of the next hop; ALIAS_OF: domain; REFUSE: text */
	struct slice recipients;        /* RELAY: a map's name; "" when ask */
	bool ask;
	uint64_t quota_bytes, quota_messages, size_limit; /* 0: none */
	struct slice delimiter;         /* of subaddresses, one byte; "" none; default "+" */
	struct slice catch_all;         /* an address */
	struct slice postmaster;        /* an address; "" the domain's first recipient */
	bool exact_case;                /* local-parts compare byte by byte */
	bool sole_sender, batv, srs;    /* rule.md, "Reports that come to us" */
};
/* mailbox | relay NEXT-HOP recipients=MAP|ask | alias-of DOMAIN | refuse TEXT, and options: quota=SIZE quota-messages=N size=SIZE delimiter=C catch-all=ADDRESS
 * postmaster=ADDRESS case=exact sole-sender batv srs */
const char *map_domain_parse(struct slice value, struct arena *mem, struct map_domain *out);

struct map_mailbox {
	enum leaf_kind kind;
	struct slice place;             /* as in struct leaf; MAILDIR: "" means DOMAIN/LOCAL below the mail root */
	uint64_t quota_bytes, quota_messages, size_limit;
	bool quota_given, messages_given, size_given;  /* "quota=0": none, whatever the domain says */
};
/* Options, then maildir[:PATH] (the default) | mbox:PATH | system:USER | lmtp:HOST:PORT | lmtp:unix:/PATH | program:/PATH ARG... */
const char *map_mailbox_parse(struct slice value, struct arena *mem, struct map_mailbox *out);

enum map_alias_kind { ALIAS_TARGETS, ALIAS_REFUSE, ALIAS_DEFER };
struct map_alias {
	enum map_alias_kind kind;
	struct slice *targets;          /* "local@domain" or bare local-parts; aliases(5)'s "/file", "/maildir/" and "|argv" with NUL between the elements;
	                                   ":include:PATH" only before the compiler expanded it */
	size_t count;
	struct slice owner;             /* owner=ADDRESS; "" none */
	struct mail_status status;      /* REFUSE, DEFER: the answer */
};
const char *map_alias_parse(struct slice value, struct arena *mem, struct map_alias *out);

struct map_route {
	struct slice place;             /* "mx:" stands for the asked domain's own MX */
	struct slice tls;               /* "" | "may" | "encrypt" | "verify" | "dane" */
	struct net_ip source[2];        /* addresses to connect from, one of a family: families without one are not used */
	size_t sources;                 /* 0: any */
	struct slice credentials;       /* name of a login in `credentials`; "" none */
};
/* mx | mx:DOMAIN | HOST | HOST:PORT | [HOST]:PORT | [ADDRESS]:PORT | lmtp:HOST:PORT | lmtp:unix:/PATH, and options tls= source=ADDRESS[,ADDRESS] credentials= */
const char *map_route_parse(struct slice value, struct arena *mem, struct map_route *out);

/* A next hop in its one spelling: "mx:DOMAIN", "HOST:PORT", "[ADDRESS]:PORT", "lmtp:HOST:PORT", "lmtp:unix:/PATH". */
const char *map_place_parse(struct slice word, struct arena *mem, struct slice *out);
#endif
