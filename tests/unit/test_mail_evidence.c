#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mail_author.h"
#include "base/mail_authres.h"
#include "base/mail_check.h"
#include "base/mail_dmarc.h"
#include "base/mail_spf.h"
#include "base/suffix.h"

/* SPF's paths and DMARC's walks, as tables over one zone. */
static const char zone_text[] =
	"plain.test. TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\nall.test. TXT \"v=spf1 +all\"\ninc.test. TXT \"v=spf1 include:plain.test -all\"\n"
	"incall.test. TXT \"v=spf1 include:all.test -all\"\nmacro.test. TXT \"v=spf1 include:%{d1r}in.test -all\"\nmacroin.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"
	"exists.test. TXT \"v=spf1 exists:mail.test -all\"\nmail.test. A 192.0.2.1\nwide.test. TXT \"v=spf1 ip4:192.0.0.0/7 -all\"\nedge.test. TXT \"v=spf1 ip4:192.0.0.0/8 -all\"\n"
	"redir.test. TXT \"v=spf1 redirect=plain.test\"\nredirmacro.test. TXT \"v=spf1 redirect=%{d1}-in.test\"\ntest-in.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"
	"ptr.test. TXT \"v=spf1 ptr:mail.test -all\"\n1.2.0.192.in-addr.arpa. PTR mail.test.\nfirst.test. TXT \"v=spf1 ip4:192.0.2.1 +all\"\n"
	"hosted.test. TXT \"v=spf1 a:relay.host.test mx:none.test ?mx:out.test mx:mine.test -all\"\nrelay.host.test. A 192.0.2.1\nmine.test. MX 10 a.host.test.\nmine.test. MX 20 b.host.test.\n"
	"a.host.test. A 192.0.2.7\nb.host.test. CNAME c.host.test.\nc.host.test. A 192.0.2.2\nout.test. MX 10 o.host.test.\no.host.test. A 192.0.2.3\nown.test. TXT \"v=spf1 a mx -all\"\n"
	"own.test. A 192.0.2.1\nown.test. MX 1 own.test.\nown.test. MX 2 relay.own.test.\nrelay.own.test. A 192.0.2.2\nalias.test. TXT \"v=spf1 include:_spf.alias.test a:www.alias.test -all\"\n"
	"_spf.alias.test. CNAME _spf.host.test.\n_spf.host.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"\nwww.alias.test. CNAME relay2.host.test.\nrelay2.host.test. A 192.0.2.2\n"
	"minus.test. TXT \"v=spf1 -include:all.test +all\"\nsix.test. TXT \"v=spf1 ip6:2001::/15 -all\"\nafter.test. TXT \"v=spf1 include:none.test ip4:192.0.2.1 -all\"\n"
	/* dmarc */
	"_dmarc.example.test. TXT \"v=DMARC1; p=reject; sp=quarantine; np=none\"\nsub.example.test. A 192.0.2.1\n_dmarc.own.example.test. TXT \"v=DMARC1; p=none; psd=n\"\n"
	"_dmarc.suffix.test. TXT \"v=DMARC1; p=reject; psd=y\"\nshop.suffix.test. A 192.0.2.1\n_dmarc.twice.test. TXT \"v=DMARC1; p=reject\"\n"
	"_dmarc.twice.test. TXT \"v=DMARC1; p=none\"\n_dmarc.mild.test. TXT \"v=DMARC1; p=reject; t=y\"\n_dmarc.strict.test. TXT \"v=DMARC1; p=reject; adkim=s; aspf=s\"\n"
	"_dmarc.nop.test. TXT \"v=DMARC1; sp=reject\"\n_dmarc.rua.test. TXT \"v=DMARC1; rua=mailto:a@rua.test\"\n_dmarc.g.h.i.j.deep.test. TXT \"v=DMARC1; p=quarantine\"\n"
	"_dmarc.loop.test. CNAME _dmarc.loop.test.\n"
	"_dmarc.shop.co.uk. TXT \"v=DMARC1; p=reject; sp=quarantine\"\n_dmarc.co.uk. TXT \"v=DMARC1; p=reject\"\n_dmarc.b.shop.co.uk. TXT \"v=DMARC1; p=none\"\n";

static struct loop *loop;
static struct dns *dns;

static int begin(void **state)
{
	(void)state;
	char path[] = "/tmp/porter-evidence-XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(write(fd, zone_text, sizeof zone_text - 1), sizeof zone_text - 1);
	close(fd);
	loop = loop_new();
	struct dns_settings s = { .zone_file = slice_of(path) };
	const char *why = "";
	dns = dns_new(loop, &s, &why);
	unlink(path);
	assert_non_null(dns);
	return 0;
}

static int end(void **state)
{
	(void)state;
	dns_free(dns);
	loop_free(loop);
	return 0;
}

static void on_spf(void *arg, struct spf *s)
{
	(void)arg;
	(void)s;
	loop_stop(loop);
}

static void a_pass_remembers_the_path_that_it_took(void **state)
{
	(void)state;
	static const struct { const char *domain, *ip; enum spf_result result; unsigned weak; size_t path; } rows[] = {
		{ "plain.test", "192.0.2.1", SPF_PASS, 0, 1 }, { "plain.test", "198.51.100.1", SPF_FAIL, 0, 1 }, { "all.test", "192.0.2.1", SPF_PASS, SPF_WEAK_ALL, 1 },
		{ "inc.test", "192.0.2.1", SPF_PASS, 0, 2 }, { "incall.test", "192.0.2.1", SPF_PASS, SPF_WEAK_ALL, 2 },
		{ "macro.test", "192.0.2.1", SPF_PASS, SPF_WEAK_MACRO, 2 }, { "exists.test", "192.0.2.1", SPF_PASS, SPF_WEAK_EXISTS, 1 },
		{ "wide.test", "192.0.2.1", SPF_PASS, SPF_WEAK_WIDE, 1 }, { "edge.test", "192.0.2.1", SPF_PASS, 0, 1 }, { "redir.test", "192.0.2.1", SPF_PASS, 0, 2 },
		{ "redirmacro.test", "192.0.2.1", SPF_PASS, SPF_WEAK_MACRO, 2 }, { "ptr.test", "192.0.2.1", SPF_PASS, SPF_WEAK_PTR, 1 },
		{ "first.test", "192.0.2.1", SPF_PASS, 0, 1 }, { "first.test", "192.0.2.2", SPF_PASS, SPF_WEAK_ALL, 1 }, { "minus.test", "192.0.2.1", SPF_FAIL, 0, 2 },
		{ "six.test", "2001:db8::1", SPF_PASS, SPF_WEAK_WIDE, 1 }, { "after.test", "192.0.2.1", SPF_PERMERROR, 0, 2 }, { "nothing.test", "192.0.2.1", SPF_NONE, 0, 1 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mail_dns *m = mail_dns_new(loop, dns, MAIL_DNS_MAX);
		struct spf_question q = { .helo = SLICE("h.test"), .local_part = SLICE("ann"), .domain = slice_of(rows[i].domain) };
		assert_true(net_ip_parse(slice_of(rows[i].ip), &q.client));
		struct spf *s = spf_start(m, &q, on_spf, NULL);
		loop_run(loop);
		const struct spf_verdict *v = spf_verdict(s);
		if (v->result != rows[i].result || v->weak != rows[i].weak || v->path_count != rows[i].path)
			fail_msg("%s: %s weak %u path %zu", rows[i].domain, spf_result_name(v->result), v->weak, v->path_count);
		spf_free(s);
		mail_dns_free(m);
	}
}

static void the_path_names_whose_hosts_they_are(void **state)
{
	(void)state;
	static const struct { const char *domain, *ip; enum spf_result result; const char *path; } rows[] = {
		{ "hosted.test", "192.0.2.1", SPF_PASS, "hosted.test relay.host.test" }, { "hosted.test", "192.0.2.7", SPF_PASS, "hosted.test mine.test a.host.test" },
		{ "hosted.test", "192.0.2.2", SPF_PASS, "hosted.test mine.test b.host.test c.host.test" }, { "hosted.test", "192.0.2.3", SPF_NEUTRAL, NULL },
		{ "hosted.test", "192.0.2.9", SPF_FAIL, NULL }, { "own.test", "192.0.2.1", SPF_PASS, "own.test" }, { "own.test", "192.0.2.2", SPF_PASS, "own.test relay.own.test" },
		{ "alias.test", "192.0.2.1", SPF_PASS, "alias.test _spf.alias.test _spf.host.test" }, { "alias.test", "192.0.2.2", SPF_PASS, "alias.test www.alias.test relay2.host.test" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mail_dns *m = mail_dns_new(loop, dns, MAIL_DNS_MAX);
		struct spf_question q = { .helo = SLICE("h.test"), .local_part = SLICE("ann"), .domain = slice_of(rows[i].domain) };
		struct buf path = BUF_INIT(4096);
		assert_true(net_ip_parse(slice_of(rows[i].ip), &q.client));
		struct spf *s = spf_start(m, &q, on_spf, NULL);
		loop_run(loop);
		const struct spf_verdict *v = spf_verdict(s);
		for (size_t n = 0; n < v->path_count; n++)
			buf_addf(&path, "%s%.*s", n ? " " : "", SLICE_FMT(v->path[n]));
		if (v->result != rows[i].result || v->weak || (rows[i].path && !slice_eq(buf_slice(&path), slice_of(rows[i].path))))
			fail_msg("%s from %s: %s weak %u path %.*s", rows[i].domain, rows[i].ip, spf_result_name(v->result), v->weak, SLICE_FMT(buf_slice(&path)));
		buf_free(&path);
		spf_free(s);
		mail_dns_free(m);
	}
}

static void on_dmarc(void *arg, struct dmarc *d)
{
	(void)arg;
	(void)d;
	loop_stop(loop);
}

static void the_tree_is_walked_as_the_rfc_says(void **state)
{
	(void)state;
	static const struct { const char *author, *spf, *dkim; enum dmarc_result result; enum dmarc_policy policy; const char *domain, *organisation; } rows[] = {
		{ "example.test", "", "", DMARC_FAIL, DMARC_POLICY_REJECT, "example.test", "example.test" },
		{ "sub.example.test", "", "", DMARC_FAIL, DMARC_POLICY_QUARANTINE, "example.test", "example.test" },
		{ "gone.example.test", "", "", DMARC_FAIL, DMARC_POLICY_NONE, "example.test", "example.test" },
		{ "sub.example.test", "example.test", "", DMARC_PASS, DMARC_POLICY_QUARANTINE, "example.test", "example.test" },
		{ "sub.example.test", "", "other.example.test", DMARC_PASS, DMARC_POLICY_QUARANTINE, "example.test", "example.test" },
		{ "example.test", "own.example.test", "", DMARC_FAIL, DMARC_POLICY_REJECT, "example.test", "example.test" },
		{ "x.own.example.test", "own.example.test", "", DMARC_PASS, DMARC_POLICY_NONE, "own.example.test", "own.example.test" },
		{ "example.test", "evilexample.test", "", DMARC_FAIL, DMARC_POLICY_REJECT, "example.test", "example.test" },
		{ "example.test", "test", "", DMARC_FAIL, DMARC_POLICY_REJECT, "example.test", "example.test" },
		{ "shop.suffix.test", "", "", DMARC_FAIL, DMARC_POLICY_REJECT, "suffix.test", "shop.suffix.test" },
		{ "a.shop.suffix.test", "shop.suffix.test", "", DMARC_PASS, DMARC_POLICY_REJECT, "suffix.test", "shop.suffix.test" },
		{ "shop.suffix.test", "mall.suffix.test", "", DMARC_FAIL, DMARC_POLICY_REJECT, "suffix.test", "shop.suffix.test" },
		{ "twice.test", "twice.test", "", DMARC_NONE, DMARC_POLICY_NONE, "", "twice.test" },
		{ "mild.test", "", "", DMARC_FAIL, DMARC_POLICY_QUARANTINE, "mild.test", "mild.test" },
		{ "strict.test", "sub.strict.test", "", DMARC_FAIL, DMARC_POLICY_REJECT, "strict.test", "strict.test" },
		{ "strict.test", "", "strict.test", DMARC_PASS, DMARC_POLICY_REJECT, "strict.test", "strict.test" },
		{ "nop.test", "nop.test", "", DMARC_NONE, DMARC_POLICY_NONE, "", "nop.test" },
		{ "rua.test", "", "", DMARC_FAIL, DMARC_POLICY_NONE, "rua.test", "rua.test" },
		{ "a.b.c.d.e.f.g.h.i.j.deep.test", "", "", DMARC_FAIL, DMARC_POLICY_QUARANTINE, "g.h.i.j.deep.test", "g.h.i.j.deep.test" },
		{ "loop.test", "loop.test", "", DMARC_TEMPERROR, DMARC_POLICY_NONE, "", "" },
		{ "nothing.test", "nothing.test", "", DMARC_NONE, DMARC_POLICY_NONE, "", "nothing.test" },
		{ "[192.0.2.1]", "", "", DMARC_PERMERROR, DMARC_POLICY_NONE, "", "" },
		{ "EXAMPLE.Test", "Sub.Example.test", "", DMARC_PASS, DMARC_POLICY_REJECT, "example.test", "example.test" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mail_dns *m = mail_dns_new(loop, dns, MAIL_DNS_MAX);
		struct dmarc_identifiers who = { .spf = slice_of(rows[i].spf), .dkim = { slice_of(rows[i].dkim) }, .dkim_count = rows[i].dkim[0] != 0 };
		struct dmarc *d = dmarc_start(m, slice_of(rows[i].author), NULL);
		dmarc_judge(d, &who, on_dmarc, NULL);
		loop_run(loop);
		const struct dmarc_verdict *v = dmarc_verdict(d);
		if (v->result != rows[i].result || v->policy != rows[i].policy || !slice_eq(v->domain, slice_of(rows[i].domain)) ||
		    !slice_eq(v->organisation, slice_of(rows[i].organisation)) || mail_dns_asked(m) > 20)
			fail_msg("%s %s %s: %s policy %s of \"%.*s\", organization \"%.*s\", %u questions", rows[i].author, rows[i].spf, rows[i].dkim, dmarc_result_name(v->result),
			         dmarc_policy_name(v->policy), SLICE_FMT(v->domain), SLICE_FMT(v->organisation), mail_dns_asked(m));
		dmarc_free(d);
		mail_dns_free(m);
	}
}

/* RFC 7489: the author's domain is asked, and then its organization's alone, which is one label below a public suffix. */
static void with_a_suffix_list_the_author_and_the_organization_are_asked(void **state)
{
	(void)state;
	static const struct { const char *author, *spf; enum dmarc_result result; enum dmarc_policy policy; const char *domain, *organisation; } rows[] = {
		{ "shop.co.uk", "", DMARC_FAIL, DMARC_POLICY_REJECT, "shop.co.uk", "shop.co.uk" },
		{ "a.b.shop.co.uk", "", DMARC_FAIL, DMARC_POLICY_QUARANTINE, "shop.co.uk", "shop.co.uk" },
		{ "b.shop.co.uk", "", DMARC_FAIL, DMARC_POLICY_NONE, "b.shop.co.uk", "shop.co.uk" },
		{ "a.shop.co.uk", "mail.shop.co.uk", DMARC_PASS, DMARC_POLICY_QUARANTINE, "shop.co.uk", "shop.co.uk" },
		{ "shop.co.uk", "mall.co.uk", DMARC_FAIL, DMARC_POLICY_REJECT, "shop.co.uk", "shop.co.uk" },
		{ "mall.co.uk", "", DMARC_NONE, DMARC_POLICY_NONE, "", "mall.co.uk" },
	};
	struct suffix_list *list = suffix_list_new(SLICE(""));
	assert_non_null(list);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mail_dns *m = mail_dns_new(loop, dns, MAIL_DNS_MAX);
		struct dmarc_identifiers who = { .spf = slice_of(rows[i].spf) };
		struct dmarc *d = dmarc_start(m, slice_of(rows[i].author), list);
		dmarc_judge(d, &who, on_dmarc, NULL);
		loop_run(loop);
		const struct dmarc_verdict *v = dmarc_verdict(d);
		if (v->result != rows[i].result || v->policy != rows[i].policy || !slice_eq(v->domain, slice_of(rows[i].domain)) ||
		    !slice_eq(v->organisation, slice_of(rows[i].organisation)) || mail_dns_asked(m) > 5)
			fail_msg("%s %s: %s policy %s of \"%.*s\", organization \"%.*s\", %u questions", rows[i].author, rows[i].spf, dmarc_result_name(v->result), dmarc_policy_name(v->policy),
			         SLICE_FMT(v->domain), SLICE_FMT(v->organisation), mail_dns_asked(m));
		dmarc_free(d);
		mail_dns_free(m);
	}
	suffix_list_free(list);
}

static void results_that_bear_our_name_are_known(void **state)
{
	(void)state;
	static const struct { const char *value; bool ours; } rows[] = {
		{ " mx.test; spf=pass", true }, { "MX.TEST 1; none", true }, { "\r\n\t(comment (nested)) \"mx.test\"; x=y", true }, { "other.test; spf=pass", false },
		{ "mx.test.evil; x", false }, { "(unclosed mx.test; spf=pass", true }, { "", false }, { "\"mx.test", true }, { "other.test; x=y reason=\"mx.test;\"", false },
		{ "mx.test.; spf=pass", true }, { "\" MX.test \"; spf=pass", true }, { "mx.test..; x", false }, { "mx.test/1; spf=pass", true }, { "mx.test\xc2\xa0; x", true }, { "mx.test:25; x", true }, { "mx.test-2; x", false }, { "mx.tes; x", false },
		{ "\"mx\\.te\\st\"; dkim=pass", true }, { "\"mx.test\\\\\"; dkim=pass", true }, { "\"\\mx.tes\"; dkim=pass", false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (authres_is_ours(slice_of(rows[i].value), SLICE("mx.test")) != rows[i].ours)
			fail_msg("%s", rows[i].value);
	assert_true(authres_is_ours(SLICE("mx.b\xc3\xbc" "cher.test; x"), SLICE("mx.xn--bcher-kva.test")));
	assert_true(authres_is_ours(SLICE("mx.XN--BCHER-KVA.test. 1; x"), SLICE("mx.b\xc3\xbc" "cher.test")));
	assert_false(authres_is_ours(SLICE("mx.bucher.test; x"), SLICE("mx.b\xc3\xbc" "cher.test")));
	struct buf b = BUF_INIT(1000);
	authres_begin(&b, SLICE("mx.test"));
	authres_method(&b, "spf", "fail", SLICE("a \"b\"\r\nc"), SLICE("x) dkim=pass ("));
	authres_property(&b, "smtp.mailfrom", SLICE("ann; dkim=pass@x.test"));
	authres_end(&b);
	assert_true(slice_eq(buf_slice(&b), SLICE("mx.test;\r\n\tspf=fail (x dkim=pass ) reason=\"a \\\"b\\\"c\" smtp.mailfrom=\"ann; dkim=pass@x.test\"")));
	struct slice in = buf_slice(&b);
	struct authres_item item;
	assert_true(authres_skip_id(&in));
	assert_true(authres_next(&in, &item));
	assert_true(slice_eq(item.method, SLICE("spf")) && slice_eq(item.result, SLICE("fail")));
	assert_true(slice_eq(authres_find(&item, SLICE("smtp.mailfrom")), SLICE("ann; dkim=pass@x.test")));
	assert_false(authres_next(&in, &item));
	buf_free(&b);
}

static void the_author_is_one_domain_or_nobody(void **state)
{
	(void)state;
	static const struct { const char *header, *domain; } rows[] = {
		{ "From: ann@x.test\r\n", "x.test" }, { "From: Ann <ann@X.test>, bob@x.test\r\n", "x.test" }, { "From: ann@x.test <ann@y.test>\r\n", "y.test" },
		{ "From: a@x.test, b@y.test\r\n", NULL }, { "From: a@x.test\r\nFrom: a@x.test\r\n", NULL }, { "Subject: x\r\n", NULL }, { "From: ann\r\n", NULL }, { "From: <>\r\n", NULL },
		{ "From: a@x.test <b@y.test> <c@z.test>\r\n", NULL },
		/* what can't be read as an address has an author if all of it names one */
		{ "From: ceo@bank.test <\r\n", "bank.test" }, { "From: Smith, Inc. <a@X.test>\r\n", "x.test" }, { "From: (open ceo@bank.test\r\n", "bank.test" }, { "From: <ceo@bank.test.> x\r\n", "bank.test" },
		{ "From: ceo@bank.test <a@x.test\r\n", NULL }, { "From: ceo@bank.test, root\r\n", "bank.test" }, { "From: root, ceo@bank.test\r\n", "bank.test" }, { "From: @ @\r\n", NULL },
		{ "From: \"bank@bank.test\" <ann@x.test>\r\n", "x.test" },
		/* blanks and comments in a domain that no grammar takes */
		{ "From: a b @ bank.test\r\n", "bank.test" }, { "From: a b@\r\n\t(c (d))bank.test\r\n", "bank.test" }, { "From: Bank <a b@ bank.test> (b@x.test)\r\n", NULL },
		{ "From: a b@bank .test\r\n", NULL }, { "From: a b@bank(c). test\r\n", NULL }, { "From: a b@bank. test\r\n", NULL }, { "From: a b@bank.test. (c)\r\n", "bank.test" }, { "From: a b@(x@y) bank.test (c)\r\n", NULL }, { "From: a b@(x@bank.test) bank.test (c)\r\n", "bank.test" },
		{ "From: a b@ (open\r\n", NULL }, { "From: root, \"x@x.test \", \"st@(\" <ceo@bank.test>\r\n", NULL }, { "From: Ann Lee ann@x.test of X\r\n", "x.test" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena mem = ARENA_INIT(1 << 16);
		struct mail_header h;
		struct slice domain = SLICE("");
		const char *why;
		assert_int_equal(mail_header_parse(slice_of(rows[i].header), 100, &mem, &h), 0);
		bool good = mail_author_shown(&h, &mem, &domain, &why) == 0;
		if (good != (rows[i].domain != NULL) || (good && !slice_eq(domain, slice_of(rows[i].domain))))
			fail_msg("%s: %.*s", rows[i].header, SLICE_FMT(domain));
		arena_free(&mem);
	}
}

/* What can't be read for certain is refused; what names nobody's domain is nobody's. */
static void no_form_of_from_hides_a_domain(void **state)
{
	(void)state;
	static const struct { const char *value; size_t n; int error; const char *domain; } rows[] = {
		#define ROW(value, error, domain) { value, sizeof value - 1, error, domain }
		ROW("a b@\"bank.test\"", -EINVAL, NULL), ROW("a@\"bank.test\"", -EINVAL, NULL), ROW("a b@[bank.test]", -EINVAL, NULL), ROW("ann@[bank.test]", -EINVAL, NULL), ROW("a b@<bank.test>", -EINVAL, NULL),
		ROW("ann@[192.0.2.1]", 0, "[192.0.2.1]"), ROW("ann@[IPv6:2001:db8::1]", 0, "[ipv6:2001:db8::1]"), ROW("ann@ba\xadnk.test", -EINVAL, NULL), ROW("a b@ba\xadnk.test", -EINVAL, NULL),
		ROW("ann@ba\xc2\xadnk.test", 0, "bank.test"), ROW("ann@b\xc3\xbc" "cher.test", 0, "xn--bcher-kva.test"), ROW("a b@ba\0nk.test", -EINVAL, NULL), ROW("ann@ba\x01nk.test", -EINVAL, NULL), ROW("ann@ba\x7fnk.test", -EINVAL, NULL),
		ROW("a b@ba\\nk.test", -EINVAL, NULL), ROW("a b@ba\"nk.test", -EINVAL, NULL), ROW("a b@bank (x).test", -EINVAL, NULL), ROW("a b@bank (\\)) .test", -EINVAL, NULL), ROW("a b@(\\()x.test)bank.test", -EINVAL, NULL),
		ROW("ann@ba=?utf-8?q?nk?=.test", 0, "bank.test"), ROW("Bank <ceo@=?utf-8?q?bank.test?=>", 0, "bank.test"), ROW("a b@=?utf-8?q?bank.test?=", 0, "bank.test"), ROW("ann@bank..test", -EINVAL, NULL),
		/* an address in an encoded word or in quotes, where no other one stands */
		ROW("=?utf-8?q?ceo=40bank.test?=", 0, "bank.test"), ROW("=?UTF-8?B?Y2VvQGJhbmsudGVzdA==?=", 0, "bank.test"), ROW("=?utf-8*en?q?CEO_=3Cceo=40bank.test=3E?=", 0, "bank.test"), ROW("=?utf-8?q?ceo=40bank.test", 0, "bank.test"),
		ROW("=?utf-8?q?ceo=40ba?=\r\n =?utf-8?q?nk.test?=", 0, "bank.test"), ROW("=?utf-8?q?ceo?=@bank.test", 0, "bank.test"), ROW("=?utf-8?q?ceo=40bank.test?=, ann@x.test", -EINVAL, NULL), ROW("=?utf-7?q?ceo+AEA-bank.test?=", -EINVAL, NULL),
		ROW("=?utf-8?q?ceo=40bank.test=3E?=@x.test", -EINVAL, NULL), ROW("\"ceo@bank.test\"", 0, "bank.test"), ROW("<\"ceo@bank.test\">", 0, "bank.test"), ROW("\"ceo@bank.test\" <root>", 0, "bank.test"), ROW("ceo@bank.test <root>", 0, "bank.test"),
		ROW("\"ceo@bank.test\"@x.test", -EINVAL, NULL), ROW("ceo\xef\xbc\xa0" "bank.test", 0, "bank.test"), ROW("root (ceo@bank.test)", 0, "bank.test"), ROW("\"ceo@bank.test\":;", 0, "bank.test"),
		/* harmless, and common */
		ROW("root", -ENOENT, NULL), ROW("root (Charlie Root)", -ENOENT, NULL), ROW("Cron Daemon <root>", -ENOENT, NULL), ROW("root@", -ENOENT, NULL), ROW("<root@>", -ENOENT, NULL), ROW("<>", -ENOENT, NULL), ROW("", -ENOENT, NULL),
		ROW("undisclosed:;", -ENOENT, NULL), ROW("=?iso-8859-1?q?J=F6rg?=", -ENOENT, NULL), ROW("=?utf-8?q?J=C3=B6rg?= <j@x.test>", 0, "x.test"), ROW("=?utf-8?q?j=40bank.test?= <j@x.test>", 0, "x.test"), ROW("root@localhost", 0, "localhost"),
		ROW("=?weird?q?J=C3=B6rg?= <j@x.test>", 0, "x.test"), ROW("Smith, Inc. <a@my_host.x.test>", 0, "my_host.x.test"), ROW("'ann@x.test' <ann@x.test>", 0, "x.test"), ROW("'ann@x.test'", 0, "x.test"),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena mem = ARENA_INIT(1 << 16);
		struct buf header = BUF_INIT(1000);
		struct mail_header h;
		struct slice domain = SLICE("");
		const char *why;
		buf_add_cstr(&header, "From: ");
		buf_add(&header, slice(rows[i].value, rows[i].n));
		buf_add_cstr(&header, "\r\n");
		assert_int_equal(mail_header_parse(buf_slice(&header), 100, &mem, &h), 0);
		int error = mail_author_shown(&h, &mem, &domain, &why);
		if (error != rows[i].error || (!error && !slice_eq(domain, slice_of(rows[i].domain))))
			fail_msg("%s: %d %.*s, %s", rows[i].value, error, SLICE_FMT(domain), why ? why : "");
		buf_free(&header);
		arena_free(&mem);
	}
}

static void a_long_list_of_one_domain_has_an_author(void **state)
{
	(void)state;
	struct buf many = BUF_INIT(1 << 20);
	buf_add_cstr(&many, "From: ceo@bank.test");
	for (int i = 0; i < 5000; i++)
		buf_add_cstr(&many, ", \"the one with a long name\" <ceo@bank.test>");
	buf_add_cstr(&many, "\r\n");
	struct arena mem = ARENA_INIT(1 << 20);
	struct mail_header h;
	struct slice domain;
	const char *why;
	assert_int_equal(mail_header_parse(buf_slice(&many), 100, &mem, &h), 0);
	assert_int_equal(mail_author_shown(&h, &mem, &domain, &why), 0);
	assert_true(slice_eq(domain, SLICE("bank.test")));
	arena_free(&mem);
	buf_free(&many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pass_remembers_the_path_that_it_took), cmocka_unit_test(the_path_names_whose_hosts_they_are),
		cmocka_unit_test(the_tree_is_walked_as_the_rfc_says),
		cmocka_unit_test(with_a_suffix_list_the_author_and_the_organization_are_asked),
		cmocka_unit_test(results_that_bear_our_name_are_known),
		cmocka_unit_test(the_author_is_one_domain_or_nobody),
		cmocka_unit_test(no_form_of_from_hides_a_domain),
		cmocka_unit_test(a_long_list_of_one_domain_has_an_author),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
