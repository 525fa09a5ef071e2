/* DKIM verification: for each signature a key question, a header digest, a wish for a body digest; judged when all are there. */
#include "base/mail_dkim.h"

#include "base/mail_key.h"
#include "base/mem.h"

struct check {
	struct dkim *owner;
	struct mail_signature s;
	struct mail_dns_query *query;
	const char *wrong;               /* what is wrong with the signature by its key */
	bool suits, strict;              /* of the key: is for i=; wants i= at d= itself */
	bool final;                      /* the verdict stands */
	int body;                        /* the body digest's number */
};

struct dkim {
	struct mail_dns *dns;
	struct mail_body *body;
	struct dkim_options options;
	struct arena mem;
	struct loop_timer *timer;        /* where no key is waited for at the end */
	struct check *checks;            /* both in mem, as many as there are fields, DKIM_MAX_CHECKED at most: most mail has one or two */
	struct dkim_verdict *verdicts;
	size_t count, room;
	size_t open;                     /* keys that are asked for */
	bool judging;
	void (*done)(void *arg, struct dkim *d);
	void *arg;
};

static struct dkim_verdict *verdict_of(struct check *c)
{
	return &c->owner->verdicts[c - c->owner->checks];
}

static void settle(struct check *c, enum dkim_result result, const char *why)
{
	struct dkim_verdict *v = verdict_of(c);
	c->final = true;
	v->result = result;
	v->why = why;
}

/* The header's digest is there, so the signature is checked as soon as its key is, while the body may still arrive; the key isn't kept. The first record that
 * can be read: several at one selector are undefined (6376, 3.6.2.2). */
static bool use_key(struct check *c, const struct dns_answer *a, const char **why)
{
	struct dkim_verdict *v = verdict_of(c);
	struct mail_key *key = NULL;
	for (size_t i = 0; i < a->count && !key; i++)
		key = mail_key_find(a->records[i].data, why);
	if (!key)
		return false;
	v->testing = mail_key_record(key)->testing;
	c->strict = mail_key_record(key)->strict;
	c->suits = mail_key_suits(mail_key_record(key), c->s.identity);
	c->wrong = mail_key_verify(key, &c->s, &v->header_hash, c->owner->options.lax, &v->key_bits);
	return true;
}

static void judge(struct dkim *d);

static void on_key(void *arg, const struct dns_answer *a)
{
	struct check *c = arg;
	struct dkim *d = c->owner;
	const char *why = "no key";
	c->query = NULL;
	d->open--;
	switch (a->answer) {
	case UNSURE:
		settle(c, DKIM_TEMPERROR, "key can't be asked for now");
		break;
	case ABSENT:
		settle(c, DKIM_PERMERROR, why);
		break;
	case FOUND:
		if (!use_key(c, a, &why))
			settle(c, DKIM_PERMERROR, why);
		break;
	}
	if (d->judging && !d->open)
		judge(d);
}

static void ask_key(struct check *c)
{
	static const struct slice between = SLICE_INIT("._domainkey.");
	char name[MAIL_SIGNATURE_MAX_KEY_NAME + 16], *p = name;
	p = mempcpy(p, c->s.selector.p, c->s.selector.n);
	p = mempcpy(p, between.p, between.n);
	p = mempcpy(p, c->s.domain.p, c->s.domain.n);
	c->owner->open++;
	c->query = mail_dns_ask(c->owner->dns, DNS_TXT, slice(name, (size_t)(p - name)), on_key, c);
}

/* What needs no key to be refused. */
static const char *refuse_early(const struct mail_signature *s, const struct dkim_options *o)
{
	if (s->algorithm == ALGORITHM_RSA_SHA1 && !o->lax)
		return "rsa-sha1 is no signature (RFC 8301)";
	if (s->expires_s >= 0 && o->now_s > s->expires_s)
		return "signature expired";
	return NULL;
}

static void start_check(struct dkim *d, const struct mail_header *h, const struct mail_names *names, const struct mail_field *f, const struct mail_signature *s)
{
	struct check *c = &d->checks[d->count];
	struct dkim_verdict *v = &d->verdicts[d->count++];
	bool sha1 = s->algorithm == ALGORITHM_RSA_SHA1;
	*c = (struct check){ .owner = d, .s = *s };
	v->domain = s->domain;
	v->selector = s->selector;
	v->identity = s->identity;
	v->algorithm = s->algorithm;
	v->signature = s->signature;
	mail_signature_digest(s, h, names, f, &v->header_hash);
	c->s.names = c->s.without = SLICE_NONE;
	c->body = mail_body_want(d->body, s->body_form, sha1, s->length);
	const char *refused = refuse_early(s, &d->options);
	if (refused)
		settle(c, DKIM_FAIL, refused);
	else if (c->body < 0)
		settle(c, DKIM_PERMERROR, "too many bodies");
	else
		ask_key(c);
}

static void keep_unreadable(struct dkim *d, const char *why)
{
	struct check *c = &d->checks[d->count];
	*c = (struct check){ .owner = d, .body = -1 };
	d->verdicts[d->count++] = (struct dkim_verdict){ .domain = SLICE(""), .selector = SLICE(""), .identity = SLICE(""), .signature = SLICE("") };
	settle(c, DKIM_NEUTRAL, why);
}

static bool make_room(struct dkim *d, const struct mail_header *h, struct slice name, struct mail_names **names)
{
	size_t fields = mail_header_count(h, name);
	d->room = fields < DKIM_MAX_CHECKED ? fields : DKIM_MAX_CHECKED;
	if (!d->room)
		return false;
	d->checks = ARENA_ARRAY(&d->mem, struct check, d->room);
	d->verdicts = ARENA_ARRAY(&d->mem, struct dkim_verdict, d->room);
	*names = mail_names_new(h, &d->mem);
	return d->checks && d->verdicts && *names;
}

static void read_signatures(struct dkim *d, const struct mail_header *h)
{
	static const struct slice name = SLICE_INIT("DKIM-Signature");
	struct mail_names *names;
	const char *why, *wrong[DKIM_MAX_CHECKED];
	size_t wrong_count = 0;
	if (!make_room(d, h, name, &names))
		return;
	const struct mail_field *f = mail_header_find(h, name, 0);
	for (size_t seen = 0; f && seen < DKIM_MAX_SEEN && d->count < d->room; seen++) {
		struct mail_signature s;
		if (mail_signature_parse(SIGNATURE_DKIM, f, &d->mem, d->options.lax, &s, &why) == 0)
			start_check(d, h, names, f, &s);
		else if (wrong_count < DKIM_MAX_CHECKED)
			wrong[wrong_count++] = why;
		f = mail_header_find(h, name, (size_t)(f - h->fields) + 1);
	}
	for (size_t i = 0; i < wrong_count && d->count < d->room; i++)
		keep_unreadable(d, wrong[i]);
}

/* RFC 8301: neither weak keys nor sha1 make a signature; l= leaves the rest of the body to anyone. */
static void judge_one(struct dkim *d, struct check *c)
{
	struct dkim_verdict *v = verdict_of(c);
	const struct mail_signature *s = &c->s;
	bool whole = c->body < 0 || mail_body_digest(d->body, c->body, &v->body_hash);
	if (c->final)
		return;
	struct slice identity_domain = slice_skip(s->identity, slice_rfind(s->identity, '@') + 1);
	bool body_good = whole && slice_eq(slice((const char *)v->body_hash.bytes, v->body_hash.n), s->body_hash);
	if (c->wrong && v->key_bits == 0)
		settle(c, DKIM_PERMERROR, c->wrong);
	else if (d->options.lax && !c->suits)
		settle(c, DKIM_PERMERROR, "key is for other addresses");
	else if (c->strict && !slice_eq_nocase(identity_domain, s->domain))
		settle(c, DKIM_PERMERROR, "key wants i= at d= itself");
	else if (!body_good)
		settle(c, DKIM_FAIL, whole ? "body hash does not match" : "body shorter than l=");
	else if (c->wrong)
		settle(c, DKIM_FAIL, c->wrong);
	else if (s->length != MAIL_BODY_WHOLE && !d->options.lax)
		settle(c, DKIM_POLICY, "l= signs only a part of the body");
	else
		settle(c, DKIM_PASS, NULL);
}

/* From the loop: a key that came last, or the timer. Whoever is told may free d. */
static void judge(struct dkim *d)
{
	for (size_t i = 0; i < d->count; i++)
		judge_one(d, &d->checks[i]);
	d->done(d->arg, d);
}

static void on_timer(void *arg)
{
	judge(arg);
}

struct dkim *dkim_start(struct mail_dns *dns, const struct mail_header *header, struct mail_body *body, const struct dkim_options *options)
{
	struct dkim *d = MEM_NEW(struct dkim);
	*d = (struct dkim){ .dns = dns, .body = body, .options = *options, .mem = ARENA_INIT(4 << 20) };
	read_signatures(d, header);
	return d;
}

void dkim_judge(struct dkim *d, void (*done)(void *arg, struct dkim *d), void *arg)
{
	d->done = done;
	d->arg = arg;
	d->judging = true;
	if (d->open)
		return;
	d->timer = loop_timer_new(mail_dns_loop(d->dns), on_timer, d);
	loop_timer_set(d->timer, 0);
}

const struct dkim_verdict *dkim_verdicts(const struct dkim *d, size_t *count)
{
	*count = d->count;
	return d->verdicts;
}

void dkim_free(struct dkim *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->count; i++)
		mail_dns_cancel(d->checks[i].query);
	loop_timer_free(d->timer);
	arena_free(&d->mem);
	mem_free(d);
}

const char *dkim_result_name(enum dkim_result r)
{
	switch (r) {
	case DKIM_NONE: return "none";
	case DKIM_PASS: return "pass";
	case DKIM_FAIL: return "fail";
	case DKIM_POLICY: return "policy";
	case DKIM_NEUTRAL: return "neutral";
	case DKIM_TEMPERROR: return "temperror";
	case DKIM_PERMERROR: return "permerror";
	}
	return "none";
}
