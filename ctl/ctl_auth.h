#ifndef CTL_CTL_AUTH_H
#define CTL_CTL_AUTH_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/crypto.h"
#include "base/dns.h"
#include "base/loop.h"
#include "base/mail_dns.h"
#include "base/mail_header.h"
#include "base/net.h"
#include "base/suffix.h"
#include "ctl/ctl.h"

/* `porterctl auth ...`: the evidence tools. They need no configuration and no running Porter; DNS comes from a resolver or a zone file, the clock can
 * be turned, results are words or JSON. */
enum { AUTH_MAX_KEYS = 2, AUTH_MAX_MESSAGE = 256 << 20 };

struct auth_options {
	struct slice zone_file, resolvers, trust_anchor, suffix_file;
	bool lax, trace, helo_given, from_given, client_given, suffixes;
	int64_t now_s;
	struct net_ip client;
	struct slice helo, from;              /* from: as given */
	struct slice id;                      /* authserv-id */
	struct slice domain, headers, forms, identity;
	struct slice selectors[AUTH_MAX_KEYS], keys[AUTH_MAX_KEYS];
	size_t selector_count, key_count;
	uint64_t expires_s, timeout_ms;
	struct slice words[8];                /* what is no option */
	size_t word_count;
};

struct auth_tool {
	struct ctl *ctl;
	struct auth_options o;
	struct loop *loop;
	struct dns *dns;
	struct suffix_list *suffixes;
	struct arena mem;
	struct buf out;                       /* printed at the end, if nothing failed */
};

/* A message file, "-" for standard input, with CRLF line ends, in t->mem; and its header section. 0, or an exit code after a complaint. */
int auth_read_message(struct auth_tool *t, struct slice name, struct slice *message, struct mail_header *header);
int auth_read_file(struct auth_tool *t, struct slice name, struct slice *text);

/* A domain as people write it: the dot of the root at its end goes. */
struct slice auth_domain(struct slice word);

/* local-part and domain of --from: "<a@b>", "a@b", "@b", "". */
void auth_split_path(struct slice path, struct slice *local, struct slice *domain);

/* Each answer seen goes into a list that auth_add_answers prints (as JSON array or lines). */
struct auth_answers {
	struct auth_tool *tool;
	struct buf text;
	size_t count;
};
void auth_watch(struct auth_answers *a, struct auth_tool *t, struct mail_dns *dns);
void auth_answer_seen(void *arg, enum dns_type type, struct slice name, const struct dns_answer *a);

/* "key":"value" pairs of JSON. */
void auth_json_str(struct buf *out, const char *key, struct slice value, bool first);

/* The commands: exit codes. */
int auth_check(struct auth_tool *t);
int auth_dkim(struct auth_tool *t);
int auth_arc(struct auth_tool *t);
int auth_spf(struct auth_tool *t);
int auth_dmarc(struct auth_tool *t);
int auth_sign(struct auth_tool *t);
int auth_seal(struct auth_tool *t);
int auth_dns(struct auth_tool *t);
int auth_reports(struct auth_tool *t);

extern const struct ctl_command ctl_auth_commands[];
#endif
