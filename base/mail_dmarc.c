/* DMARC: walks up the tree, one question at a time. The first walk is the author's; identifiers that could be aligned are walked after it, and what
 * was asked once for this message is not asked again. */
#include "base/mail_dmarc.h"

#include "base/buf.h"
#include "base/idn.h"
#include "base/mem.h"

enum { MAX_NODES = 64 };

/* What _dmarc.NAME holds. */
struct node {
	struct node *next;                 /* asked before it */
	struct slice name;
	bool found;
	struct slice text;
	struct dmarc_record record;
};

struct walk {
	struct slice start, at;            /* at: where the open question is; "" when it ended */
	const struct node *first;          /* record of the start itself */
	const struct node *last;           /* the record found farthest up */
	struct slice organisation;
	const struct node *suffix;         /* the record with psd=y above the start */
};

struct dmarc {
	struct mail_dns *dns;
	const struct suffix_list *suffixes;
	struct mail_dns_query *query;
	struct loop_timer *timer;
	struct arena mem;
	struct node *nodes;                /* at most MAX_NODES */
	size_t node_count;
	struct walk walk;
	bool discovered;                   /* the author's walk is done and its policy known */
	bool judging, known, unsure;       /* unsure: an identifier's walk could not be ended */
	struct dmarc_identifiers who;
	size_t next;                       /* of identifiers: 0 spf, then dkim */
	struct dmarc_verdict verdict;
	void (*done)(void *arg, struct dmarc *d);
	void *arg;
};

static void walk_on(struct dmarc *d);
static void judge(struct dmarc *d);

static void finish(struct dmarc *d, enum dmarc_result result, const char *why)
{
	d->verdict.result = result;
	d->verdict.why = why;
	d->discovered = true;
	d->known = true;
	if (d->judging)
		loop_timer_set(d->timer, 0);
}

static void on_timer(void *arg)
{
	struct dmarc *d = arg;
	d->done(d->arg, d);
}

/* -- the walk (4.10) ------------------------------------------------------------------------------------------------------ */

static size_t label_count(struct slice name)
{
	size_t n = 0;
	while (name.p) {
		slice_cut(name, '.', &name);
		n++;
	}
	return n;
}

static struct slice parent_of(struct slice name)
{
	struct slice rest;
	slice_cut(name, '.', &rest);
	return rest.p ? rest : SLICE("");
}

/* Steps 3 to 7: one label less, from a long name at once to seven. */
static struct slice next_target(struct slice name)
{
	size_t labels = label_count(name);
	do
		name = parent_of(name);
	while (labels-- > 8);
	return name;
}

static bool is_below(struct slice name, struct slice domain)
{
	return slice_ends(name, domain) && (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
}

/* The name one label below domain on the way to name. */
static struct slice one_below(struct slice domain, struct slice name)
{
	while (name.n && !slice_eq(parent_of(name), domain))
		name = parent_of(name);
	return name;
}

static const struct node *node_find(const struct dmarc *d, struct slice name)
{
	for (const struct node *n = d->nodes; n; n = n->next)
		if (slice_eq(n->name, name))
			return n;
	return NULL;
}

/* The one policy record among TXT records; several are none (step 2). */
static void node_read(struct dmarc *d, struct node *n, const struct dns_answer *a)
{
	size_t count = 0;
	struct slice text = SLICE_NONE;
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++)
		if (dmarc_record_is(a->records[i].data)) {
			text = a->records[i].data;
			count++;
		}
	if (count != 1)
		return;
	n->text = arena_copy(&d->mem, text);
	n->found = n->text.p && dmarc_record_parse(n->text, &n->record) == 0;
}

static void walk_end(struct dmarc *d);

/* Takes a node into the walk; says where to go on. */
static void walk_take(struct dmarc *d, const struct node *n)
{
	struct walk *w = &d->walk;
	bool at_start = slice_eq(n->name, w->start);
	w->at = next_target(n->name);
	if (!n->found) {
		walk_on(d);
		return;
	}
	w->last = n;
	if (at_start)
		w->first = n;
	if (n->record.psd == DMARC_PSD_NO) {
		w->organisation = n->name;
		w->at = SLICE("");
	} else if (n->record.psd == DMARC_PSD_YES) {
		if (!at_start) {
			w->organisation = one_below(n->name, w->start);
			w->suffix = n;
		}
		w->at = SLICE("");
	}
	walk_on(d);
}

/* The answer as a new node; NULL: the judgement ended with it. */
static const struct node *answered(struct dmarc *d, const struct dns_answer *a)
{
	d->query = NULL;
	if (a->answer == UNSURE && d->discovered) {
		d->unsure = true; /* this identifier can't be told; another may be aligned */
		judge(d);
		return NULL;
	}
	if (a->answer == UNSURE) {
		finish(d, DMARC_TEMPERROR, a->why ? a->why : "dns");
		return NULL;
	}
	struct node *n = MEM_NEW(struct node);
	*n = (struct node){ .next = d->nodes, .name = d->walk.at };
	d->nodes = n;
	d->node_count++;
	node_read(d, n, a);
	return n;
}

static void on_record(void *arg, const struct dns_answer *a)
{
	struct dmarc *d = arg;
	const struct node *n = answered(d, a);
	if (n)
		walk_take(d, n);
}

static void ask(struct dmarc *d, struct slice name, void (*done)(void *arg, const struct dns_answer *a))
{
	struct buf b = BUF_INIT(512);
	buf_add_cstr(&b, "_dmarc.");
	buf_add(&b, name);
	d->walk.at = name;
	d->query = mail_dns_ask(d->dns, DNS_TXT, buf_slice(&b), done, d);
	buf_free(&b);
}

static void walk_on(struct dmarc *d)
{
	struct walk *w = &d->walk;
	if (!w->at.n) {
		if (!w->organisation.n)
			w->organisation = w->last ? w->last->name : w->start;
		walk_end(d);
		return;
	}
	const struct node *n = node_find(d, w->at);
	if (n)
		walk_take(d, n);
	else if (d->node_count == MAX_NODES)
		finish(d, DMARC_TEMPERROR, "too many questions");
	else
		ask(d, w->at, on_record);
}

static void walk_start(struct dmarc *d, struct slice name)
{
	d->walk = (struct walk){ .start = name, .at = name };
	walk_on(d);
}

/* -- discovery (4.10.1) --------------------------------------------------------------------------------------------------- */

static enum dmarc_policy milder(enum dmarc_policy p)
{
	return p == DMARC_POLICY_REJECT ? DMARC_POLICY_QUARANTINE : DMARC_POLICY_NONE;
}

static void set_policy(struct dmarc *d, enum dmarc_policy p)
{
	d->verdict.published = p;
	d->verdict.policy = d->verdict.record.testing ? milder(p) : p;
	d->discovered = true;
	if (d->judging)
		judge(d);
}

static void on_existence(void *arg, const struct dns_answer *a)
{
	struct dmarc *d = arg;
	d->query = NULL;
	if (a->answer == UNSURE) {
		finish(d, DMARC_TEMPERROR, a->why ? a->why : "dns");
		return;
	}
	d->verdict.nonexistent = a->answer == ABSENT && a->nxdomain;
	set_policy(d, d->verdict.nonexistent ? d->verdict.record.np : d->verdict.record.sp);
}

static void discovered(struct dmarc *d, const struct node *n)
{
	struct dmarc_verdict *v = &d->verdict;
	if (!n || !n->record.applies) {
		finish(d, DMARC_NONE, n ? "policy record without policy" : "no policy record");
		return;
	}
	v->domain = n->name;
	v->text = n->text;
	v->record = n->record;
	if (slice_eq(n->name, v->author))
		set_policy(d, n->record.p);
	else if (n->record.has_np && n->record.np != n->record.sp)
		d->query = mail_dns_ask(d->dns, DNS_A, v->author, on_existence, d);
	else
		set_policy(d, n->record.sp);
}

/* -- alignment (4.10.2) --------------------------------------------------------------------------------------------------- */

static void align(struct dmarc *d, size_t which)
{
	if (which == 0) {
		d->verdict.spf_aligned = true;
	} else if (!d->verdict.dkim_aligned) {
		d->verdict.dkim_aligned = true;
		d->verdict.aligned_dkim = d->who.dkim[which - 1];
	}
}

/* What can be said without a walk; false: a walk from this name decides. Only names below the organizational domain are left to walks. */
static bool align_at_once(struct dmarc *d, struct slice name, bool strict, size_t which)
{
	struct slice organisation = d->verdict.organisation;
	if (slice_eq(name, d->verdict.author) || (!strict && slice_eq(name, organisation)))
		align(d, which);
	else
		return strict || !is_below(name, organisation);
	return true;
}

static void walk_end(struct dmarc *d)
{
	struct walk *w = &d->walk;
	if (d->verdict.organisation.n) {
		if (slice_eq(w->organisation, d->verdict.organisation))
			align(d, d->next - 1);
		judge(d);
		return;
	}
	d->verdict.organisation = w->organisation;
	const struct node *n = w->first ? w->first : node_find(d, w->organisation);
	if (!n || !n->found)
		n = w->suffix;
	discovered(d, n);
}

/* The rule of RFC 7489: the author's record, else the registrable domain's. */
static void judge_by_list(struct dmarc *d, struct slice name, bool strict, size_t which)
{
	struct slice organisation = suffix_organisation(d->suffixes, name);
	if (slice_eq(name, d->verdict.author) || (!strict && organisation.n && slice_eq(organisation, d->verdict.organisation)))
		align(d, which);
}

/* Could an identifier of this name be aligned? Only then is it worth a temperror that nobody could check it. */
static bool could_align(const struct dmarc *d, struct slice name, bool strict)
{
	if (!name.n || strict || slice_eq(name, d->verdict.author))
		return name.n && slice_eq(name, d->verdict.author);
	return d->suffixes ? slice_eq(suffix_organisation(d->suffixes, name), d->verdict.organisation) : is_below(name, d->verdict.organisation);
}

static bool is_unsure(const struct dmarc *d)
{
	bool unsure = d->unsure || could_align(d, d->who.unsure_spf, d->verdict.record.strict_spf);
	for (size_t i = 0; i < d->who.unsure_count && !unsure; i++)
		unsure = could_align(d, d->who.unsure_dkim[i], d->verdict.record.strict_dkim);
	return unsure;
}

static void judge(struct dmarc *d)
{
	while (d->next <= d->who.dkim_count) {
		size_t which = d->next++;
		struct slice name = which ? d->who.dkim[which - 1] : d->who.spf;
		bool strict = which ? d->verdict.record.strict_dkim : d->verdict.record.strict_spf;
		if (!name.n)
			continue;
		if (d->suffixes)
			judge_by_list(d, name, strict, which);
		else if (!align_at_once(d, name, strict, which))
			return walk_start(d, name);
	}
	if (d->verdict.spf_aligned || d->verdict.dkim_aligned)
		finish(d, DMARC_PASS, NULL);
	else if (is_unsure(d))
		finish(d, DMARC_TEMPERROR, "SPF or DKIM could not be checked");
	else
		finish(d, DMARC_FAIL, NULL);
}

static void on_listed(void *arg, const struct dns_answer *a)
{
	struct dmarc *d = arg;
	const struct node *n = answered(d, a);
	if (!n)
		return;
	if (n->found || slice_eq(n->name, d->verdict.organisation))
		discovered(d, n->found ? n : NULL);
	else
		ask(d, d->verdict.organisation, on_listed);
}

static void start_by_list(struct dmarc *d)
{
	struct slice organisation = suffix_organisation(d->suffixes, d->verdict.author);
	d->verdict.organisation = organisation.n ? organisation : d->verdict.author;
	ask(d, d->verdict.author, on_listed);
}

struct dmarc *dmarc_start(struct mail_dns *dns, struct slice author, const struct suffix_list *suffixes)
{
	struct dmarc *d = MEM_NEW(struct dmarc);
	*d = (struct dmarc){ .dns = dns, .suffixes = suffixes, .mem = ARENA_INIT(1 << 20) };
	d->timer = loop_timer_new(mail_dns_loop(dns), on_timer, d);
	if (idn_to_ascii(author, &d->mem, &d->verdict.author) || author.p[0] == '[')
		finish(d, DMARC_PERMERROR, "no domain name in From");
	else if (suffixes)
		start_by_list(d);
	else
		walk_start(d, d->verdict.author);
	return d;
}

static struct slice keep(struct dmarc *d, struct slice name)
{
	struct slice ascii;
	return name.n && idn_to_ascii(name, &d->mem, &ascii) == 0 ? ascii : SLICE("");
}

void dmarc_judge(struct dmarc *d, const struct dmarc_identifiers *who, void (*done)(void *arg, struct dmarc *d), void *arg)
{
	d->done = done;
	d->arg = arg;
	d->judging = true;
	d->who.spf = keep(d, who->spf);
	d->who.unsure_spf = keep(d, who->unsure_spf);
	for (size_t i = 0; i < who->unsure_count && i < DMARC_MAX_IDENTIFIERS; i++)
		d->who.unsure_dkim[d->who.unsure_count++] = keep(d, who->unsure_dkim[i]);
	for (size_t i = 0; i < who->dkim_count && i < DMARC_MAX_IDENTIFIERS; i++)
		d->who.dkim[d->who.dkim_count++] = keep(d, who->dkim[i]);
	if (d->known)
		loop_timer_set(d->timer, 0);
	else if (d->discovered)
		judge(d);
}

const struct dmarc_verdict *dmarc_verdict(const struct dmarc *d)
{
	return d->known && d->judging ? &d->verdict : NULL;
}

void dmarc_free(struct dmarc *d)
{
	if (!d)
		return;
	mail_dns_cancel(d->query);
	loop_timer_free(d->timer);
	for (struct node *n = d->nodes, *next; n; n = next) {
		next = n->next;
		mem_free(n);
	}
	arena_free(&d->mem);
	mem_free(d);
}

const char *dmarc_result_name(enum dmarc_result r)
{
	switch (r) {
	case DMARC_NONE: return "none";
	case DMARC_PASS: return "pass";
	case DMARC_FAIL: return "fail";
	case DMARC_TEMPERROR: return "temperror";
	case DMARC_PERMERROR: return "permerror";
	}
	return "none";
}
