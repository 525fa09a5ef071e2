#ifndef MAPS_ACCESS_H
#define MAPS_ACCESS_H
#include <stdbool.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/mail_path.h"
#include "base/mail_status.h"
#include "base/net.h"
#include "base/slice.h"
#include "maps/map.h"

/* The map `access`: what the administrator wants for a client, a name, or a path.
 *
 *	192.0.2.0/24          refuse No mail from here.
 *	2001:db8::/32         defer
 *	ptr:.dyn.example      tag dynamic
 *	helo:localhost        refuse
 *	from:spam@x.test      refuse 554 5.7.1 Go away, please.
 *	from:@x.test          accept
 *	to:trap@example.test  refuse
 *	198.51.100.7          by-pass spf, by-pass dnsbl, tag partner
 *
 * Several actions stand with commas; refuse and defer take the rest of the line as text. */
enum access_verdict { ACCESS_NONE, ACCESS_ACCEPT, ACCESS_REFUSE, ACCESS_DEFER };
enum { ACCESS_MAX_ACTIONS = 16 };

struct access {
	enum access_verdict verdict;
	struct mail_status status;          /* for ACCESS_REFUSE and ACCESS_DEFER */
	struct slice tags[ACCESS_MAX_ACTIONS];
	size_t tag_count;
	struct slice by_pass[ACCESS_MAX_ACTIONS]; /* names of checks (porter-maps(5)) */
	size_t by_pass_count;
	struct slice key;                   /* the key that matched, for the log */
};

/* FOUND sets *out. ABSENT: no line (*out is zeroed). UNSURE: a 451. */
enum answer access_client(struct map_set *s, const struct net_ip *ip, struct arena *mem, struct access *out);
enum answer access_ptr(struct map_set *s, struct slice host, struct arena *mem, struct access *out);   /* host, then .parents */
enum answer access_helo(struct map_set *s, struct slice name, struct arena *mem, struct access *out);  /* name, then .parents */
enum answer access_from(struct map_set *s, const struct mail_path *p, struct arena *mem, struct access *out); /* address, @domain, @.parents, "<>" */
enum answer access_to(struct map_set *s, const struct mail_path *p, struct arena *mem, struct access *out);

const char *access_parse(struct slice value, struct access *out);
#endif
