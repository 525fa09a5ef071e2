/* `porterctl auth dns DOMAIN`: what a domain should publish for mail, and beside it what it does publish. One question after another. Where a configuration is, the
 * records of its own keys and its host name are what should be. */
#include "ctl/ctl_auth.h"

#include <stdio.h>
#include <unistd.h>

#include "base/general_settings.h"
#include "base/idn.h"
#include "base/mail_dmarc_record.h"
#include "base/mail_key.h"
#include "base/mail_spf_record.h"
#include "base/text.h"
#include "base/tls.h"
#include "ctl/dkim_keys.h"
#include "delivery/sts.h"
#include "delivery/tls_report.h"

enum { MAX_ROWS = 24, MAX_HOSTS = 8, MAX_PUBLISHED = 8, MAX_OWN_KEYS = 8 };

/* One thing to publish. */
struct row {
	const char *what;               /* "spf" ... */
	enum dns_type type;
	struct slice name, should;
	bool (*is_it)(struct slice data); /* which of the records are about it; NULL all */
	const char *(*wrong)(struct slice data, const struct row *r, struct auth_tool *t); /* NULL, or what is wrong with it */
	bool own;                       /* `should` is the very record */
};

struct asking {
	struct auth_tool *t;
	struct mail_dns *dns;
	struct slice domain;
	struct row rows[MAX_ROWS];
	size_t count, at;
};

static const char *spf_wrong(struct slice data, const struct row *row, struct auth_tool *t)
{
	(void)row;
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

static const char *key_wrong(struct slice data, const struct row *row, struct auth_tool *t)
{
	struct mail_key_record r, want;
	const char *why = NULL;
	(void)t;
	if (mail_key_parse(data, &r, &why))
		return why;
	if (row->own && !mail_key_parse(row->should, &want, &why) && (r.ed25519 != want.ed25519 || !slice_eq(r.key, want.key)))
		return "another key than the one that signs";
	return r.revoked ? "key revoked" : NULL;
}

static const char *dmarc_wrong(struct slice data, const struct row *row, struct auth_tool *t)
{
	struct dmarc_record r;
	(void)t, (void)row;
	if (dmarc_record_parse(data, &r))
		return "a tag twice";
	return !r.applies ? "no policy in it" : r.p == DMARC_POLICY_NONE ? "p=none asks for nothing" : NULL;
}

static bool is_mta_sts(struct slice data)
{
	return slice_starts(data, SLICE("v=STSv1"));
}

static const char *mta_sts_wrong(struct slice data, const struct row *row, struct auth_tool *t)
{
	struct slice id;
	(void)t, (void)row;
	return sts_record(data, &id) ? NULL : "no id=, or a wrong one";
}

static bool is_tls_report(struct slice data)
{
	return slice_starts(data, SLICE("v=TLSRPTv1"));
}

static const char *tls_report_wrong(struct slice data, const struct row *row, struct auth_tool *t)
{
	struct slice places[TLS_REPORT_PLACES];
	(void)t, (void)row;
	return tls_report_places(data, places) ? NULL : "no rua= with mailto: or https:";
}

/* RFC 7672, 3.1: usages 2 and 3 alone; 6698, 2.1 for the rest. */
static const char *dane_wrong(struct slice data, const struct row *row, struct auth_tool *t)
{
	(void)t, (void)row;
	unsigned usage = (unsigned char)data.p[0], selector = (unsigned char)data.p[1], matching = (unsigned char)data.p[2];
	if (usage != 2 && usage != 3)
		return "SMTP takes usages 2 and 3 only";
	bool good = selector <= 1 && (matching == 0 ? data.n > 3 : (matching == 1 && data.n == 35) || (matching == 2 && data.n == 67));
	return good ? NULL : "no record that could match";
}

static const char *mx_wrong(struct slice data, const struct row *row, struct auth_tool *t)
{
	(void)t, (void)row;
	return data.n ? NULL : "null MX: no mail is taken";
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

/* The domain's keys, where this is its house and this user may look. */
static void add_own_keys(struct asking *k)
{
	static struct dkim_keys all;
	all.c = k->t->ctl;
	all.domain = k->domain;
	if (snprintf(all.folder, sizeof all.folder, "%.*s", SLICE_FMT(tls_settings.keys_directory)) >= (int)sizeof all.folder || access(all.folder, R_OK | X_OK) || dkim_keys_read(&all))
		return;
	for (size_t i = 0; i < all.count && i < MAX_OWN_KEYS; i++)
		if (all.keys[i].readable && !dkim_is_over(&all.keys[i]))
			add_row(k, &(struct row){ "dkim", DNS_TXT, print(k, "%.*s._domainkey.%.*s", all.keys[i].selector, k->domain), all.keys[i].record, NULL, key_wrong, true });
}

/* There need be no configuration, but one that is there is used. */
static bool has_settings(struct ctl *c)
{
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	char path[4200];
	snprintf(path, sizeof path, "%s/porter.conf", c->directory);
	bool there = access(path, R_OK) == 0 && ctl_settings_told(c, &wrong) == 0;
	complaint_free(&wrong);
	return there;
}

static void plan(struct asking *k)
{
	bool house = has_settings(k->t->ctl);
	struct auth_options *o = &k->t->o;
	struct slice d = k->domain, none = SLICE("");
	static const struct slice standard = SLICE_INIT("porter");
	add_row(k, &(struct row){ "mx", DNS_MX, d, house ? print(k, "10 %.*s%.*s", general_settings.hostname, none) : SLICE("10 the name of your mail host"), NULL, mx_wrong, false });
	add_row(k, &(struct row){ "spf", DNS_TXT, d, SLICE("v=spf1 mx -all"), spf_record_is, spf_wrong, false });
	size_t before = k->count;
	if (house && !o->selector_count)
		add_own_keys(k);
	for (size_t i = 0; i < (o->selector_count ? o->selector_count : k->count == before); i++) {
		struct slice selector = o->selector_count ? o->selectors[i] : standard;
		add_row(k, &(struct row){ "dkim", DNS_TXT, print(k, "%.*s._domainkey.%.*s", selector, d),
		                          print(k, "what `porterctl dkim show %.*s` prints%.*s", d, none), NULL, key_wrong, false });
	}
	add_row(k, &(struct row){ "dmarc", DNS_TXT, print(k, "_dmarc.%.*s%.*s", d, none), print(k, "v=DMARC1; p=reject; rua=mailto:postmaster@%.*s%.*s", d, none),
	                          dmarc_record_is, dmarc_wrong, false });
	add_row(k, &(struct row){ "mta-sts", DNS_TXT, print(k, "_mta-sts.%.*s%.*s", d, none), SLICE("v=STSv1; id=1"), is_mta_sts, mta_sts_wrong, false });
	add_row(k, &(struct row){ "tlsrpt", DNS_TXT, print(k, "_smtp._tls.%.*s%.*s", d, none), print(k, "v=TLSRPTv1; rua=mailto:postmaster@%.*s%.*s", d, none),
	                          is_tls_report, tls_report_wrong, false });
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

/* "missing", "good", "there are several", or what is wrong. */
static const char *judge(struct asking *k, const struct row *r, const struct dns_answer *a, struct slice published[MAX_PUBLISHED], size_t *shown)
{
	size_t count = 0;
	const char *wrong = NULL;
	*shown = 0;
	if (a->answer == UNSURE)
		return a->why ? a->why : "unsure";
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++) {
		if (r->is_it && !r->is_it(a->records[i].data))
			continue;
		if (count++ < MAX_PUBLISHED)
			published[(*shown)++] = data_text(k, r, &a->records[i]);
		if (!wrong && r->wrong)
			wrong = r->wrong(a->records[i].data, r, k->t);
	}
	if (!count)
		return "missing";
	return wrong ? wrong : count > 1 && r->is_it ? "there are several" : "good";
}

static void tell(struct asking *k, const struct row *r, const struct dns_answer *a)
{
	struct buf *out = &k->t->out;
	struct slice published[MAX_PUBLISHED] = { SLICE("") };
	size_t shown;
	const char *verdict = judge(k, r, a, published, &shown);
	if (k->t->ctl->json) {
		buf_addf(out, "%s{\"what\":\"%s\",\"type\":\"%s\"", k->at ? "," : "", r->what, dns_type_name(r->type));
		auth_json_str(out, "name", r->name, false);
		auth_json_str(out, "should", r->should, false);
		auth_json_str(out, "published", published[0], false);
		auth_json_str(out, "verdict", slice_of(verdict), false);
		buf_addf(out, ",\"secure\":%s,\"records\":[", a->secure ? "true" : "false");
		for (size_t i = 0; i < shown; i++) {
			buf_add_cstr(out, i ? "," : "");
			text_add_json(out, published[i]);
		}
		buf_add_cstr(out, "]}");
		return;
	}
	buf_addf(out, "%-8s %s: ", r->what, verdict);
	text_add_escaped(out, r->name);
	buf_addf(out, " %s\n         should be  ", dns_type_name(r->type));
	text_add_escaped(out, r->should);
	for (size_t i = 0; i < shown || i == 0; i++) {
		buf_add_cstr(out, i ? "\n                    " : "\n         published  ");
		text_add_escaped(out, shown ? published[i] : SLICE("-"));
	}
	buf_add_cstr(out, a->secure ? "  (secure)\n" : "\n");
}

static void ask_next(struct asking *k);

/* The hosts of MX get a row for TLSA each. */
static void add_hosts(struct asking *k, const struct dns_answer *a)
{
	for (size_t i = 0; a->answer == FOUND && i < a->count && i < MAX_HOSTS; i++)
		if (a->records[i].data.n)
			add_row(k, &(struct row){ "dane", DNS_TLSA, print(k, "_25._tcp.%.*s%.*s", a->records[i].data, SLICE("")),
			                          SLICE("3 1 1 and the SHA-256 of your key (DNSSEC wanted)"), NULL, dane_wrong, false });
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
	if (t->o.word_count != 1)
		return ctl_fail(CTL_USAGE, "auth: a word is missing or too many; --help tells");
	if (idn_to_ascii(auth_domain(t->o.words[0]), &t->mem, &k.domain) || !ctl_is_domain(k.domain, 253))
		return ctl_fail(CTL_USAGE, "auth: that is no domain");
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
