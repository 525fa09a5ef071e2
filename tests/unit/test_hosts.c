/* From a domain to hosts in the order in which they are tried: MX of several hosts over a zone file, and the walk down them against servers on addresses of loopback. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "base/clock.h"
#include "base/log.h"
#include "delivery/attempt.h"
#include "delivery/pool.h"
#include "tests/unit/fake_server.h"

enum { SERVERS = 3, PATIENCE_MS = 60000, SHUFFLES = 200 };

/* 127.0.0.2 is `a`, 127.0.0.3 `b`, 127.0.0.4 `c`; 127.0.0.1 and 192.0.2.9 are ourselves. */
static const char zone[] =
	"$ORIGIN test.\n$TTL 300\n"
	"a A 127.0.0.2\nb A 127.0.0.3\nc A 127.0.0.4\nme A 192.0.2.9\nsix AAAA 2001:db8::6\n"
	"both A 192.0.2.1\nboth A 192.0.2.2\nboth AAAA 2001:db8::1\nboth AAAA 2001:db8::2\n"
	"chain1 CNAME chain2\nchain2 CNAME chain1\nalias CNAME a\n"
	"three MX 30 c\nthree MX 10 a\nthree MX 20 b\n"
	"equal MX 10 a\nequal MX 10 b\nequal MX 20 c\n"
	"families MX 10 both\nfamilies MX 20 six\n"
	"null MX 0 .\n"
	"nowhere MX 10 missing\nnowhere MX 20 missing2\n"
	"partly MX 10 missing\npartly MX 20 b\n"
	"broken MX 10 chain1\nunsure MX 10 chain1\nunsure MX 20 b\n"
	"behindus MX 10 a\nbehindus MX 20 me\nbehindus MX 20 b\nbehindus MX 30 c\n"
	"weareup MX 10 me\nweareup MX 20 a\n"
	"primaryunsure MX 10 chain1\nprimaryunsure MX 20 me\nbackupunsure MX 10 me\nbackupunsure MX 20 chain1\n"
	"nomx A 127.0.0.2\ntxt TXT x\n"
	"first MX 10 a\nfirst MX 20 b\nfirst MX 30 c\n"
	"twice A 127.0.0.2\ntwice A 127.0.0.4\n";

static struct loop *loop;
static struct hops hops;
static struct dns *dns;
static int port;

static int open_zone(void)
{
	char file[] = "/tmp/porter-zone-XXXXXX";
	const char *why = NULL;
	int fd = mkstemp(file);
	if (fd < 0 || write(fd, zone, sizeof zone - 1) != (ssize_t)sizeof zone - 1)
		return -1;
	close(fd);
	dns = dns_new(loop, &(struct dns_settings){ .zone_file = slice_of(file), .timeout_ms = PATIENCE_MS }, &why);
	unlink(file);
	return dns ? 0 : -1;
}

static void gave_up(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static void run(void)
{
	struct loop_timer *patience = loop_timer_new(loop, gave_up, NULL);
	loop_timer_set(patience, PATIENCE_MS);
	loop_run(loop);
	loop_timer_free(patience);
}

/* -- the list --------------------------------------------------------------------------------------------------------------------- */

static struct buf found;

static void tell(void *arg, const struct hosts_answer *h)
{
	(void)arg;
	buf_clear(&found);
	if (h->status.fate != MAIL_OK)
		buf_addf(&found, "%d %d.%d", h->status.code, h->status.enhanced[0], h->status.enhanced[1]);
	for (size_t i = 0; i < h->count; i++) {
		struct buf text = BUF_INIT(100);
		net_address_print(&text, &h->targets[i].address);
		buf_addf(&found, "%s%.*s=%.*s", i ? " " : "", SLICE_FMT(h->targets[i].host), SLICE_FMT(buf_slice(&text)));
		buf_free(&text);
	}
	loop_stop(loop);
}

static const char *list(const char *place)
{
	buf_init(&found, 4096);
	hosts_find(loop, &hops.hosts, slice_of(place), tell, NULL);
	run();
	static char text[4097];
	snprintf(text, sizeof text, "%.*s", SLICE_FMT(buf_slice(&found)));
	buf_free(&found);
	return text;
}

static void a_domain_leads_to_its_hosts_by_preference_and_never_back_to_us(void **state)
{
	(void)state;
	static const struct { const char *place, *want; } rows[] = {
		{ "mx:three.test", "a.test=127.0.0.2:P b.test=127.0.0.3:P c.test=127.0.0.4:P" },
		{ "mx:families.test", "both.test=[2001:db8::1]:P both.test=192.0.2.1:P both.test=[2001:db8::2]:P both.test=192.0.2.2:P six.test=[2001:db8::6]:P" },
		{ "mx:nomx.test", "nomx.test=127.0.0.2:P" },           /* implicit MX */
		{ "mx:null.test", "556 1.10" },
		{ "mx:missing.test", "550 1.2" },
		{ "mx:txt.test", "550 1.2" },
		{ "mx:nowhere.test", "550 4.4" },
		{ "mx:partly.test", "b.test=127.0.0.3:P" },
		{ "mx:broken.test", "451 4.3" },                       /* UNSURE is no 5xx */
		{ "mx:unsure.test", "b.test=127.0.0.3:P" },
		{ "mx:behindus.test", "a.test=127.0.0.2:P" },          /* 5321, 5.1: what is not preferred to us goes */
		{ "mx:weareup.test", "550 4.6" },
		{ "mx:primaryunsure.test", "451 4.3" },                /* we are the backup, and can't look the primary up just now: that is no loop */
		{ "mx:backupunsure.test", "550 4.6" },
		{ "me.test:P", "550 4.6" },
		{ "me.test:26", "me.test=192.0.2.9:26" },              /* another service of this host */
		{ "[127.0.0.1]:P", "550 4.6" },
		{ "alias.test:24", "alias.test=127.0.0.2:24" },
		{ "[2001:db8::7]:2525", "2001:db8::7=[2001:db8::7]:2525" },
		{ "lmtp:[127.0.0.2]:24", "127.0.0.2=127.0.0.2:24" },
		{ "lmtp:unix:/run/lmtp", "/run/lmtp=unix:/run/lmtp" },
		{ "no place", "451 3.5" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char place[100], want[400];
		size_t n = 0;
		for (const char *p = rows[i].want; *p; p++)
			n += (size_t)snprintf(want + n, sizeof want - n, *p == 'P' ? "%d" : "%c", *p == 'P' ? port : *p);
		n = 0;
		for (const char *p = rows[i].place; *p; p++)
			n += (size_t)snprintf(place + n, sizeof place - n, *p == 'P' ? "%d" : "%c", *p == 'P' ? port : *p);
		const char *is = list(place);
		if (strcmp(is, want) != 0)
			print_error("%s\n", place);
		assert_string_equal(is, want);
	}
}

/* 5321, 5.1: "the sender-SMTP MUST randomize them". 200 draws of one in two miss a side once in 10^60. */
static void hosts_of_equal_preference_are_tried_in_any_order_and_before_the_others(void **state)
{
	unsigned first_a = 0, first_b = 0;
	(void)state;
	for (int i = 0; i < SHUFFLES && (!first_a || !first_b); i++) {
		const char *is = list("mx:equal.test");
		first_a += strncmp(is, "a.test=", 7) == 0 && strstr(is, " b.test=") && strstr(is, " b.test=") < strstr(is, " c.test=");
		first_b += strncmp(is, "b.test=", 7) == 0 && strstr(is, " a.test=") && strstr(is, " a.test=") < strstr(is, " c.test=");
		assert_int_equal(first_a + first_b, i + 1);
	}
	assert_true(first_a && first_b);
}

/* -- the walk --------------------------------------------------------------------------------------------------------------------- */

static struct {
	int code, content_code;
	char reply[200], host[100];
	bool content;
} got;
static struct attempt *attempt;

static void on_rcpt(void *arg, size_t index, const struct mail_status *s, struct slice reply)
{
	(void)arg, (void)index;
	got.code = s->code ? s->code : 250;
	snprintf(got.reply, sizeof got.reply, "%.*s", SLICE_FMT(reply));
	if (s->fate != MAIL_OK)
		loop_stop(loop);
}

static void on_content(void *arg, const struct hop_content_done *d, struct slice reply)
{
	(void)arg, (void)reply;
	got.content = true;
	got.content_code = d->status.code ? d->status.code : 250;
	snprintf(got.host, sizeof got.host, "%.*s", SLICE_FMT(attempt_facts(attempt)->host));
	loop_stop(loop);
}

static void on_late(void *arg, const struct hop_content_done *d)
{
	(void)arg, (void)d;
}

/* A port that is free on all four addresses just now. */
static int choose_port(void)
{
	for (int tries = 0; tries < 100; tries++) {
		int fds[SERVERS] = { fake_listen(2, 0), -1, -1 };
		struct sockaddr_in a;
		socklen_t n = sizeof a;
		bool good = fds[0] >= 0 && getsockname(fds[0], (struct sockaddr *)&a, &n) == 0;
		for (unsigned i = 1; i < SERVERS; i++)
			good &= (fds[i] = good ? fake_listen(2 + i, ntohs(a.sin_port)) : -1) >= 0;
		for (unsigned i = 0; i < SERVERS; i++)
			if (fds[i] >= 0)
				close(fds[i]);
		if (good)
			return ntohs(a.sin_port);
	}
	return 0;
}

/* scripts: of the hosts a, b, c; NULL: nobody listens there. A whole message goes to the domain; how often each was connected to stands in calls. */
static uint64_t budget_ms;
static const char *domain = "mx:first.test", *dead; /* dead: an address that was found to be so lately; NULL none */

static void deliver(const char *const scripts[SERVERS], size_t calls[SERVERS])
{
	static const struct attempt_handler handler = { on_rcpt, on_content, on_late, NULL };
	struct fake servers[SERVERS];
	struct hop_envelope e = { .transaction = SLICE("T"), .place = slice_of(domain), .reverse_path = SLICE("x@out.test"), .budget_ms = budget_ms };
	hops.hosts.mx_port = (uint16_t)(port = choose_port());
	for (unsigned i = 0; i < SERVERS; i++)
		if (scripts[i])
			servers[i] = fake_start_on(fake_listen(2 + i, port), scripts[i]);
	struct net_address away;
	const char *why;
	if (dead && net_address_parse(slice_of(dead), (uint16_t)port, &away, &why))
		dead_note(hops.dead, &away);
	memset(&got, 0, sizeof got);
	attempt = attempt_new(&hops, &e, &handler, NULL);
	attempt_rcpt(attempt, &(struct hop_recipient){ .address = SLICE("u@first.test") });
	attempt_content(attempt, body_new(loop, hops.worker, &(struct body_plan){ .content = SLICE("Subject: x\r\n\r\nhello\r\n"), .fd = -1 }), budget_ms);
	run();
	attempt_free(attempt);
	pool_clear(hops.pool);
	dead_forget_all(hops.dead);
	for (unsigned i = 0; i < SERVERS; i++) {
		calls[i] = scripts[i] ? servers[i].heard->connections : 0;
		if (scripts[i])
			fake_stop(&servers[i]);
	}
}

#define TAKES "S: 220 x\nC: EHLO\nS: 250 x\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nS: 250 taken\nC: QUIT\nS: 221 bye"
#define AFTER_EHLO "S: 220 x\nC: EHLO\nS: 250 x\nC: MAIL\n"

static void the_next_host_is_tried_where_one_says_nothing_about_the_mail(void **state)
{
	(void)state;
	static const struct { const char *scripts[SERVERS], *host; size_t calls[SERVERS]; } rows[] = {
		{ { TAKES, TAKES, TAKES }, "a.test", { 1, 0, 0 } },
		{ { NULL, TAKES, TAKES }, "b.test", { 0, 1, 0 } },
		{ { "close", TAKES, TAKES }, "b.test", { 1, 1, 0 } },
		{ { "S: 554 go away", TAKES, TAKES }, "b.test", { 1, 1, 0 } },
		{ { "S: 421 busy", "S: 220 x\nC: EHLO\nS: 421 busy", TAKES }, "c.test", { 1, 1, 1 } },
		{ { "S: nonsense", NULL, TAKES }, "c.test", { 1, 0, 1 } },
		{ { AFTER_EHLO "close", TAKES, TAKES }, "b.test", { 1, 1, 0 } },
		{ { AFTER_EHLO "S: 421 no more", TAKES, TAKES }, "b.test", { 1, 1, 0 } },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t calls[SERVERS];
		deliver(rows[i].scripts, calls);
		if (got.content_code != 250)
			print_error("row %zu: %d %d\n", i, got.code, got.content_code);
		assert_int_equal(got.content_code, 250);
		assert_string_equal(got.host, rows[i].host);
		assert_memory_equal(calls, rows[i].calls, sizeof calls);
	}
}

static void what_a_host_says_of_the_mail_is_the_answer_and_no_other_is_asked(void **state)
{
	(void)state;
	static const char *const no[3] = { AFTER_EHLO "S: 250 ok\nC: RCPT\nS: 550 5.1.1 nobody here\nC: QUIT\nS: 221 bye", TAKES, TAKES };
	static const char *const dot[3] = { AFTER_EHLO "S: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nS: 554 5.7.1 spam", TAKES, TAKES };
	static const char *const gone[3] = { AFTER_EHLO "S: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nclose", TAKES, TAKES };
	static const size_t one[3] = { 1, 0, 0 };
	size_t calls[SERVERS];
	deliver(no, calls);
	assert_int_equal(got.code, 550);
	assert_memory_equal(calls, one, sizeof calls);
	deliver(dot, calls);
	assert_int_equal(got.content_code, 554);
	assert_memory_equal(calls, one, sizeof calls);
	deliver(gone, calls); /* after the dot a second host would mean a second copy */
	assert_int_equal(got.content_code, 451);
	assert_memory_equal(calls, one, sizeof calls);
}

static void all_hosts_away_is_a_451(void **state)
{
	(void)state;
	static const char *const none[3] = { NULL, NULL, NULL }, *const busy[3] = { "S: 421 busy", "close", NULL };
	size_t calls[SERVERS];
	deliver(none, calls);
	assert_int_equal(got.code, 451);
	deliver(busy, calls);
	assert_int_equal(got.code / 100, 4);
	assert_true(calls[0] == 1 && calls[1] == 1);
}

/* What one host lacks, or that it never takes mail (RFC 7504), is no last word while another one of the domain can't be asked. */
static void a_host_that_can_not_be_asked_may_take_what_another_one_never_will(void **state)
{
	(void)state;
	static const char small[] = "S: 220 x\nC: EHLO\nS: 250-x\nS: 250 SIZE 10\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: RSET\nS: 250 ok", never[] = "S: 521 no mail here";
	static const char late[] = AFTER_EHLO "S: 450 not now\nC: QUIT\nS: 221 bye";
	static const struct { const char *scripts[SERVERS]; int code; } rows[] = {
		{ { never, never, never }, 521 }, { { NULL, never, never }, 451 }, { { never, never, NULL }, 451 }, { { "close", never, never }, 451 },
		{ { small, NULL, NULL }, 552 }, { { NULL, small, NULL }, 451 }, { { "S: 421 busy", "S: 554 busy", small }, 451 }, { { never, small, NULL }, 552 },
		{ { late, small, NULL }, 451 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t calls[SERVERS];
		deliver(rows[i].scripts, calls);
		if (got.content_code != rows[i].code)
			print_error("row %zu: %d %d\n", i, got.code, got.content_code);
		assert_int_equal(got.content_code, rows[i].code);
	}
}

/* But a host is asked at any of its addresses: one without IPv6 between us and it is asked by IPv4, and has the last word. */
static void a_host_of_which_one_address_is_dead_was_asked(void **state)
{
	(void)state;
	static const char *const never[SERVERS] = { "S: 521 no mail here", NULL, "S: 521 no mail here" };
	size_t calls[SERVERS];
	domain = "mx:twice.test";
	dead = "127.0.0.4";
	deliver(never, calls);
	domain = "mx:first.test";
	dead = NULL;
	assert_true(calls[0] == 1 && calls[2] == 0);
	assert_int_equal(got.code, 521);
}

static bool is_ours(const char *listener, const char *address)
{
	struct net_address at, a;
	const char *why;
	assert_true(net_address_parse(slice_of(listener), 0, &at, &why) && net_address_parse(slice_of(address), 0, &a, &why));
	struct hosts_setup s = { .own = hops.hosts.own, .own_count = hops.hosts.own_count, .listeners = &at, .listener_count = 1 };
	return hosts_is_ourselves(&s, &a);
}

static void an_address_is_ours_where_a_connection_to_it_ends_here(void **state)
{
	(void)state;
	assert_true(is_ours("*:25", "192.0.2.9:25") && is_ours("*:25", "127.3.2.1:25") && is_ours("0.0.0.0:25", "127.0.0.1:25") && is_ours("[::1]:25", "[::1]:25"));
	assert_true(is_ours("*:25", "0.0.0.0:25") && is_ours("*:25", "[::]:25") && is_ours("127.0.0.1:25", "0.0.0.0:25") && is_ours("[::1]:25", "[::]:25"));
	assert_false(is_ours("*:25", "192.0.2.8:25") || is_ours("*:25", "192.0.2.9:26") || is_ours("192.0.2.9:25", "127.0.0.1:25") || is_ours("192.0.2.9:25", "0.0.0.0:25"));
}

/* One budget for all: a host that takes the connection and says nothing may have most of it, not all. */
static void a_silent_host_leaves_time_for_the_next(void **state)
{
	(void)state;
	static const struct { const char *scripts[SERVERS], *host; uint64_t budget_ms; } rows[] = {
		{ { "wait 100000", "wait 100000", TAKES }, "c.test", 9000 },
		{ { "S: 220 x\nC: EHLO\nwait 100000", TAKES, TAKES }, "b.test", 3000 },
		{ { "wait 500\n" TAKES, TAKES, TAKES }, "a.test", 9000 },      /* slow is not silent */
	};
	size_t calls[SERVERS];
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		budget_ms = rows[i].budget_ms;
		deliver(rows[i].scripts, calls);
		if (got.content_code != 250)
			print_error("row %zu: %d %d\n", i, got.code, got.content_code);
		assert_int_equal(got.content_code, 250);
		assert_string_equal(got.host, rows[i].host);
	}
	static const char *const silent[SERVERS] = { "wait 100000", "wait 100000", "wait 100000" };
	uint64_t began = clock_mono_ms();
	budget_ms = 2000;
	deliver(silent, calls);
	assert_int_equal(got.code, 451);
	assert_true(calls[1] == 1 && clock_mono_ms() - began < PATIENCE_MS);
	budget_ms = 0;
}

/* -- all ---------------------------------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
	static struct net_ip own[2];
	static struct net_address listener;
	const char *why;
	(void)state;
	log_open(getenv("SHOW_LOG") ? 2 : open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_FORM_TEXT, "test");
	loop = loop_new();
	hops_init(&hops, loop);
	port = choose_port();
	char any[32];
	snprintf(any, sizeof any, "127.0.0.1:%d", port);
	if (!port || open_zone() < 0 || !net_ip_parse(SLICE("192.0.2.9"), &own[0]) || !net_address_parse(slice_of(any), 0, &listener, &why))
		return -1;
	static struct net_address listeners[2];
	listeners[0] = listener;
	listeners[1] = net_address_of_ip(&own[0], (uint16_t)port);
	hops.helo = SLICE("me.test");
	hops.tls = SLICE("none");
	hops.connect_ms = PATIENCE_MS;
	hops.hosts = (struct hosts_setup){ .dns = dns, .mx_port = (uint16_t)port, .own = own, .own_count = 1, .listeners = listeners, .listener_count = 2 };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hops_free(&hops);
	dns_free(dns);
	loop_free(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_domain_leads_to_its_hosts_by_preference_and_never_back_to_us),
		cmocka_unit_test(hosts_of_equal_preference_are_tried_in_any_order_and_before_the_others),
		cmocka_unit_test(the_next_host_is_tried_where_one_says_nothing_about_the_mail),
		cmocka_unit_test(what_a_host_says_of_the_mail_is_the_answer_and_no_other_is_asked),
		cmocka_unit_test(all_hosts_away_is_a_451),
		cmocka_unit_test(a_host_that_can_not_be_asked_may_take_what_another_one_never_will),
		cmocka_unit_test(a_host_of_which_one_address_is_dead_was_asked),
		cmocka_unit_test(an_address_is_ours_where_a_connection_to_it_ends_here),
		cmocka_unit_test(a_silent_host_leaves_time_for_the_next),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
