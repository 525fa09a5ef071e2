/* MTA-STS policies and records read; the decision about TLS over worlds of DNS, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/tls.h"
#include "delivery/sts.h"
#include "delivery/tls_policy.h"

/* -- texts ---------------------------------------------------------------------------------------------------------------------------------- */

static bool parses(const char *text, struct sts_policy *p, struct arena *mem)
{
	return sts_parse(slice_of(text), mem, p);
}

static void policies_are_read_as_the_rfc_says(void **state)
{
	(void)state;
	struct arena mem = ARENA_INIT(100000);
	struct sts_policy p;
	assert_true(parses("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n", &p, &mem));
	assert_int_equal(p.mode, STS_ENFORCE);
	assert_int_equal(p.max_age_s, 604800);
	assert_true(sts_names(&p, SLICE("MAIL.example.com")) && sts_names(&p, SLICE("mx1.example.net")));
	assert_false(sts_names(&p, SLICE("example.net")) || sts_names(&p, SLICE("a.b.example.net")) || sts_names(&p, SLICE("xmail.example.com")));
	assert_true(parses("version: STSv1\nmode: none\nmax_age: 86400\n", &p, &mem));
	assert_true(parses("version: STSv1\nmode: testing\nmx: a\nmax_age: 99999999\nfuture: thing\n", &p, &mem));
	assert_int_equal(p.max_age_s, STS_MAX_AGE_S);
	static const char *const bad[] = { "", "mode: enforce\nmx: a\nmax_age: 1\n", "version: STSv2\nmode: enforce\nmx: a\nmax_age: 1\n",
		"version: STSv1\nmode: enforce\nmax_age: 1\n", "version: STSv1\nmode: maybe\nmx: a\nmax_age: 1\n", "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1\n",
		"version: STSv1\nmode: enforce\nmx: a\n", "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1\n", "<html>not found</html>" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(parses(bad[i], &p, &mem));
	arena_free(&mem);
}

static void records_are_read_as_the_rfc_says(void **state)
{
	(void)state;
	struct slice id;
	assert_true(sts_record(SLICE("v=STSv1; id=20160831085700Z;"), &id) && slice_eq(id, SLICE("20160831085700Z")));
	assert_true(sts_record(SLICE("v=STSv1;id=1;x=y"), &id));
	assert_false(sts_record(SLICE("v=STSv1;"), &id) || sts_record(SLICE("id=1; v=STSv1"), &id) || sts_record(SLICE("v=STSv2; id=1"), &id));
	assert_false(sts_record(SLICE("v=STSv1; id=a.b"), &id) || sts_record(SLICE("v=STSv1; id=123456789012345678901234567890123"), &id));
}

/* -- decisions ------------------------------------------------------------------------------------------------------------------------------- */

static const char zone[] =
	"$ORIGIN test.\n$TTL 300\n"
	"_25._tcp.dane.a TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
	"_25._tcp.pkix.a TLSA 1 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
	"alias.a CNAME far.elsewhere.\n_25._tcp.alias.a TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
	"_25._tcp.broken.a CNAME _25._tcp.broken.b\n_25._tcp.broken.b CNAME _25._tcp.broken.a\n"
	"_mta-sts.sts TXT \"v=STSv1; id=1;\"\n_mta-sts.later TXT \"v=STSv1; id=2;\"\n_mta-sts.two TXT \"v=STSv1; id=1;\"\n  TXT \"v=STSv1; id=2;\"\n"
	"_mta-sts.down TXT \"v=STSv1; id=1;\"\n_mta-sts.bad TXT \"v=STSv1; id=1;\"\n_mta-sts.forged TXT \"v=STSv1; id=1;\"\n";

struct world {
	struct loop *loop;
	struct dns *dns;
	struct sts *sts;
	unsigned fetched;
	char said[400];
	enum tls_report_result failed; /* the first host's */
	struct sts *answering;
	char domain[100], id[40];
	struct loop_timer *timer;
};

static void answer_fetch(void *arg)
{
	struct world *w = arg;
	static const char enforce[] = "version: STSv1\nmode: enforce\nmx: mx.sts.test\nmx: dane.a.test\nmax_age: 604800\n";
	static const char testing[] = "version: STSv1\nmode: testing\nmx: other.test\nmax_age: 604800\n";
	const char *text = strcmp(w->domain, "bad.test") == 0 ? "version: STSv1\n" : strcmp(w->domain, "later.test") == 0 ? testing : enforce;
	if (strcmp(w->domain, "down.test") == 0)
		sts_lost(w->sts, slice_of(w->domain), slice_of(w->id), HTTPS_FAILED);
	else if (strcmp(w->domain, "forged.test") == 0)
		sts_lost(w->sts, slice_of(w->domain), slice_of(w->id), HTTPS_UNTRUSTED);
	else
		sts_fetched(w->sts, slice_of(w->domain), slice_of(w->id), slice_of(text), clock_wall_s());
}

static int fetch(void *how, struct slice domain, struct slice id)
{
	struct world *w = how;
	w->fetched++;
	snprintf(w->domain, sizeof w->domain, "%.*s", SLICE_FMT(domain));
	snprintf(w->id, sizeof w->id, "%.*s", SLICE_FMT(id));
	loop_timer_set(w->timer, 1);
	return 0;
}

static void decided(void *arg, const struct tls_policy_answer *a)
{
	static const char *const uses[] = { "never", "may", "must" };
	struct world *w = arg;
	size_t n = 0;
	for (size_t i = 0; i < a->count; i++)
		n += (size_t)snprintf(w->said + n, sizeof w->said - n, "%s%s %s", i ? ", " : "", a->choices[i].how,
			a->choices[i].usable ? uses[a->choices[i].use] : a->choices[i].status.fate == MAIL_NEVER ? "NEVER" : "LATER");
	w->failed = a->choices[0].failed;
	loop_stop(w->loop);
}

static void open_world(struct world *w, bool secure)
{
	char file[] = "/tmp/porter-zone-XXXXXX";
	const char *why = NULL;
	int fd = mkstemp(file);
	assert_true(fd >= 0 && write(fd, zone, sizeof zone - 1) == (ssize_t)sizeof zone - 1);
	close(fd);
	*w = (struct world){ .loop = loop_new() };
	struct dns_settings s = { .zone_file = slice_of(file), .zone_secure = secure, .timeout_ms = 5000 };
	w->dns = dns_new(w->loop, &s, &why);
	assert_non_null(w->dns);
	unlink(file);
	w->sts = sts_new(w->loop, w->dns, fetch, w);
	w->timer = loop_timer_new(w->loop, answer_fetch, w);
}

static void close_world(struct world *w)
{
	sts_free(w->sts);
	dns_free(w->dns);
	loop_timer_free(w->timer);
	loop_free(w->loop);
}

struct row {
	const char *domain, *host, *word, *standard; /* host: "alias>name behind it" */
	bool mx_secure, host_secure, require;
	const char *want;
};

static bool waived;

static const char *decide(struct world *w, const struct row *r)
{
	struct tls_policy_setup setup = { w->loop, w->dns, w->sts, true, slice_of(r->standard) };
	struct tls_policy *p = tls_policy_new(&setup);
	struct slice canonical, name = slice_cut(slice_of(r->host), '>', &canonical);
	struct tls_policy_host host = { name, canonical, 25, r->host_secure };
	struct tls_policy_question q = { slice_of(r->domain), true, r->mx_secure, &host, 1, slice_of(r->word), r->require, waived };
	w->said[0] = '\0';
	tls_policy_find(p, &q, decided, w);
	loop_run(w->loop);
	tls_policy_free(p);
	return w->said;
}

static void each_world_gets_its_policy(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "plain.test", "mx.plain.test", "", "may", true, true, false, "opportunistic may" },
		{ "plain.test", "mx.plain.test", "none", "may", true, true, false, "none never" },
		{ "plain.test", "mx.plain.test", "encrypt", "may", false, false, false, "encrypt must" },
		{ "plain.test", "mx.plain.test", "", "encrypt", false, false, false, "encrypt must" },
		{ "plain.test", "mx.plain.test", "verify", "may", false, false, false, "verify must" },
		{ "plain.test", "mx.plain.test", "dane", "may", true, true, false, "dane LATER" },
		{ "plain.test", "dane.a.test", "", "may", true, true, false, "dane must" },
		{ "plain.test", "dane.a.test", "dane", "may", true, true, false, "dane must" },
		{ "plain.test", "dane.a.test", "verify", "may", true, true, false, "dane must" },
		{ "plain.test", "dane.a.test", "none", "may", true, true, false, "none never" },
		{ "plain.test", "dane.a.test", "", "may", false, true, false, "opportunistic may" },  /* 7672, 2.2.1: MX not validated */
		{ "plain.test", "dane.a.test", "", "may", true, false, false, "opportunistic may" },  /* addresses not validated */
		{ "plain.test", "pkix.a.test", "", "may", true, true, false, "dane-unusable must" },  /* 3.1.3 */
		{ "plain.test", "broken.a.test", "", "may", true, true, false, "dane LATER" },        /* 2.1.3: a downgrade gains a delay */
		{ "plain.test", "mx.plain.test>dane.a.test", "", "may", true, true, false, "dane must" },        /* 2.2.2: an alias has the records of the name behind it */
		{ "plain.test", "alias.a.test>mx.plain.test", "", "may", true, true, false, "dane must" },       /* or its own */
		{ "plain.test", "alias.a.test>far.elsewhere", "", "may", true, false, false, "dane must" },      /* also where it leads to a zone that isn't signed, */
		{ "plain.test", "dane.a.test>far.elsewhere", "", "may", true, false, false, "opportunistic may" }, /* if it is proven to be one */
		{ "plain.test", "alias.a.test>broken.a.test", "", "may", true, true, false, "dane LATER" },
		{ "plain.test", "alias.a.test>dane.a.test", "", "may", false, true, false, "opportunistic may" },
		{ "plain.test", "broken.a.test", "none", "may", true, true, false, "none never" },
		{ "sts.test", "mx.sts.test", "", "may", false, false, false, "sts must" },
		{ "STS.test", "MX.sts.test", "", "may", false, false, false, "sts must" },
		{ "sts.test", "evil.test", "", "may", false, false, false, "sts LATER" },
		{ "sts.test", "dane.a.test", "", "may", true, true, false, "dane must" },             /* 8461, 2: DANE is not overruled */
		{ "sts.test", "broken.a.test", "", "may", true, true, false, "dane LATER" },
		{ "later.test", "mx.later.test", "", "may", false, false, false, "sts-testing may" },
		{ "two.test", "mx.two.test", "", "may", false, false, false, "opportunistic may" },   /* two records are none */
		{ "down.test", "mx.down.test", "", "may", false, false, false, "opportunistic may" },
		{ "plain.test", "mx.plain.test", "", "may", false, false, true, "require-tls NEVER" },
		{ "plain.test", "mx.plain.test", "none", "may", false, false, true, "require-tls NEVER" },
		{ "plain.test", "mx.plain.test", "", "may", true, true, true, "verify must" },
		{ "plain.test", "dane.a.test", "", "may", true, true, true, "dane must" },
		{ "sts.test", "mx.sts.test", "", "may", false, false, true, "sts must" },
		{ "sts.test", "evil.test", "", "may", false, false, true, "require-tls NEVER" },
	};
	struct world w;
	open_world(&w, true);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *said = decide(&w, &rows[i]);
		if (strcmp(said, rows[i].want) != 0)
			fail_msg("row %zu, %s at %s: %s, not %s", i, rows[i].domain, rows[i].host, said, rows[i].want);
	}
	assert_int_equal(w.fetched, 3); /* sts, later, down: once each */
	close_world(&w);
}

static void a_report_says_why_a_policy_is_not_had(void **state)
{
	(void)state;
	static const struct {
		const char *domain;
		enum tls_report_result want;
	} rows[] = { { "plain.test", TLS_REPORT_SUCCESS }, { "sts.test", TLS_REPORT_VALIDATION }, { "down.test", TLS_REPORT_STS_FETCH }, { "bad.test", TLS_REPORT_STS_INVALID }, { "forged.test", TLS_REPORT_WEBPKI } };
	struct world w;
	open_world(&w, true);
	for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) { /* the second time it is known, and not asked again */
		const char *domain = rows[i / 2].domain;
		decide(&w, &(struct row){ domain, "mx.any.test", "", "may", false, false, false, "" });
		if (w.failed != rows[i / 2].want)
			fail_msg("%s: %s, not %s", domain, tls_report_result_name(w.failed), tls_report_result_name(rows[i / 2].want));
	}
	decide(&w, &(struct row){ "down.test", "mx.any.test", "encrypt", "may", false, false, false, "" });
	assert_int_equal(w.failed, TLS_REPORT_STS_FETCH); /* also where a route demands what the policy could not */
	assert_int_equal(w.fetched, 4);
	close_world(&w);
}

static void what_dnssec_does_not_prove_says_nothing(void **state)
{
	(void)state;
	static const struct row row = { "plain.test", "dane.a.test", "", "may", true, true, false, "opportunistic may" };
	struct world w;
	open_world(&w, false);
	assert_string_equal(decide(&w, &row), row.want);
	close_world(&w);
}

static void a_policy_that_is_known_is_believed_without_its_record(void **state)
{
	(void)state;
	static const struct row row = { "gone.test", "evil.test", "", "may", false, false, false, "sts LATER" };
	struct world w;
	open_world(&w, true);
	sts_fetched(w.sts, SLICE("gone.test"), SLICE("7"), SLICE("version: STSv1\nmode: enforce\nmx: mx.gone.test\nmax_age: 86400\n"), clock_wall_s() - 80000);
	assert_string_equal(decide(&w, &row), row.want);
	clock_test_turn_wall(10000); /* and not one second longer than max_age */
	assert_string_equal(decide(&w, &row), "opportunistic may");
	clock_test_turn_wall(-10000);
	close_world(&w);
}

static void tell_what_is_kept(void *arg)
{
	struct world *w = arg;
	sts_fetched(w->sts, SLICE("gone.test"), SLICE("7"), SLICE("version: STSv1\nmode: enforce\nmx: mx.gone.test\nmax_age: 86400\n"), clock_wall_s());
	sts_loading(w->sts, false);
}

static void a_question_waits_for_what_is_kept_on_disk(void **state)
{
	(void)state;
	static const struct row row = { "gone.test", "evil.test", "", "may", false, false, false, "sts LATER" };
	struct world w;
	open_world(&w, true);
	sts_loading(w.sts, true);
	struct loop_timer *later = loop_timer_new(w.loop, tell_what_is_kept, &w);
	loop_timer_set(later, 100);
	assert_string_equal(decide(&w, &row), row.want);
	loop_timer_free(later);
	close_world(&w);
}

static void a_policy_is_fetched_again_before_its_end(void **state)
{
	(void)state;
	static const struct row row = { "week.test", "evil.test", "", "may", false, false, false, "sts LATER" };
	static const char week[] = "version: STSv1\nmode: enforce\nmx: mx.week.test\nmax_age: 604800\n";
	struct world w;
	open_world(&w, true);
	sts_fetched(w.sts, SLICE("week.test"), SLICE("7"), slice_of(week), clock_wall_s() - 5 * 86400);
	sts_refresh(w.sts);
	assert_int_equal(w.fetched, 0);
	clock_test_turn_wall(86400 + 3600);
	sts_refresh(w.sts);
	assert_int_equal(w.fetched, 1);
	assert_string_equal(w.domain, "week.test");
	assert_string_equal(w.id, "7");
	sts_refresh(w.sts);
	assert_int_equal(w.fetched, 1); /* it is under way */
	sts_lost(w.sts, SLICE("week.test"), SLICE("7"), HTTPS_FAILED);
	sts_refresh(w.sts);
	assert_int_equal(w.fetched, 1); /* not at once again */
	clock_test_turn_wall(3600);
	sts_refresh(w.sts);
	assert_int_equal(w.fetched, 2);
	sts_fetched(w.sts, SLICE("week.test"), SLICE("7"), slice_of(week), clock_wall_s());
	sts_refresh(w.sts);
	assert_int_equal(w.fetched, 2);
	clock_test_turn_wall(6 * 86400 - 7200);
	assert_string_equal(decide(&w, &row), row.want);
	clock_test_turn_wall(-(7 * 86400));
	close_world(&w);
}

static void a_clock_that_is_set_back_keeps_nothing_from_being_fetched(void **state)
{
	(void)state;
	static const struct row row = { "down.test", "mx.any.test", "", "may", false, false, false, "" };
	struct world w;
	open_world(&w, true);
	decide(&w, &row);
	decide(&w, &row);
	assert_int_equal(w.fetched, 1);
	clock_test_turn_wall(-86400);
	decide(&w, &row);
	assert_int_equal(w.fetched, 2);
	decide(&w, &row);
	assert_int_equal(w.fetched, 2);
	clock_test_turn_wall(86400);
	close_world(&w);
}

static void who_has_no_policy_makes_room_for_who_has(void **state)
{
	(void)state;
	char name[64];
	struct world w;
	open_world(&w, true);
	for (int i = 0; i < STS_MAX_DOMAINS; i++) {
		snprintf(name, sizeof name, "none%d.test", i);
		sts_lost(w.sts, slice_of(name), SLICE("1"), HTTPS_FAILED);
	}
	static const struct row row = { "late.test", "evil.test", "", "may", false, false, false, "sts LATER" };
	sts_fetched(w.sts, SLICE("late.test"), SLICE("1"), SLICE("version: STSv1\nmode: enforce\nmx: mx.late.test\nmax_age: 604800\n"), clock_wall_s());
	assert_string_equal(decide(&w, &row), row.want);
	close_world(&w);
}

static int start(void **state)
{
	(void)state;
	log_open(2, LOG_FORM_TEXT, "test");
	log_set_level(LOG_WARN);
	char file[] = "/tmp/porter-roots-XXXXXX"; /* any root will do */
	struct buf cert = BUF_INIT(65536), key = BUF_INIT(65536);
	int fd = mkstemp(file), error = tls_make_self_signed(SLICE("root.test"), 9, &cert, &key);
	error = error || write(fd, cert.p, cert.n) != (ssize_t)cert.n ? -1 : tls_load_roots(file);
	close(fd);
	unlink(file);
	buf_free(&cert);
	buf_free(&key);
	return error;
}

/* RFC 8689, 5: not what a route demands, nor against REQUIRETLS. */
static void what_the_recipients_domain_demands_can_be_waived(void **state)
{
	static const struct row rows[] = {
		{ "plain.test", "mx.plain.test", "", "may", true, true, false, "waived may" },
		{ "plain.test", "dane.a.test", "", "may", true, true, false, "waived may" },
		{ "plain.test", "broken.a.test", "", "may", true, true, false, "waived may" },
		{ "plain.test", "dane.a.test", "", "encrypt", true, true, false, "encrypt must" },
		{ "plain.test", "dane.a.test", "dane", "may", true, true, false, "dane must" },
		{ "plain.test", "dane.a.test", "verify", "may", true, true, false, "dane must" },
		{ "plain.test", "dane.a.test", "", "verify", true, true, false, "dane must" },
		{ "plain.test", "dane.a.test", "none", "may", true, true, false, "none never" },
	};
	struct world w;
	(void)state;
	open_world(&w, true);
	waived = true;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_string_equal(decide(&w, &rows[i]), rows[i].want);
	waived = false;
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_recipients_domain_demands_can_be_waived),
		cmocka_unit_test(policies_are_read_as_the_rfc_says),
		cmocka_unit_test(records_are_read_as_the_rfc_says),
		cmocka_unit_test(each_world_gets_its_policy), cmocka_unit_test(a_report_says_why_a_policy_is_not_had),
		cmocka_unit_test(what_dnssec_does_not_prove_says_nothing),
		cmocka_unit_test(a_policy_that_is_known_is_believed_without_its_record), cmocka_unit_test(a_policy_is_fetched_again_before_its_end),
		cmocka_unit_test(a_clock_that_is_set_back_keeps_nothing_from_being_fetched),
		cmocka_unit_test(who_has_no_policy_makes_room_for_who_has),
		cmocka_unit_test(a_question_waits_for_what_is_kept_on_disk),
	};
	return cmocka_run_group_tests(tests, start, NULL);
}
