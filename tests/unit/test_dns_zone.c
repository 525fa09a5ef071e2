#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/dns.h"
#include "base/dns_zone.h"
#include "base/buf.h"

static const char zone[] =
	"$ORIGIN example.test.\n"
	"$TTL 300\n"
	"@\tIN SOA ns hostmaster ( 1 2 ; comment\n 3 4 5 )\n"
	"  MX 10 mail\n"
	"  20 MX 0 .\n"
	"mail A 192.0.2.1\n"
	"  AAAA 2001:db8::1\n"
	"  A 192.0.2.2 ; another\n"
	"txt IN 60 TXT \"v=spf1 \" \"a;b\\\"\" c\\032d\n"
	"alias CNAME mail\n"
	"loop1 CNAME loop2\nloop2 CNAME loop1\n"
	"*.wild TXT w\n"
	"a.b.c.deep TXT x\n"
	"1.2.0.192.in-addr.arpa. PTR Mail.EXAMPLE.test.\n"
	"_25._tcp.mail TLSA 3 1 1 ( 00FF\n 10 )\n"
	"$INCLUDE INCLUDED sub\n"
	"\tTXT \"still owned by tlsa's name\"\n"
	"long 1h30m IN TXT l\n"
	"order TXT c\norder 1H TXT a\norder TXT b\n"
	"odd TYPE99 \\# 1 00\n";

struct wanted {
	struct loop *loop;
	char text[2048];
};

static void answered(void *arg, const struct dns_answer *a)
{
	struct wanted *w = arg;
	struct buf b = BUF_INIT(2000);
	buf_addf(&b, "%s", a->answer == FOUND ? "found" : a->answer == ABSENT ? a->nxdomain ? "nxdomain" : "nodata" : a->why);
	for (size_t i = 0; i < a->count; i++) {
		buf_addf(&b, " %u:", a->records[i].preference);
		for (size_t k = 0; k < a->records[i].data.n; k++) {
			unsigned char c = (unsigned char)a->records[i].data.p[k];
			buf_addf(&b, c >= 0x20 && c < 0x7f ? "%c" : "\\%02x", c);
		}
	}
	if (a->answer == FOUND)
		buf_addf(&b, " ttl %u at %.*s", a->ttl_s, SLICE_FMT(a->canonical));
	snprintf(w->text, sizeof w->text, "%.*s", SLICE_FMT(buf_slice(&b)));
	buf_free(&b);
	loop_stop(w->loop);
}

static void answers_by(const char *line_end)
{
	static const struct { enum dns_type type; const char *name, *want; } rows[] = {
		{ DNS_MX, "example.test", "found 10:mail.example.test 0: ttl 20 at example.test" },
		{ DNS_A, "MAIL.example.test", "found 0:\\c0\\00\\02\\01 0:\\c0\\00\\02\\02 ttl 300 at mail.example.test" },
		{ DNS_A, "alias.example.test", "found 0:\\c0\\00\\02\\01 0:\\c0\\00\\02\\02 ttl 300 at mail.example.test" },
		{ DNS_TXT, "txt.example.test", "found 0:v=spf1 a;b\"c d ttl 60 at txt.example.test" },
		{ DNS_A, "txt.example.test", "nodata" },
		{ DNS_A, "none.example.test", "nxdomain" },
		{ DNS_A, "c.deep.example.test", "nodata" },
		{ DNS_A, "test", "nodata" },
		{ DNS_A, "loop1.example.test", "servfail" },
		{ DNS_TXT, "x.y.wild.example.test", "found 0:w ttl 300 at x.y.wild.example.test" },
		{ DNS_TXT, "wild.example.test", "nodata" },
		{ DNS_PTR, "1.2.0.192.in-addr.arpa", "found 0:mail.example.test ttl 300 at 1.2.0.192.in-addr.arpa" },
		{ DNS_TLSA, "_25._tcp.mail.example.test", "found 0:\\03\\01\\01\\00\\ff\\10 ttl 300 at _25._tcp.mail.example.test" },
		{ DNS_A, "odd.example.test", "nodata" },
		{ DNS_TXT, "in.sub.example.test", "found 0:included ttl 60 at in.sub.example.test" },
		{ DNS_TXT, "_25._tcp.mail.example.test", "found 0:still owned by tlsa's name ttl 300 at _25._tcp.mail.example.test" },
		{ DNS_TXT, "long.example.test", "found 0:l ttl 5400 at long.example.test" },
		{ DNS_TXT, "order.example.test", "found 0:c 0:a 0:b ttl 300 at order.example.test" },
		{ DNS_A, "a..b", "nxdomain" },
		{ DNS_A, "", "nxdomain" },
	};
	char path[] = "/tmp/porter-zone-XXXXXX", included[] = "/tmp/porter-zone-XXXXXX", text[sizeof zone + 64];
	int fd = mkstemp(included), other = mkstemp(path);
	assert_int_equal(write(fd, "$TTL 60\nin TXT included\n", 24), 24);
	snprintf(text, sizeof text, "%.*s%s%s", (int)(strstr(zone, "INCLUDED") - zone), zone, strrchr(included, '/') + 1, strstr(zone, "INCLUDED") + 8);
	for (const char *at = text, *end; *at; at = end + 1) {
		end = strchr(at, '\n');
		assert_int_equal(write(other, at, (size_t)(end - at)), end - at);
		assert_int_equal(write(other, line_end, strlen(line_end)), (int)strlen(line_end));
	}
	close(fd);
	close(other);
	struct wanted w = { .loop = loop_new() };
	struct dns_settings settings = { .zone_file = slice_of(path) };
	const char *why = NULL;
	struct dns *d = dns_new(w.loop, &settings, &why);
	unlink(path);
	unlink(included);
	assert_non_null(d);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		dns_ask(d, rows[i].type, slice_of(rows[i].name), answered, &w);
		loop_run(w.loop);
		assert_string_equal(w.text, rows[i].want);
	}
	dns_cancel(dns_ask(d, DNS_A, SLICE("mail.example.test"), answered, &w));
	dns_cancel(NULL);
	dns_free(d);
	loop_free(w.loop);
}

static void a_zone_file_answers_and_nothing_else(void **state)
{
	(void)state;
	answers_by("\n");
	answers_by("\r\n");
}

static void a_wrong_zone_file_is_refused(void **state)
{
	(void)state;
	static const struct { const char *text, *told; } bad[] = {
		{ "a A 1.2.3\n", "line 1: no record" }, { "b A 1.2.3.4\n\na TXT \"open\nb\n", "line 3: quotes" }, { "a ( A 1.2.3.4\n", "line 1: quotes" }, { "a )\n", "line 1: quotes" },
		{ "$TTL 5\n$INCLUDE x\n", "line 2: a file" }, { "a\n", "line 1: no type" }, { "a MX mail\n", "line 1: no record" }, { " A 1.2.3.4\n", "line 1: no name" }, { "; x\r\n$TTL 1h30\r\n$TTL 1y\r\n", "line 3: an unknown" },
		{ "$TTL\n", "line 1: an unknown" }, { "a 1h9999999999s A 1.2.3.4\n", "line 1: no type" }
	};
	struct loop *l = loop_new();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char path[] = "/tmp/porter-zone-XXXXXX";
		int fd = mkstemp(path);
		assert_true(write(fd, bad[i].text, strlen(bad[i].text)) > 0);
		close(fd);
		struct dns_settings settings = { .zone_file = slice_of(path) };
		const char *why = NULL;
		if (dns_new(l, &settings, &why))
			fail_msg("taken: %s", bad[i].text);
		if (!why || !strstr(why, bad[i].told) || strncmp(why, path, strlen(path)) != 0)
			fail_msg("%s: %s", bad[i].text, why);
		unlink(path);
	}
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_zone_file_answers_and_nothing_else),
		cmocka_unit_test(a_wrong_zone_file_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
