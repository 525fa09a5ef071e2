/* Policy at each step, as one straight line of questions: what the maps say is found out at once, what checks and destinations say may come later. */
#include "smtpd/policy.h"

#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "maps/access.h"
#include "maps/map.h"
#include "smtpd/attack.h"
#include "smtpd/check.h"
#include "smtpd/dialog.h"
#include "smtpd/harvest.h"
#include "smtpd/judge.h"
#include "smtpd/listener.h"
#include "smtpd/policy_harvest.h"
#include "smtpd/returns.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/transaction.h"

#define NO_MAPS MAIL_STATUS(MAIL_LATER, 451, 3, 0, "Not ready yet, try again later")
#define UNSURE_MAP MAIL_STATUS(MAIL_LATER, 451, 3, 0, "Could not look this up, try again later")
#define TOO_FAST MAIL_STATUS(MAIL_LATER, 450, 7, 1, "Too many messages, try again later")

enum { V4_NETWORK = 24, V6_NETWORK = 48, ACCESS_MEM = 64 << 10 };

/* -- exemption ---------------------------------------------------------------------------------------------------------------------------- */

static struct {
	bool read;
	size_t count;
	struct net_ip ip[SMTPD_MAX_EXEMPT];
	unsigned prefix[SMTPD_MAX_EXEMPT];
} exempt;

static void read_exempt(void)
{
	struct slice rest = smtpd_settings.limit_exempt;
	const char *why;
	exempt.read = true;
	while (rest.n && exempt.count < SMTPD_MAX_EXEMPT) {
		struct slice item = slice_cut(rest, ' ', &rest);
		if (item.n && net_range_parse(item, &exempt.ip[exempt.count], &exempt.prefix[exempt.count], &why))
			exempt.count++;
	}
}

bool policy_is_exempt(const struct net_ip *ip)
{
	if (!exempt.read)
		read_exempt();
	for (size_t i = 0; i < exempt.count; i++)
		if (ip->is_v4 == exempt.ip[i].is_v4 && net_ip_in(ip, &exempt.ip[i], exempt.prefix[i]))
			return true;
	return false;
}

/* -- the map access -------------------------------------------------------------------------------------------------------------------------- */

static bool has_access(const struct smtpd *d)
{
	return d->maps && map_size(d->maps, MAP_ACCESS) > 0;
}

/* Words about a client or its reverse name are the session's, those about an EHLO name last as long as that, those about a path are the transaction's: the next one has other paths. */
enum whose { OF_CLIENT, OF_HELO, OF_PATH };

static void add_words(struct words *to, struct arena *mem, const struct slice *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		words_add(to, mem, words[i]);
}

static void take_words(struct session *s, const struct access *a, enum whose whose)
{
	struct transaction_facts *t = whose == OF_PATH ? transaction_facts_of(s->transaction) : NULL;
	struct words tags = t ? (struct words){ t->tags, t->tag_count } : (struct words){ NULL, 0 }, by_pass = t ? (struct words){ t->bypass, t->bypass_count } : (struct words){ NULL, 0 };
	struct arena *mem = t ? transaction_arena(s->transaction) : whose == OF_HELO ? &s->helo_mem : &s->mem;
	add_words(t ? &tags : whose == OF_HELO ? &s->helo_tags : &s->tags, mem, a->tags, a->tag_count);
	add_words(t ? &by_pass : whose == OF_HELO ? &s->helo_by_pass : &s->by_pass, mem, a->by_pass, a->by_pass_count);
	if (t) {
		t->tag_count = tags.count;
		t->bypass_count = by_pass.count;
	}
}

/* What one line of access wants: words are noted, a refusal is returned. */
static struct mail_status take_access(struct session *s, enum answer answer, const struct access *a, enum whose whose)
{
	if (answer == ABSENT)
		return MAIL_STATUS_OK;
	if (answer == UNSURE)
		return UNSURE_MAP;
	take_words(s, a, whose);
	if (a->verdict == ACCESS_NONE || a->verdict == ACCESS_ACCEPT)
		return MAIL_STATUS_OK;
	log_event(LOG_INFO, "access", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("client", slice_of(s->facts.ip_text)), LOG_STR("key", a->key),
	          LOG_UINT("code", a->status.code), LOG_END);
	return session_keep(s, a->status);
}

/* Each look-up has its own memory: a client that says EHLO or MAIL without end has the same answer each time. */
static struct mail_status access_of_client(struct session *s)
{
	struct arena mem = ARENA_INIT(ACCESS_MEM);
	struct access a;
	struct mail_status status = has_access(s->smtpd) ? take_access(s, access_client(s->smtpd->maps, &s->facts.ip, &mem, &a), &a, OF_CLIENT) : MAIL_STATUS_OK;
	arena_free(&mem);
	return status;
}

struct mail_status policy_client_name(struct session *s)
{
	struct arena mem = ARENA_INIT(ACCESS_MEM);
	struct access a;
	struct mail_status status = has_access(s->smtpd) ? take_access(s, access_ptr(s->smtpd->maps, s->facts.reverse_name, &mem, &a), &a, OF_CLIENT) : MAIL_STATUS_OK;
	arena_free(&mem);
	return status;
}

static struct mail_status access_of_helo(struct session *s)
{
	struct arena mem = ARENA_INIT(ACCESS_MEM);
	struct access a;
	session_forget_helo_words(s);
	struct mail_status status = has_access(s->smtpd) ? take_access(s, access_helo(s->smtpd->maps, s->facts.helo, &mem, &a), &a, OF_HELO) : MAIL_STATUS_OK;
	arena_free(&mem);
	return status;
}

typedef enum answer (*access_by_path)(struct map_set *maps, const struct mail_path *p, struct arena *mem, struct access *out);

static struct mail_status access_of_path(struct session *s, access_by_path look, const struct mail_path *p)
{
	struct arena mem = ARENA_INIT(ACCESS_MEM);
	struct access a;
	struct mail_status status = has_access(s->smtpd) ? take_access(s, look(s->smtpd->maps, p, &mem, &a), &a, OF_PATH) : MAIL_STATUS_OK;
	arena_free(&mem);
	return status;
}

static bool holds(const struct words *w, struct slice word)
{
	for (size_t i = 0; i < w->count; i++)
		if (slice_eq(w->at[i], word))
			return true;
	return false;
}

bool policy_by_passes(const struct session *s, struct slice check)
{
	const struct transaction_facts *t = s->facts.transaction;
	bool found = holds(&s->by_pass, check) || holds(&s->helo_by_pass, check);
	for (size_t i = 0; t && i < t->bypass_count && !found; i++)
		found = slice_eq(t->bypass[i], check);
	return found;
}

/* -- connect --------------------------------------------------------------------------------------------------------------------------------- */

static void send_away(struct session *s, struct mail_status status)
{
	s->state = SESSION_GREETED;
	session_answer(s, step_close(status));
}

static void greet(void *arg)
{
	struct session *s = arg;
	char byte;
	bool local = s->facts.listener == LISTENER_LOCAL;        /* a pipe's end writes all at once (sendmail -bs) */
	bool talks = !local && (s->talked_early || (!s->facts.tls && recv(conn_fd(s->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0));
	if (talks && !policy_by_passes(s, SLICE("pre-greeting"))) {
		log_event(LOG_INFO, "pre-greeting", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("client", slice_of(s->facts.ip_text)), LOG_END);
		send_away(s, MAIL_STATUS(MAIL_NEVER, 554, 5, 1, "Wait for the greeting before you speak"));
		return;
	}
	if (!local) /* whose line says who it is */
		log_event(LOG_INFO, "session", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("client", slice_of(s->facts.ip_text)),
		          LOG_STR("listener", listener_kind_name(s->facts.listener)), LOG_END);
	hello_greet(s);
}

static void connection_judged(struct session *s, const struct mail_status *refusal)
{
	if (refusal)
		send_away(s, *refusal);
	else if (smtpd_settings.greet_delay_ms && !s->facts.exempt && !s->facts.tls)
		session_after(s, smtpd_settings.greet_delay_ms, greet);
	else
		greet(s);
}

void policy_connect(struct session *s)
{
	struct harvest_who who = policy_who(s);
	s->waiting = true;
	if (s->smtpd->stopping || s->smtpd->draining) {
		send_away(s, MAIL_STATUS(MAIL_LATER, 421, 3, 2, "This server is closing, try again later"));
		return;
	}
	struct mail_status status = access_of_client(s);
	if (status.fate == MAIL_OK && harvest_level(s->smtpd->harvest, &who, clock_wall_s()) == HARVEST_REFUSE) {
		status = POLICY_TOO_MANY;
		policy_log_guesser(s, HARVEST_REFUSE);
		attack_note(s, ATTACK_HARVEST, &status);
	}
	if (status.fate != MAIL_OK) {
		send_away(s, status);
		return;
	}
	s->checks = checks_new(s);
	checks_run(s->checks, CHECK_CONNECT, NULL, connection_judged, s);
}

/* -- EHLO ------------------------------------------------------------------------------------------------------------------------------------- */

static void judged(struct session *s, const struct mail_status *refusal)
{
	policy_done done = s->policy_done;
	done(s, refusal ? *refusal : MAIL_STATUS_OK);
}

void policy_hello(struct session *s, policy_done done)
{
	s->policy_done = done;
	struct mail_status status = access_of_helo(s);
	if (status.fate != MAIL_OK)
		done(s, status);
	else
		checks_run(s->checks, CHECK_HELO, NULL, judged, s);
}

/* -- MAIL ------------------------------------------------------------------------------------------------------------------------------------- */

static struct slice certificate_text(const struct session *s, struct arena *mem)
{
	struct buf b = BUF_INIT(64);
	if (!s->facts.client_certificate)
		return SLICE("");
	text_add_hex(&b, slice((const char *)s->facts.certificate_sha256, sizeof s->facts.certificate_sha256));
	struct slice text = arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return text;
}

static struct mail_status find_evidence(struct session *s)
{
	struct transaction_facts *t = transaction_facts_of(s->transaction);
	struct arena *mem = transaction_arena(s->transaction);
	const struct judge_client client = { &s->facts.ip, certificate_text(s, mem), s->facts.login,
		                               s->facts.listener != LISTENER_MX && s->facts.listener != LISTENER_LOCAL, s->facts.user };
	return judge_evidence(s->smtpd->maps, &client, &t->reverse_path, mem, &t->evidence);
}

struct rate {
	enum harvest_rate kind;
	const char *limit;           /* the setting, for the log */
	uint64_t per_hour;
};

static bool take_rate(struct session *s, const struct rate *r, struct slice key)
{
	uint64_t burst = r->per_hour / 10 > 5 ? r->per_hour / 10 : 5;
	if (!r->per_hour || harvest_take(s->smtpd->harvest, r->kind, key, r->per_hour, burst < r->per_hour ? burst : r->per_hour, clock_wall_us() / 1000))
		return true;
	log_event(LOG_INFO, "rate", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("id", unique_slice(&s->facts.transaction->id)),
	          LOG_STR("client", slice_of(s->facts.ip_text)), LOG_CSTR("limit", r->limit), LOG_STR("key", key), LOG_END);
	return false;
}

/* A path as often as it is written otherwise: who may choose capitals, or what stands behind the delimiter, has a rate of his own for none of them. */
static bool take_rate_of_path(struct session *s, const struct rate *r, struct slice path)
{
	struct slice key = r->per_hour ? text_lower(transaction_arena(s->transaction), path) : SLICE("");
	return take_rate(s, r, key.p ? key : path);
}

static bool take_rate_of_network(struct session *s, const struct rate *r)
{
	struct net_ip network = s->facts.ip;
	size_t keep = network.is_v4 ? 12 + V4_NETWORK / 8 : V6_NETWORK / 8;
	struct buf key = BUF_INIT(64);
	memset(network.bytes + keep, 0, sizeof network.bytes - keep);
	net_ip_print(&key, &network);
	buf_addf(&key, "/%u", network.is_v4 ? V4_NETWORK : V6_NETWORK);
	bool within = take_rate(s, r, buf_slice(&key));
	buf_free(&key);
	return within;
}

static bool has_no_rate(const struct session *s)
{
	return s->facts.exempt || policy_by_passes(s, SLICE("rate"));
}

static bool within_rates(struct session *s)
{
	const struct transaction_facts *t = s->facts.transaction;
	const struct rate client = { HARVEST_RATE_CLIENT, "rate-client", smtpd_settings.rate_client }, network = { HARVEST_RATE_NETWORK, "rate-network", smtpd_settings.rate_network },
	                  path = { HARVEST_RATE_REVERSE_PATH, "rate-reverse-path", smtpd_settings.rate_reverse_path };
	return has_no_rate(s) || (take_rate(s, &client, slice_of(s->facts.ip_text)) && take_rate_of_network(s, &network) && (!t->sender.n || take_rate_of_path(s, &path, t->sender)));
}

/* Of the one leaf, where there is one: "alice+x" is alice. */
static bool within_rate_of(struct session *s, const struct recipient *r)
{
	const struct rate rate = { HARVEST_RATE_RECIPIENT, "rate-recipient", smtpd_settings.rate_recipient };
	return has_no_rate(s) || take_rate_of_path(s, &rate, r->resolved.count == 1 ? r->resolved.leaves[0].address : r->address);
}

static struct mail_status judge_mail(struct session *s)
{
	struct transaction_facts *t = transaction_facts_of(s->transaction);
	if (!s->smtpd->maps)
		return NO_MAPS;
	struct mail_status status = find_evidence(s);
	if (status.fate != MAIL_OK)
		return status;
	status = access_of_path(s, access_from, &t->reverse_path);
	if (status.fate != MAIL_OK)
		return status;
	s->by_passed_for_sender = t->bypass_count;
	return within_rates(s) ? MAIL_STATUS_OK : TOO_FAST;
}

static void add_tags_of_session(struct session *s)
{
	struct transaction_facts *t = transaction_facts_of(s->transaction);
	struct words tags = { t->tags, t->tag_count };
	add_words(&tags, transaction_arena(s->transaction), s->tags.at, s->tags.count);
	add_words(&tags, transaction_arena(s->transaction), s->helo_tags.at, s->helo_tags.count);
	t->tag_count = tags.count;
}

void policy_mail(struct session *s, policy_done done)
{
	s->policy_done = done;
	policy_whose_budget(s);
	struct mail_status status = judge_mail(s);
	add_tags_of_session(s);
	if (status.fate != MAIL_OK)
		done(s, status);
	else
		checks_run(s->checks, CHECK_MAIL, NULL, judged, s);
}

/* -- RCPT ------------------------------------------------------------------------------------------------------------------------------------- */

static void log_refused(const struct session *s, const struct recipient *r, const struct mail_status *status)
{
	const struct transaction_facts *t = s->facts.transaction;
	log_event(LOG_INFO, "rcpt-refused", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("id", unique_slice(&t->id)),
	          LOG_STR("client", slice_of(s->facts.ip_text)), LOG_STR("helo", s->facts.helo), LOG_STR("from", t->sender), LOG_STR("to", r->address),
	          LOG_STR("leaf", r->hop_leaf), LOG_STR("place", r->hop_place), LOG_STR("host", r->hop_host), LOG_UINT("code", status->code), LOG_STR("text", status->text), LOG_END);
}

static void added(struct session *s, struct mail_status status)
{
	if (status.fate != MAIL_OK)
		log_refused(s, s->candidate, &status);
	if (policy_is_unknown(s->candidate, &status)) {
		policy_refuse_unknown(s, status);
		return;
	}
	if (status.fate != MAIL_OK)
		attack_note_rcpt(s, s->candidate, false, &status);
	s->policy_done(s, status);
}

static void rcpt_checked(struct session *s, const struct mail_status *refusal)
{
	static const struct mail_status nowhere = { MAIL_LATER, 451, { 3, 0 }, SLICE_INIT("This address can't be resolved just now") };
	if (!refusal && s->candidate->resolved.count) {
		transaction_add(s->transaction, s->candidate, added);
		return;
	}
	if (!refusal)
		refusal = &nowhere;
	log_refused(s, s->candidate, refusal);
	if (policy_is_unknown(NULL, refusal)) { /* a filter knows the recipients */
		policy_refuse_unknown(s, *refusal);
		return;
	}
	attack_note_rcpt(s, s->candidate, true, refusal);
	s->policy_done(s, *refusal);
}

static struct mail_status judge_rcpt(struct session *s, struct recipient *r)
{
	const struct transaction_facts *t = s->facts.transaction;
	if (mail_path_is_null(&t->reverse_path) && t->recipient_count) /* rule.md, "Reports that come to us" */
		return MAIL_STATUS(MAIL_LATER, 452, 5, 3, "A report has one recipient, send it again for this one");
	if (!s->smtpd->maps)
		return NO_MAPS;
	bool tagged = returns_is_srs(s->smtpd->maps, &r->path); /* without leaves until its check has resolved it */
	struct mail_status status = MAIL_STATUS_OK;
	if (!tagged)
		status = judge_forward_path(s->smtpd->maps, &t->evidence, &r->path, false, transaction_arena(s->transaction), &r->resolved);
	if (status.fate != MAIL_OK)
		return status;
	status = access_of_path(s, access_to, &r->path);
	if (status.fate != MAIL_OK)
		return status;
	return within_rate_of(s, r) ? MAIL_STATUS_OK : TOO_FAST;
}

static void rcpt_seen(struct session *s)
{
	struct recipient *r = s->candidate;
	const struct transaction_facts *t = s->facts.transaction;
	size_t words = t->tag_count + t->bypass_count;
	struct mail_status status = judge_rcpt(s, r);
	if (status.fate == MAIL_OK) {
		checks_run(s->checks, CHECK_RCPT, r, rcpt_checked, s);
		return;
	}
	s->judged_at = words == t->tag_count + t->bypass_count ? transaction_arena(s->transaction)->used : 0;
	log_refused(s, r, &status);
	if (policy_is_unknown(s->candidate, &status)) {
		policy_refuse_unknown(s, status);
		return;
	}
	attack_note_rcpt(s, r, true, &status);
	s->policy_done(s, status);
}

void policy_rcpt(struct session *s, struct recipient *r, policy_done done)
{
	s->policy_done = done;
	s->candidate = r;
	transaction_facts_of(s->transaction)->bypass_count = s->by_passed_for_sender; /* what one recipient is spared, the next one isn't */
	policy_unless_blind(s, rcpt_seen);
}

/* -- DATA --------------------------------------------------------------------------------------------------------------------------------------- */

void policy_data(struct session *s, policy_done done)
{
	struct transaction_facts *t = transaction_facts_of(s->transaction);
	s->policy_done = done;
	t->bypass_count = s->by_passed_for_sender;
	if (t->blind)
		done(s, MAIL_STATUS_OK); /* no check has a say any more */
	else
		checks_run(s->checks, CHECK_DATA, NULL, judged, s);
}

/* -- a command that nobody knows --------------------------------------------------------------------------------------------------------------- */

static void unknown_judged(struct session *s, const struct mail_status *refusal)
{
	s->facts.unknown_command = SLICE_NONE;
	judged(s, refusal);
}

/* A copy: the second filter hears of it when the first one has answered, and other clients have said other lines by then. There are three at most in a session. */
void policy_unknown(struct session *s, struct slice line, policy_done done)
{
	s->policy_done = done;
	s->facts.unknown_command = arena_copy(&s->mem, line);
	checks_run(s->checks, CHECK_UNKNOWN, NULL, unknown_judged, s);
}
