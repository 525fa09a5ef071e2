/* Words of DNS lists, and greylisting's table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "smtpd/dnsbl.h"
#include "smtpd/greylist.h"

static void zones_have_networks_and_weights(void **state)
{
	struct dnsbl_zone z;
	(void)state;
	assert_true(dnsbl_zone_parse(SLICE("zen.example.org"), &z));
	assert_true(z.weight == 1 && z.prefix == 8);
	assert_true(dnsbl_zone_parse(SLICE("l.example=127.0.0.4/30*3"), &z));
	assert_true(z.weight == 3 && z.prefix == 30 && slice_eq(z.zone, SLICE("l.example")));
	assert_true(dnsbl_zone_parse(SLICE("good.example*-5"), &z));
	assert_int_equal(z.weight, -5);
	assert_false(dnsbl_zone_parse(SLICE("word"), &z));
	assert_false(dnsbl_zone_parse(SLICE("a.b*"), &z));
	assert_false(dnsbl_zone_parse(SLICE("a.b*99999"), &z));
	assert_false(dnsbl_zone_parse(SLICE("a.b=127.0.0.1/8"), &z));
	assert_false(dnsbl_zone_parse(SLICE("a.b=::1"), &z));
	assert_false(dnsbl_zone_parse(SLICE("a b.c"), &z));
}

static void addresses_are_asked_for_backwards(void **state)
{
	struct buf b = BUF_INIT(300);
	struct net_ip ip;
	(void)state;
	net_ip_parse(SLICE("192.0.2.1"), &ip);
	assert_true(dnsbl_name(&ip, SLICE("l.test"), &b));
	assert_true(slice_eq(buf_slice(&b), SLICE("1.2.0.192.l.test")));
	buf_clear(&b);
	net_ip_parse(SLICE("2001:db8::1"), &ip);
	assert_true(dnsbl_name(&ip, SLICE("l.test"), &b));
	assert_true(slice_eq(buf_slice(&b), SLICE("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.l.test")));
	buf_free(&b);
}

static bool listed(const char *zone, const char *address)
{
	struct dnsbl_zone z;
	struct dns_record r = { .data = { address, 4 } };
	struct dns_answer a = { .answer = FOUND, .records = &r, .count = 1 };
	assert_true(dnsbl_zone_parse(slice_of(zone), &z));
	return dnsbl_lists(&z, &a);
}

static void a_list_that_lies_has_no_say(void **state)
{
	struct dnsbl_zone z;
	struct dns_answer dead = { .answer = UNSURE, .why = "timeout" };
	(void)state;
	assert_true(listed("l.test", "\x7f\0\0\2"));
	assert_true(listed("l.test=127.0.0.4", "\x7f\0\0\4"));
	assert_false(listed("l.test=127.0.0.4", "\x7f\0\0\2"));
	assert_false(listed("l.test", "\x7f\xff\xff\xfe"));
	assert_false(listed("l.test", "\x0a\0\0\1"));
	dnsbl_zone_parse(SLICE("l.test"), &z);
	assert_false(dnsbl_lists(&z, &dead));
}

static void names_that_no_server_says(void **state)
{
	(void)state;
	assert_false(dnsbl_helo_is_bad(SLICE("mail.example.org"), SLICE("mx.test")));
	assert_false(dnsbl_helo_is_bad(SLICE("[192.0.2.1]"), SLICE("mx.test")));
	assert_false(dnsbl_helo_is_bad(SLICE("[IPv6:2001:db8::1]"), SLICE("mx.test")));
	assert_false(dnsbl_helo_is_bad(SLICE("[IPv6:::ffff:192.0.2.1]"), SLICE("mx.test"))); /* whose socket takes both families */
	assert_true(dnsbl_helo_is_bad(SLICE("[IPv6:192.0.2.1]"), SLICE("mx.test")));
	assert_true(dnsbl_helo_is_bad(SLICE("[mail]"), SLICE("mx.test")));
	assert_true(dnsbl_helo_is_bad(SLICE("[300.2.1.1]"), SLICE("mx.test")));
	assert_true(dnsbl_helo_is_bad(SLICE("[2001:db8::1]"), SLICE("mx.test")));
	assert_true(dnsbl_helo_is_bad(SLICE("localhost"), SLICE("mx.test")));
	assert_true(dnsbl_helo_is_bad(SLICE("MX.test"), SLICE("mx.test")));
	assert_true(dnsbl_helo_is_bad(SLICE("192.0.2.1"), SLICE("mx.test")));
	assert_true(dnsbl_helo_is_bad(SLICE("[192.0.2.1"), SLICE("mx.test")));
	assert_true(dnsbl_helo_is_bad(SLICE(""), SLICE("mx.test")));
}

static void who_comes_again_after_a_while_passes_and_stays_known(void **state)
{
	const struct greylist_limits limits = { 300, 7200, 86400 };
	size_t size = greylist_size(64);
	void *memory = calloc(1, size);
	struct greylist *g = greylist_attach(memory, size, &limits), *other = greylist_attach(memory, size, &limits);
	struct slice c = SLICE("192.0.2.0"), s = SLICE("a@b"), r = SLICE("c@d");
	uint64_t wait = 0;
	(void)state;
	assert_int_equal(greylist_look(g, c, s, r, 1000, &wait), GREYLIST_WAIT);
	assert_int_equal(wait, 300);
	assert_int_equal(greylist_look(other, c, s, r, 1100, &wait), GREYLIST_WAIT);
	assert_int_equal(wait, 200);
	assert_int_equal(greylist_look(g, c, s, SLICE("e@d"), 1100, &wait), GREYLIST_WAIT);
	assert_int_equal(greylist_look(other, c, s, r, 1300, &wait), GREYLIST_PASS);
	assert_int_equal(greylist_look(g, c, s, r, 50000, &wait), GREYLIST_PASS);
	assert_int_equal(greylist_look(g, c, s, r, 50000 + 86401, &wait), GREYLIST_WAIT);
	assert_int_equal(greylist_look(g, c, s, SLICE("e@d"), 1100 + 7201, &wait), GREYLIST_WAIT);
	greylist_detach(g);
	greylist_detach(other);
	free(memory);
}

static void a_clock_that_is_set_back_costs_one_delay_and_not_the_time_that_it_was_ahead(void **state)
{
	const struct greylist_limits limits = { 300, 7200, 86400 };
	enum { YEAR = 31536000, NOW = 1000000 };
	size_t size = greylist_size(8);
	void *memory = calloc(1, size);
	struct greylist *g = greylist_attach(memory, size, &limits);
	struct slice c = SLICE("192.0.2.0"), s = SLICE("a@b");
	uint64_t wait = 0;
	(void)state;
	assert_int_equal(greylist_look(g, c, s, SLICE("new@d"), NOW + YEAR, &wait), GREYLIST_WAIT);
	assert_int_equal(greylist_look(g, c, s, SLICE("known@d"), NOW + YEAR - 300, &wait), GREYLIST_WAIT);
	assert_int_equal(greylist_look(g, c, s, SLICE("known@d"), NOW + YEAR, &wait), GREYLIST_PASS);
	assert_int_equal(greylist_look(g, c, s, SLICE("new@d"), NOW, &wait), GREYLIST_WAIT);
	assert_int_equal(wait, 300);
	assert_int_equal(greylist_look(g, c, s, SLICE("known@d"), NOW, &wait), GREYLIST_PASS);
	assert_int_equal(greylist_look(g, c, s, SLICE("new@d"), NOW + 300, &wait), GREYLIST_PASS);
	assert_int_equal(greylist_look(g, c, s, SLICE("known@d"), NOW + 2 * 86400, &wait), GREYLIST_WAIT);
	greylist_detach(g);
	free(memory);
}

static void a_flood_of_strangers_stays_in_its_table(void **state)
{
	const struct greylist_limits limits = { 300, 7200, 86400 };
	size_t size = greylist_size(64);
	void *memory = calloc(1, size);
	struct greylist *g = greylist_attach(memory, size, &limits);
	uint64_t wait;
	char name[32];
	(void)state;
	for (int i = 0; i < 100000; i++) {
		snprintf(name, sizeof name, "%d", i);
		assert_int_equal(greylist_look(g, SLICE("x"), slice_of(name), SLICE("y"), 1000 + i / 100, &wait), GREYLIST_WAIT);
	}
	assert_int_equal(greylist_look(g, SLICE("x"), slice_of(name), SLICE("y"), 1000 + 999 + 300, &wait), GREYLIST_PASS);
	greylist_detach(g);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zones_have_networks_and_weights),
		cmocka_unit_test(addresses_are_asked_for_backwards),
		cmocka_unit_test(a_list_that_lies_has_no_say),
		cmocka_unit_test(names_that_no_server_says),
		cmocka_unit_test(who_comes_again_after_a_while_passes_and_stays_known),
		cmocka_unit_test(a_clock_that_is_set_back_costs_one_delay_and_not_the_time_that_it_was_ahead),
		cmocka_unit_test(a_flood_of_strangers_stays_in_its_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
