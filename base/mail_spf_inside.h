#ifndef BASE_MAIL_SPF_INSIDE_H
#define BASE_MAIL_SPF_INSIDE_H
#include "base/mail_spf.h"
#include "base/mail_spf_record.h"

/* What the files of the SPF evaluator share, and nobody else: mail_spf.c walks records and terms, mail_spf_hosts.c answers the terms that ask for hosts (a, mx, exists, ptr) and knows
 * the client's names. */
struct spf_frame {
	struct slice domain;
	struct spf_record record;
	size_t at;           /* the term under evaluation */
	size_t path_mark;    /* path_count when it began */
	unsigned weak;       /* of the way into it: macros in redirect= */
	bool redirected;
};

struct spf {
	struct mail_dns *dns;
	struct mail_dns_query *query;
	struct loop_timer *timer;     /* the limit of time; 0 ms for a verdict that is known at once */
	struct arena mem;
	struct net_ip client;
	struct slice helo, local_part, sender_domain;
	struct spf_frame frames[SPF_MAX_LOOKUPS + 2];
	size_t depth;                 /* frames in use */
	size_t term_mark;             /* path_count when the a or mx under evaluation began */
	struct slice *names;          /* of mx under evaluation, or of the client's PTR while they are validated */
	size_t name_count, name_at;
	struct slice validated[SPF_MAX_NAMES];
	size_t validated_count;
	bool validated_known;
	bool ptr_counted;             /* the ptr term under evaluation has drawn on the limit already */
	struct spf_verdict verdict;
	bool known;                   /* verdict is final */
	spf_trace trace;
	void *trace_arg;
	void (*done)(void *arg, struct spf *s);
	void *arg;
};

enum spf_step { STEP_NEXT /* no match: the next term */, STEP_MATCH, STEP_WAIT, STEP_ENDED };

/* mail_spf.c */
struct spf_frame *spf_top(struct spf *s);
void spf_tell(struct spf *s, struct slice term, const char *outcome);                    /* a step, to who watches */
enum spf_step spf_end(struct spf *s, enum spf_result result, const char *why);           /* the whole check */
void spf_walk_by(struct spf *s, struct slice name, const struct dns_answer *a);          /* adds name, and what it is a CNAME of, to the path */
void spf_ask(struct spf *s, enum dns_type type, struct slice name, void (*answered)(void *arg, const struct dns_answer *a));
bool spf_count_void(struct spf *s, const struct dns_answer *a);                          /* false: one too many (4.6.4) */
enum spf_step spf_matched(struct spf *s);                                                /* the term under evaluation did */
void spf_run(struct spf *s);

/* mail_spf_hosts.c */
struct slice spf_expand(struct spf *s, struct slice spec);                               /* the name that a term or modifier is about */
enum dns_type spf_address_type(const struct spf *s);
bool spf_is_wide(const struct spf *s, unsigned prefix4, unsigned prefix6);
void spf_on_addresses(void *arg, const struct dns_answer *a);
void spf_on_exists(void *arg, const struct dns_answer *a);
void spf_on_mx(void *arg, const struct dns_answer *a);
enum spf_step spf_validate_client(struct spf *s); /* finds the client's validated names, once a check; the term that wants them is evaluated again then */
enum spf_step spf_check_ptr(struct spf *s, const struct spf_term *t);
#endif
