/* A record for the queue, held until its destinations are known to be willing. Their questions are among the message's (base/mail_dns). */
#include "smtpd/evidence_tell.h"

#include "base/mail_dns.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "queue/feedback.h"
#include "queue/queue_proto.h"
#include "smtpd/evidence_settings.h"
#include "smtpd/peer.h"
#include "smtpd/smtpd.h"

enum { MAX_OPEN = 64 };

struct telling {
	struct smtpd *d;
	struct arena mem;
	struct feedback f;
	struct dmarc_report_row row;
	struct slice asked[FEEDBACK_MAX_URIS]; /* addresses that wait for an answer, one after another */
	size_t asked_count, at;
};

static void ask_next(struct telling *t);

static void finish(struct telling *t)
{
	struct buf b = BUF_INIT(FEEDBACK_MAX_RECORD + 1000);
	if (t->f.to_count && feedback_put(&b, &t->f) == 0)
		peer_tell(t->d->queue, QUEUE_FEEDBACK, 0, buf_slice(&b));
	buf_free(&b);
	t->d->tellings--;
	arena_free(&t->mem);
	mem_free(t);
}

static void add_to(struct telling *t, struct slice address)
{
	for (size_t i = 0; i < t->f.to_count; i++)
		if (slice_eq_nocase(t->f.to[i], address))
			return;
	if (t->f.to_count < FEEDBACK_MAX_URIS)
		t->f.to[t->f.to_count++] = address;
}

/* Its domain; "": no address that mail can be sent to. */
static struct slice domain_of(struct telling *t, struct slice address)
{
	struct mail_path path;
	const char *why;
	return address.n <= 250 && mail_path_parse_address(address, &t->mem, &path, &why) == 0 ? path.domain : SLICE("");
}

/* Whoever agrees may name other addresses of its own (RFC 9990, 4). */
static void add_willing(struct telling *t, struct slice text)
{
	struct slice asked = t->asked[t->at], domain = domain_of(t, asked);
	struct dmarc_record r;
	if (dmarc_record_parse(text, &r) || !r.rua_count) {
		add_to(t, asked);
		return;
	}
	for (size_t i = 0; i < r.rua_count; i++) {
		struct slice address = dmarc_uri_address(r.rua[i], &t->mem);
		if (slice_eq_nocase(domain_of(t, address), domain))
			add_to(t, address);
	}
}

static void on_answer(void *arg, const struct dns_answer *a)
{
	struct telling *t = arg;
	struct slice record = SLICE("");
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++)
		if (dmarc_record_is(a->records[i].data))
			record = a->records[i].data;
	if (record.n)
		add_willing(t, record);
	t->at++;
	ask_next(t);
}

static void ask_next(struct telling *t)
{
	if (t->at == t->asked_count) {
		finish(t);
		return;
	}
	struct buf name = BUF_INIT(1000);
	buf_addf(&name, "%.*s._report._dmarc.%.*s", SLICE_FMT(t->f.report.domain), SLICE_FMT(domain_of(t, t->asked[t->at])));
	dns_ask(t->d->dns, DNS_TXT, buf_slice(&name), on_answer, t);
	buf_free(&name);
}

static bool is_below(struct slice name, struct slice domain)
{
	return slice_ends_nocase(name, domain) && (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
}

/* questions: how many this message may still ask. */
static void add_destinations(struct telling *t, const struct dmarc_verdict *v, size_t questions)
{
	for (size_t i = 0; i < v->record.rua_count && t->f.to_count + t->asked_count < FEEDBACK_MAX_URIS; i++) {
		struct slice address = dmarc_uri_address(v->record.rua[i], &t->mem), domain = domain_of(t, address);
		if (domain.n && v->organisation.n && is_below(domain, v->organisation))
			add_to(t, address);
		else if (domain.n && t->asked_count < questions)
			t->asked[t->asked_count++] = address;
	}
}

static struct slice keep(struct telling *t, struct slice s)
{
	return s.n ? arena_copy(&t->mem, slice_head(s, 253)) : SLICE("");
}

static struct slice policy_word(enum dmarc_policy p)
{
	return slice_of(dmarc_policy_name(p));
}

static void fill_policies(struct telling *t, const struct dmarc_verdict *v)
{
	struct dmarc_report *r = &t->f.report;
	r->domain = keep(t, v->domain);
	t->f.organisation = keep(t, v->organisation.n ? v->organisation : v->domain);
	r->p = policy_word(v->record.p);
	r->sp = policy_word(v->record.sp);
	r->np = policy_word(v->record.np);
	r->adkim = v->record.strict_dkim ? SLICE("s") : SLICE("r");
	r->aspf = v->record.strict_spf ? SLICE("s") : SLICE("r");
	r->testing = v->record.testing ? SLICE("y") : SLICE("n");
	r->discovery = evidence_settings.dmarc_suffixes.n ? SLICE("psl") : SLICE("treewalk");
	r->rows = &t->row;
	r->row_count = 1;
}

/* What was done: "pass" where nothing had to be, "none" where the policy asks for nothing or was overridden. */
static struct slice disposition(const struct dmarc_verdict *v, const struct evidence_policy *p)
{
	if (v->result == DMARC_PASS)
		return v->policy == DMARC_POLICY_NONE ? SLICE("none") : SLICE("pass");
	if (p->status.fate == MAIL_NEVER)
		return SLICE("reject");
	return slice_eq(p->tag, SLICE("dmarc-quarantine")) ? SLICE("quarantine") : SLICE("none");
}

static void fill_row(struct telling *t, struct check *c, const struct mail_check_results *r, const struct evidence_policy *p)
{
	struct dmarc_report_row *row = &t->row;
	const struct transaction_facts *f = check_facts(c)->transaction;
	const struct dkim_verdict *signature = r->dkim_count ? &r->dkim[0] : NULL;
	for (size_t i = 0; i < r->dkim_count; i++)
		if (slice_eq(r->dkim[i].domain, r->dmarc->aligned_dkim) && r->dkim[i].result == DKIM_PASS)
			signature = &r->dkim[i];
	struct slice none = SLICE("");
	*row = (struct dmarc_report_row){ keep(t, slice_of(check_facts(c)->ip_text)), 0, disposition(r->dmarc, p), none, none, none, none, none, none, none, none, none, none };
	row->dkim = r->dmarc->dkim_aligned ? SLICE("pass") : SLICE("fail");
	row->spf = r->dmarc->spf_aligned ? SLICE("pass") : SLICE("fail");
	row->reason = p->override && r->dmarc->result == DMARC_FAIL ? slice_of(p->override) : none;
	row->header_from = keep(t, r->dmarc->author);
	row->envelope_from = keep(t, f->reverse_path.domain);
	if (signature && signature->domain.n) {
		row->dkim_domain = keep(t, signature->domain);
		row->dkim_selector = keep(t, signature->selector);
		row->dkim_result = slice_of(dkim_result_name(signature->result));
	}
	if (r->spf) {
		row->spf_domain = keep(t, r->spf_is_helo ? check_facts(c)->helo : f->reverse_path.domain);
		row->spf_result = slice_of(spf_result_name(r->spf->result));
	}
}

void evidence_tell(struct check *c, const struct mail_check_results *r, const struct evidence_policy *p)
{
	const struct dmarc_verdict *v = r->dmarc;
	if (!v || (v->result != DMARC_PASS && v->result != DMARC_FAIL) || !v->record.rua_count)
		return;
	struct telling *t = MEM_NEW(struct telling);
	t->d = check_smtpd(c);
	bool crowded = t->d->tellings++ >= MAX_OPEN; /* a zone that doesn't answer holds each of them for long */
	t->mem.max = 64 << 10;
	fill_policies(t, v);
	fill_row(t, c, r, p);
	add_destinations(t, v, crowded || r->questions >= MAIL_DNS_MAX ? 0 : MAIL_DNS_MAX - r->questions);
	ask_next(t);
}

void evidence_tell_seen(struct check *c)
{
	const struct transaction_facts *t = check_facts(c)->transaction;
	struct queue_seen seen = { t->sender, (uint8_t)t->evidence.grade };
	struct buf b = BUF_INIT(4096);
	if (t->sender.n && t->evidence.grade >= EVIDENCE_SPF && queue_put_seen(&b, &seen, 1) == 0)
		peer_tell(check_smtpd(c)->queue, QUEUE_SEEN, 0, buf_slice(&b));
	buf_free(&b);
}
