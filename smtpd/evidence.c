/* The check `evidence`. One at a time is waited for: SPF at RCPT, all at the dot, a seal behind it. */
#include "smtpd/evidence.h"

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/log.h"
#include "base/mail_authres.h"
#include "base/mail_check.h"
#include "base/mem.h"
#include "maps/map.h"
#include "maps/signers.h"
#include "smtpd/evidence_grade.h"
#include "smtpd/evidence_policy.h"
#include "smtpd/evidence_seal.h"
#include "smtpd/evidence_settings.h"
#include "smtpd/evidence_tell.h"
#include "smtpd/smtpd.h"

enum { MAX_RESULTS = 100 };
enum waiting { WAITING_NO, WAITING_SPF, WAITING_END };

struct evidence_state {
	struct check *c;
	struct mail_check *check;    /* NULL: nothing is checked in this transaction */
	enum waiting waiting;
	bool graded, has_head;
	bool refuses;                /* what SPF says, whichever recipient is named */
	struct slice reason;         /* of the grade that was found here */
	struct buf results;          /* our Authentication-Results, its value; empty before the dot */
};

static struct suffix_list *suffixes;

static void start(struct smtpd *d)
{
	struct slice file = evidence_settings.dmarc_suffixes;
	(void)d;
	if (!file.n)
		return;
	suffixes = suffix_list_new(slice_eq(file, SLICE("builtin")) ? SLICE("") : file);
	if (!suffixes)
		log_event(LOG_ERROR, "suffixes", LOG_STR("file", file), LOG_CSTR("error", "can't be read, the tree walk is used"), LOG_END);
}

static void *begin(struct check *c)
{
	struct evidence_state *s = MEM_NEW(struct evidence_state);
	s->c = c;
	buf_init(&s->results, 64 << 10);
	return s;
}

static bool is_wanted(struct check *c)
{
	return evidence_is_on() && check_facts(c)->listener == LISTENER_MX && check_smtpd(c)->dns;
}

/* -- the envelope ----------------------------------------------------------------------------------------------------------------------------------- */

static void begin_transaction(struct evidence_state *s)
{
	const struct session_facts *f = check_facts(s->c);
	struct smtpd *d = check_smtpd(s->c);
	struct mail_check_options o = { .suffixes = suffixes, .helo_too = evidence_settings.spf_helo, .seal = evidence_settings.arc_seal.n > 0,
		                        .dkim = { .now_s = clock_wall_s() } };
	s->check = mail_check_new(d->loop, d->dns, &o);
	if (check_is_passed_by(s->c, SLICE("spf")))
		return;
	struct mail_check_envelope e = { .client = f->ip, .helo = f->helo, .local_part = f->transaction->reverse_path.local_part,
		                         .domain = f->transaction->reverse_path.domain };
	mail_check_envelope(s->check, &e);
}

/* Is one of the domains that led to the match, or the client, a shared hoster's? What the map can't say proves nobody either. */
static bool is_hoster(struct check *c, const struct spf_verdict *spf)
{
	struct smtpd *d = check_smtpd(c);
	struct arena mem = ARENA_INIT(64 << 10);
	struct map_entry e;
	bool found = d->maps && map_find_ip(d->maps, MAP_HOSTERS, SLICE("client:"), &check_facts(c)->ip, &mem, &e) != ABSENT;
	for (size_t i = 0; d->maps && spf && i < spf->path_count && !found; i++)
		found = hosters_find(d->maps, spf->path[i], &mem) != ABSENT;
	arena_free(&mem);
	return found;
}

static void grade(struct evidence_state *s)
{
	const struct transaction_facts *t = check_facts(s->c)->transaction;
	struct mail_check_results r;
	struct evidence e;
	mail_check_results(s->check, &r);
	struct evidence_facts f = { .local_part = t->reverse_path.local_part, .domain = t->reverse_path.domain, .spf = r.spf, .spf_is_helo = r.spf_is_helo,
		                    .dkim = r.dkim, .dkim_count = r.dkim_count };
	f.hoster = r.spf && r.spf->result == SPF_PASS && is_hoster(s->c, r.spf);
	evidence_grade(&f, check_arena(s->c), &e);
	s->reason = e.reason;
	check_evidence(s->c, &e);
	if (e.grade == EVIDENCE_SPF || e.grade == EVIDENCE_DKIM)
		check_proven_domain(s->c, e.who);
}

/* What SPF alone decides, once it is known. */
static enum check_step judge_spf(struct evidence_state *s)
{
	struct mail_check_results r;
	mail_check_results(s->check, &r);
	grade(s);
	s->graded = true;
	if (!r.spf || check_is_passed_by(s->c, SLICE("spf")) || slice_eq(evidence_settings.spf_fail, SLICE("take")))
		return CHECK_GO_ON;
	bool refuse = slice_eq(evidence_settings.spf_fail, SLICE("refuse"));
	s->refuses = refuse && (r.spf->result == SPF_TEMPERROR || r.spf->result == SPF_FAIL);
	if (r.spf->result == SPF_TEMPERROR && refuse) {
		check_refuse(s->c, MAIL_STATUS(MAIL_LATER, 451, 7, 24, "The SPF record of your domain can't be asked for just now")); /* RFC 7372 */
		return CHECK_REFUSE;
	}
	if (r.spf->result != SPF_FAIL)
		return CHECK_GO_ON;
	if (!refuse) {
		check_tag(s->c, SLICE("spf-fail"));
		return CHECK_GO_ON;
	}
	check_refuse(s->c, MAIL_STATUS(MAIL_NEVER, 550, 7, 23, "SPF: this client may not send for the domain of your reverse-path"));
	return CHECK_REFUSE;
}

static void on_spf(void *arg)
{
	struct evidence_state *s = arg;
	if (s->waiting != WAITING_SPF)
		return;
	s->waiting = WAITING_NO;
	check_answer(s->c, judge_spf(s));
}

static enum check_step need_spf(struct evidence_state *s)
{
	struct mail_check_results r;
	mail_check_results(s->check, &r);
	if (r.spf || check_is_passed_by(s->c, SLICE("spf")))
		return judge_spf(s);
	s->waiting = WAITING_SPF;
	mail_check_await_spf(s->check, on_spf, s);
	return CHECK_WAIT;
}

/* -- content ---------------------------------------------------------------------------------------------------------------------------------------- */

static void on_head(void *state, struct check *c, struct slice head)
{
	struct evidence_state *s = state;
	struct arena mem = ARENA_INIT(8 << 20);
	struct mail_header h;
	(void)c;
	if (s->check && !s->has_head && mail_header_parse(head, SIZE_MAX, &mem, &h) == 0) {
		s->has_head = true;
		mail_check_header(s->check, &h);
	}
	arena_free(&mem);
}

static void on_body(void *state, struct check *c, struct slice bytes)
{
	struct evidence_state *s = state;
	(void)c;
	if (s->check && s->has_head)
		mail_check_body(s->check, bytes);
}

/* Results of others that bear our name are no results (RFC 8601, 5); nor is what stands behind more of them than anybody needs. Tags are ours as well, unless access by-passes `tags` for
 * the client, which is another Porter in front of this one. */
static bool is_false(struct check *c, const struct mail_field *f, size_t *seen)
{
	if (slice_eq_nocase(f->name, SLICE("X-Porter-Tags")))
		return !check_is_passed_by(c, SLICE("tags"));
	return slice_eq_nocase(f->name, SLICE("Authentication-Results")) && (++*seen > MAX_RESULTS || authres_is_ours(f->value, evidence_authserv_id()));
}

static int remove_false_results(struct check *c)
{
	struct message *m = check_message(c);
	struct slice in = buf_slice(&m->head);
	struct buf kept = BUF_INIT(m->head.max);
	struct mail_field f;
	enum mail_field_kind kind;
	size_t removed = 0, seen = 0;
	while ((kind = mail_field_next(&in, &f)) != MAIL_FIELD_END)
		if (kind == MAIL_FIELD && is_false(c, &f, &seen))
			removed++;
		else
			buf_add(&kept, f.raw);
	buf_add(&kept, SLICE("\r\n"));
	int error = removed ? message_set_head(m, buf_slice(&kept)) : 0;
	buf_free(&kept);
	return error;
}

/* -- the dot ---------------------------------------------------------------------------------------------------------------------------------------- */

static void log_results(struct evidence_state *s, const struct mail_check_results *r)
{
	const struct session_facts *f = check_facts(s->c);
	log_event(LOG_INFO, "evidence", LOG_STR("id", unique_slice(&f->transaction->id)), LOG_CSTR("spf", r->spf ? spf_result_name(r->spf->result) : "none"),
	          LOG_CSTR("dkim", r->dkim_count ? dkim_result_name(r->dkim[0].result) : "none"),
	          LOG_STR("d", r->dkim_count ? r->dkim[0].domain : SLICE("")), LOG_CSTR("dmarc", r->dmarc ? dmarc_result_name(r->dmarc->result) : r->from_wrong),
	          LOG_STR("from", r->dmarc ? r->dmarc->author : SLICE("")), LOG_CSTR("arc", r->arc ? arc_result_name(r->arc->result) : "none"),
	          LOG_STR("grade", evidence_name(f->transaction->evidence.grade)), LOG_STR("reason", s->reason),
	          LOG_UINT("questions", r->questions), LOG_END);
}

/* All is known: policy, and our field. */
static enum check_step judge_all(struct evidence_state *s)
{
	struct mail_check_results r;
	struct evidence_policy p;
	mail_check_results(s->check, &r);
	grade(s);
	evidence_policy_judge(s->c, &r, check_is_passed_by(s->c, SLICE("dmarc")), &p);
	log_results(s, &r);
	if (evidence_settings.reports)
		evidence_tell(s->c, &r, &p);
	if (p.status.fate != MAIL_OK) {
		check_refuse(s->c, p.status);
		return CHECK_REFUSE;
	}
	evidence_tell_seen(s->c);
	if (p.tag.n)
		check_tag(s->c, p.tag);
	mail_check_authres(s->check, evidence_authserv_id(), NULL, NULL, &s->results);
	check_add_field(s->c, SLICE("Authentication-Results"), buf_slice(&s->results));
	return CHECK_GO_ON;
}

static void on_end(void *arg)
{
	struct evidence_state *s = arg;
	if (s->waiting != WAITING_END)
		return;
	s->waiting = WAITING_NO;
	check_answer(s->c, judge_all(s));
}

static enum check_step at_dot(struct evidence_state *s)
{
	struct message *m = check_message(s->c);
	if (remove_false_results(s->c)) {
		check_refuse(s->c, MAIL_STATUS_UNSURE("The message could not be taken in hand, try again"));
		return CHECK_REFUSE;
	}
	if (!s->check)
		return CHECK_GO_ON;
	if (!s->has_head)
		on_head(s, s->c, buf_slice(&m->head));
	if (!s->has_head) {
		check_refuse(s->c, MAIL_STATUS(MAIL_NEVER, 550, 6, 0, "The header section can't be read"));
		return CHECK_REFUSE;
	}
	s->waiting = WAITING_END;
	mail_check_end(s->check, on_end, s);
	return CHECK_WAIT;
}

struct evidence_seal *evidence_begin_seal(struct check *c, void (*done)(void *arg, struct mail_status status), void *arg)
{
	struct evidence_state *s = check_state_of(c, &evidence_check);
	struct mail_check_results r;
	if (!s || !s->check || !s->results.n)
		return NULL;
	mail_check_results(s->check, &r);
	return evidence_seal_start(c, s->check, &r, buf_slice(&s->results), done, arg);
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	struct evidence_state *s = state;
	switch (stage) {
	case CHECK_CONNECT:
	case CHECK_HELO:
	case CHECK_UNKNOWN:
		return CHECK_GO_ON;
	case CHECK_MAIL:
		if (is_wanted(c)) {
			check_adds_fields(c);
			begin_transaction(s);
		}
		return CHECK_GO_ON;
	case CHECK_RCPT:
	case CHECK_DATA:
	case CHECK_ASKER:
		return s->check && (!s->graded || s->refuses) ? need_spf(s) : CHECK_GO_ON;
	case CHECK_DOT:
		return at_dot(s);
	}
	return CHECK_GO_ON;
}

static void forget(struct evidence_state *s)
{
	mail_check_free(s->check);
	buf_clear(&s->results);
	s->check = NULL;
	s->waiting = WAITING_NO;
	s->graded = s->refuses = s->has_head = false;
	s->reason = SLICE_NONE;
}

static void reset(void *state, struct check *c)
{
	(void)c;
	forget(state);
}

static void cancel(void *state, struct check *c)
{
	(void)c;
	forget(state);
}

static void end(void *state)
{
	struct evidence_state *s = state;
	forget(s);
	buf_free(&s->results);
	mem_free(s);
}

const struct check_kind evidence_check = { "evidence", start, begin, run, on_head, on_body, cancel, reset, end };
