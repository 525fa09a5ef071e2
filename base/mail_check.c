/* The checks of one message side by side, and the join at its end: DMARC waits for SPF and DKIM, the caller for all. */
#include "base/mail_check.h"

#include <errno.h>

#include "base/idn.h"
#include "base/mail_author.h"
#include "base/mail_authres.h"
#include "base/mem.h"
#include "base/text.h"

struct mail_check {
	struct mail_dns *dns;
	struct mail_check_options options;
	struct arena mem;
	struct loop_timer *timer;       /* for waiters of what is known already */
	struct spf *spf, *helo;
	struct mail_check_envelope envelope;
	bool spf_is_helo, spf_known, helo_known;
	struct mail_body *body;
	int seal_digest;
	struct dkim *dkim;
	struct arc *arc;
	struct dmarc *dmarc;
	const char *from_wrong;
	bool from_hides;
	struct slice author;
	bool ending, dkim_known, arc_known, dmarc_asked, dmarc_known, ended;
	void (*spf_waiter)(void *arg);
	void *spf_waiter_arg;
	void (*done)(void *arg);
	void *arg;
};

static void look_on(struct mail_check *c);
static void on_timer(void *arg);

struct mail_check *mail_check_new(struct loop *l, struct dns *d, const struct mail_check_options *options)
{
	struct mail_check *c = MEM_NEW(struct mail_check);
	c->options = *options;
	c->mem.max = 1 << 20;
	c->dns = mail_dns_new(l, d, MAIL_DNS_MAX);
	c->timer = loop_timer_new(l, on_timer, c);
	return c;
}

struct mail_dns *mail_check_dns(struct mail_check *c)
{
	return c->dns;
}

/* -- the envelope --------------------------------------------------------------------------------------------------------- */

static void tell_spf(struct mail_check *c)
{
	void (*waiter)(void *) = c->spf_waiter;
	c->spf_waiter = NULL;
	if (waiter && c->spf_known)
		waiter(c->spf_waiter_arg);
}

static void on_timer(void *arg)
{
	struct mail_check *c = arg;
	if (c->spf_waiter && c->spf_known)
		tell_spf(c);
	else
		look_on(c);
}

static void on_spf(void *arg, struct spf *s)
{
	struct mail_check *c = arg;
	(void)s;
	c->spf_known = true;
	/* one thing at a time: a waiter may free the check */
	if (c->ending)
		loop_timer_set(c->timer, 0);
	tell_spf(c);
}

static void on_helo(void *arg, struct spf *s)
{
	struct mail_check *c = arg;
	(void)s;
	c->helo_known = true;
	look_on(c);
}

void mail_check_envelope(struct mail_check *c, const struct mail_check_envelope *e)
{
	struct slice domain = e->domain;
	c->spf_is_helo = !e->domain.n;
	if (!c->spf_is_helo && idn_to_ascii(e->domain, &c->mem, &domain))
		domain = e->domain;
	c->envelope = (struct mail_check_envelope){ e->client, arena_copy(&c->mem, e->helo), arena_copy(&c->mem, e->local_part), arena_copy(&c->mem, domain) };
	struct spf_question q = { .client = e->client, .helo = e->helo, .local_part = e->local_part, .domain = c->spf_is_helo ? e->helo : domain };
	c->spf = spf_start(c->dns, &q, on_spf, c);
	if (c->spf_is_helo || !c->options.helo_too)
		return;
	struct spf_question h = { .client = e->client, .helo = e->helo, .domain = e->helo };
	c->helo = spf_start(c->dns, &h, on_helo, c);
}

void mail_check_await_spf(struct mail_check *c, void (*done)(void *arg), void *arg)
{
	c->spf_waiter = done;
	c->spf_waiter_arg = arg;
	if (c->spf_known)
		loop_timer_set(c->timer, 0);
}

/* -- content -------------------------------------------------------------------------------------------------------------- */

void mail_check_header(struct mail_check *c, const struct mail_header *h)
{
	c->body = mail_body_new();
	if (c->options.seal)
		c->seal_digest = mail_body_want(c->body, CANON_RELAXED, false, MAIL_BODY_WHOLE);
	c->dkim = dkim_start(c->dns, h, c->body, &c->options.dkim);
	c->arc = arc_start(c->dns, h, c->body, c->options.dkim.lax);
	struct arena mem = ARENA_INIT(1 << 20);
	struct slice author;
	int error = mail_author_shown(h, &mem, &author, &c->from_wrong);
	c->from_hides = error == -EINVAL;
	if (!error) {
		c->author = arena_copy(&c->mem, author);
		c->dmarc = dmarc_start(c->dns, author, c->options.suffixes);
	}
	arena_free(&mem);
}

void mail_check_body(struct mail_check *c, struct slice chunk)
{
	mail_body_add(c->body, chunk);
}

void mail_check_body_digest(const struct mail_check *c, struct mail_digest *out)
{
	mail_body_digest(c->body, c->seal_digest, out);
}

/* -- the end -------------------------------------------------------------------------------------------------------------- */

static void on_dmarc(void *arg, struct dmarc *d)
{
	struct mail_check *c = arg;
	(void)d;
	c->dmarc_known = true;
	look_on(c);
}

static void ask_dmarc(struct mail_check *c)
{
	struct dmarc_identifiers who = { .spf = SLICE("") };
	const struct spf_verdict *spf = c->spf ? spf_verdict(c->spf) : NULL;
	size_t count;
	const struct dkim_verdict *dkim = dkim_verdicts(c->dkim, &count);
	c->dmarc_asked = true;
	if (spf && (spf->result == SPF_PASS || spf->result == SPF_TEMPERROR))
		*(spf->result == SPF_PASS ? &who.spf : &who.unsure_spf) = c->spf_is_helo ? c->envelope.helo : c->envelope.domain;
	for (size_t i = 0; i < count; i++) {
		if (dkim[i].result == DKIM_PASS)
			who.dkim[who.dkim_count++] = dkim[i].domain;
		if (dkim[i].result == DKIM_TEMPERROR)
			who.unsure_dkim[who.unsure_count++] = dkim[i].domain;
	}
	dmarc_judge(c->dmarc, &who, on_dmarc, c);
}

/* Whatever became known: is it the last thing? */
static void look_on(struct mail_check *c)
{
	if (!c->ending || c->ended || (c->spf && !c->spf_known) || (c->helo && !c->helo_known) || !c->dkim_known || !c->arc_known)
		return;
	if (c->dmarc && !c->dmarc_asked)
		ask_dmarc(c);
	if (c->dmarc && !c->dmarc_known)
		return;
	c->ended = true;
	c->done(c->arg);
}

static void on_dkim(void *arg, struct dkim *d)
{
	struct mail_check *c = arg;
	(void)d;
	c->dkim_known = true;
	look_on(c);
}

static void on_arc(void *arg, struct arc *a)
{
	struct mail_check *c = arg;
	(void)a;
	c->arc_known = true;
	look_on(c);
}

void mail_check_end(struct mail_check *c, void (*done)(void *arg), void *arg)
{
	c->ending = true;
	c->done = done;
	c->arg = arg;
	if (!c->body) {
		c->dkim_known = c->arc_known = true;
		loop_timer_set(c->timer, 0);
		return;
	}
	mail_body_end(c->body);
	dkim_judge(c->dkim, on_dkim, c);
	arc_judge(c->arc, on_arc, c);
}

void mail_check_results(const struct mail_check *c, struct mail_check_results *out)
{
	*out = (struct mail_check_results){ .from_wrong = c->from_wrong, .from_hides = c->from_hides, .spf_is_helo = c->spf_is_helo, .questions = mail_dns_asked(c->dns) };
	out->spf = c->spf ? spf_verdict(c->spf) : NULL;
	out->helo = c->helo ? spf_verdict(c->helo) : NULL;
	if (c->dkim_known && c->dkim)
		out->dkim = dkim_verdicts(c->dkim, &out->dkim_count);
	out->dmarc = c->dmarc ? dmarc_verdict(c->dmarc) : NULL;
	out->arc = c->arc_known && c->arc ? arc_verdict(c->arc) : NULL;
}

void mail_check_free(struct mail_check *c)
{
	if (!c)
		return;
	spf_free(c->spf);
	spf_free(c->helo);
	dmarc_free(c->dmarc);
	dkim_free(c->dkim);
	arc_free(c->arc);
	mail_body_free(c->body);
	mail_dns_free(c->dns);
	loop_timer_free(c->timer);
	arena_free(&c->mem);
	mem_free(c);
}

/* -- Authentication-Results ----------------------------------------------------------------------------------------------- */

static struct slice phrase(const char *why)
{
	return why ? slice_of(why) : SLICE("");
}

static void add_spf(const struct mail_check *c, const struct mail_check_results *r, struct buf *out)
{
	struct buf path = BUF_INIT(1024);
	if (r->spf) {
		authres_method(out, "spf", spf_result_name(r->spf->result), phrase(r->spf->why), SLICE(""));
		if (c->envelope.local_part.n)
			buf_add(&path, c->envelope.local_part), buf_add_byte(&path, '@');
		buf_add(&path, c->envelope.domain);
		authres_property(out, r->spf_is_helo ? "smtp.helo" : "smtp.mailfrom", r->spf_is_helo ? c->envelope.helo : buf_slice(&path));
	}
	if (r->helo) {
		authres_method(out, "spf", spf_result_name(r->helo->result), phrase(r->helo->why), SLICE(""));
		authres_property(out, "smtp.helo", c->envelope.helo);
	}
	buf_free(&path);
}

static void add_dkim(const struct dkim_verdict *v, struct buf *out)
{
	struct buf head = BUF_INIT(2048);
	authres_method(out, "dkim", dkim_result_name(v->result), phrase(v->why), v->testing ? SLICE("test mode") : SLICE(""));
	authres_property(out, "header.d", v->domain);
	authres_property(out, "header.s", v->selector);
	if (!v->domain.n)
		return;
	authres_property(out, "header.a", slice_of(mail_algorithm_name(v->algorithm)));
	text_add_base64(&head, v->signature);
	authres_property(out, "header.b", slice_head(buf_slice(&head), 8)); /* RFC 6008 */
	buf_free(&head);
}

static void add_dmarc(const struct mail_check *c, const struct mail_check_results *r, struct buf *out)
{
	if (!c->body)
		return;
	if (!r->dmarc) {
		authres_method(out, "dmarc", "permerror", phrase(r->from_wrong), SLICE(""));
		return;
	}
	authres_method(out, "dmarc", dmarc_result_name(r->dmarc->result), phrase(r->dmarc->why), SLICE(""));
	authres_property(out, "header.from", r->dmarc->author);
	if (r->dmarc->domain.n)
		authres_property(out, "policy.dmarc", slice_of(dmarc_policy_name(r->dmarc->policy)));
}

void mail_check_authres(const struct mail_check *c, struct slice id, void (*extra)(void *arg, struct buf *out), void *arg, struct buf *out)
{
	struct mail_check_results r;
	mail_check_results(c, &r);
	authres_begin(out, id);
	if (extra)
		extra(arg, out);
	add_spf(c, &r, out);
	for (size_t i = 0; i < r.dkim_count; i++)
		add_dkim(&r.dkim[i], out);
	if (c->dkim_known && c->dkim && !r.dkim_count)
		authres_method(out, "dkim", "none", SLICE(""), SLICE(""));
	add_dmarc(c, &r, out);
	if (r.arc && r.arc->result != ARC_NONE) {
		authres_method(out, "arc", arc_result_name(r.arc->result), phrase(r.arc->why), SLICE(""));
		if (r.arc->result == ARC_PASS)
			authres_property(out, "header.d", r.arc->sealer[r.arc->instance - 1]);
	}
	authres_end(out);
}
