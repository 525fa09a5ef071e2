/* `porterctl auth dns DOMAIN`: what a domain should publish for mail, and beside it what it does publish. One question after another. */
#include "ctl/ctl_auth.h"

#include "base/idn.h"
#include "base/mail_dmarc_record.h"
#include "base/mail_key.h"
#include "base/mail_spf_record.h"
#include "base/text.h"

enum { MAX_ROWS = 24, MAX_HOSTS = 8 };

/* One thing to publish. */
struct row {
	const char *what;               /* "spf" ... */
	enum dns_type type;
	struct slice name, should;
	bool (*is_it)(struct slice data); /* which of the records are about it; NULL all */
	const char *(*wrong)(struct slice data, struct auth_tool *t); /* NULL, or what is wrong with it */
};

struct asking {
	struct auth_tool *t;
	struct mail_dns *dns;
	struct slice domain;
	struct row rows[MAX_ROWS];
	size_t count, at;
};

static const char *spf_wrong(struct slice data, struct auth_tool *t)
{
	struct spf_record r;
	const char *why = NULL;
	struct slice at;
	if (spf_record_parse(data, &t->mem, &r, &why, &at))
		return why;
	for (size_t i = 0; i < r.count; i++)
		if (r.terms[i].kind == SPF_ALL && r.terms[i].result == SPF_PASS)
			return "+all lets everybody pass";
	return NULL;
}

static const char *key_wrong(struct slice data, struct auth_tool *t)
{
	struct mail_key_record r;
	const char *why = NULL;
	(void)t;
	if (mail_key_parse(data, &r, &why))
		return why;
	return r.revoked ? "key revoked" : NULL;
}

static const char *dmarc_wrong(struct slice data, struct auth_tool *t)
{
	struct dmarc_record r;
	(void)t;
	if (dmarc_record_parse(data, &r))
		return "a tag twice";
	return !r.applies ? "no policy in it" : r.p == DMARC_POLICY_NONE ? "p=none asks for nothing" : NULL;
}

static bool is_mta_sts(struct slice data)
{
	return slice_starts(data, SLICE("v=STSv1"));
}

static bool is_tls_report(struct slice data)
{
	return slice_starts(data, SLICE("v=TLSRPTv1"));
}

static struct slice print(struct asking *k, const char *format, struct slice a, struct slice b)
{
	struct buf text = BUF_INIT(1024);
	buf_addf(&text, format, SLICE_FMT(a), SLICE_FMT(b));
	struct slice copy = arena_copy(&k->t->mem, buf_slice(&text));
	buf_free(&text);
	return copy;
}

static void add_row(struct asking *k, const struct row *r)
{
	if (k->count < MAX_ROWS)
		k->rows[k->count++] = *r;
}

static void plan(struct asking *k)
{
	struct auth_options *o = &k->t->o;
	struct slice d = k->domain, none = SLICE("");
	static const struct slice standard = SLICE_INIT("porter");
	add_row(k, &(struct row){ "mx", DNS_MX, d, SLICE("10 the name of your mail host"), NULL, NULL });
	add_row(k, &(struct row){ "spf", DNS_TXT, d, SLICE("v=spf1 mx -all"), spf_record_is, spf_wrong });
	for (size_t i = 0; i < (o->selector_count ? o->selector_count : 1); i++) {
		struct slice selector = o->selector_count ? o->selectors[i] : standard;
		add_row(k, &(struct row){ "dkim", DNS_TXT, print(k, "%.*s._domainkey.%.*s", selector, d),
		                          print(k, "what `porterctl dkim show %.*s` prints%.*s", d, none), NULL, key_wrong });
	}
	add_row(k, &(struct row){ "dmarc", DNS_TXT, print(k, "_dmarc.%.*s%.*s", d, none), print(k, "v=DMARC1; p=reject; rua=mailto:postmaster@%.*s%.*s", d, none),
	                          dmarc_record_is, dmarc_wrong });
	add_row(k, &(struct row){ "mta-sts", DNS_TXT, print(k, "_mta-sts.%.*s%.*s", d, none), SLICE("v=STSv1; id=1"), is_mta_sts, NULL });
	add_row(k, &(struct row){ "tlsrpt", DNS_TXT, print(k, "_smtp._tls.%.*s%.*s", d, none), print(k, "v=TLSRPTv1; rua=mailto:postmaster@%.*s%.*s", d, none),
	                          is_tls_report, NULL });
}

static struct slice data_text(struct asking *k, const struct row *r, const struct dns_record *record)
{
	struct buf text = BUF_INIT(2 * DNS_MAX_ANSWER);
	if (r->type == DNS_MX)
		buf_addf(&text, "%u %.*s", record->preference, SLICE_FMT(record->data.n ? record->data : SLICE(".")));
	else if (r->type == DNS_TLSA)
		text_add_hex(&text, record->data);
	else
		buf_add(&text, record->data);
	struct slice copy = arena_copy(&k->t->mem, buf_slice(&text));
	buf_free(&text);
	return copy;
}

/* "missing", "good", "twice", or what is wrong. */
static const char *judge(struct asking *k, const struct row *r, const struct dns_answer *a, struct slice *published)
{
	size_t count = 0;
	const char *wrong = NULL;
	*published = SLICE("");
	if (a->answer == UNSURE)
		return a->why ? a->why : "unsure";
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++) {
		if (r->is_it && !r->is_it(a->records[i].data))
			continue;
		*published = count++ ? *published : data_text(k, r, &a->records[i]);
		if (!wrong && r->wrong)
			wrong = r->wrong(a->records[i].data, k->t);
	}
	if (!count)
		return "missing";
	return wrong ? wrong : count > 1 && r->is_it ? "there are several" : "good";
}

static void tell(struct asking *k, const struct row *r, const struct dns_answer *a)
{
	struct buf *out = &k->t->out;
	struct slice published;
	const char *verdict = judge(k, r, a, &published);
	if (k->t->ctl->json) {
		buf_addf(out, "%s{\"what\":\"%s\",\"type\":\"%s\"", k->at ? "," : "", r->what, dns_type_name(r->type));
		auth_json_str(out, "name", r->name, false);
		auth_json_str(out, "should", r->should, false);
		auth_json_str(out, "published", published, false);
		auth_json_str(out, "verdict", slice_of(verdict), false);
		buf_addf(out, ",\"secure\":%s}", a->secure ? "true" : "false");
		return;
	}
	buf_addf(out, "%-8s %s: ", r->what, verdict);
	text_add_escaped(out, r->name);
	buf_addf(out, " %s\n         should be  ", dns_type_name(r->type));
	text_add_escaped(out, r->should);
	buf_add_cstr(out, "\n         published  ");
	text_add_escaped(out, published.n ? published : SLICE("-"));
	buf_add_cstr(out, "\n");
}

static void ask_next(struct asking *k);

/* The hosts of MX get a row for TLSA each. */
static void add_hosts(struct asking *k, const struct dns_answer *a)
{
	for (size_t i = 0; a->answer == FOUND && i < a->count && i < MAX_HOSTS; i++)
		if (a->records[i].data.n)
			add_row(k, &(struct row){ "dane", DNS_TLSA, print(k, "_25._tcp.%.*s%.*s", a->records[i].data, SLICE("")),
			                          SLICE("3 1 1 and the SHA-256 of your key (DNSSEC wanted)"), NULL, NULL });
}

static void on_answer(void *arg, const struct dns_answer *a)
{
	struct asking *k = arg;
	const struct row *r = &k->rows[k->at];
	tell(k, r, a);
	if (r->type == DNS_MX)
		add_hosts(k, a);
	k->at++;
	ask_next(k);
}

static void ask_next(struct asking *k)
{
	if (k->at == k->count)
		loop_stop(k->t->loop);
	else
		mail_dns_ask(k->dns, k->rows[k->at].type, k->rows[k->at].name, on_answer, k);
}

int auth_dns(struct auth_tool *t)
{
	struct asking k = { .t = t };
	if (t->o.word_count != 1 || idn_to_ascii(t->o.words[0], &t->mem, &k.domain))
		return ctl_fail(CTL_USAGE, "auth: a word is missing or too many; --help tells");
	k.dns = mail_dns_new(t->loop, t->dns, MAIL_DNS_MAX);
	plan(&k);
	if (t->ctl->json)
		buf_add_cstr(&t->out, "{\"dns\":[");
	ask_next(&k);
	loop_run(t->loop);
	if (t->ctl->json)
		buf_add_cstr(&t->out, "]}\n");
	mail_dns_free(k.dns);
	return 0;
}
