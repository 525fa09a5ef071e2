/* The account of attacks: counts, time line, top lists, restarts, processes that die. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "queue/attacks.h"

static const int64_t NOW = 1790000000;

static void *memory(void)
{
	void *m = mmap(NULL, attacks_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m, MAP_FAILED);
	return m;
}

static struct attack attack(enum attack_kind kind, const char *ip, const char *domain)
{
	struct attack a = { .kind = kind, .answer = ATTACK_REFUSED, .domain = slice_of(domain), .size = 4096, .now_s = NOW };
	assert_true(net_ip_parse(slice_of(ip), &a.ip));
	return a;
}

static struct attack_report *read_all(struct attacks *a, int64_t since, int64_t now)
{
	static struct attack_report r;
	attacks_read(a, since, now, &r);
	return &r;
}

static void counts_by_kind_network_and_domain(void **state)
{
	(void)state;
	void *m = memory();
	assert_false(attacks_create(m, attacks_size()));
	struct attacks *a = attacks_attach(m, attacks_size());
	struct attack one = attack(ATTACK_UNKNOWN, "192.0.2.7", "victim.test"), two = attack(ATTACK_FORWARD, "192.0.2.9", "other.test"),
		three = attack(ATTACK_FORWARD, "2001:db8:1:2::3", "");
	for (int i = 0; i < 5; i++)
		attacks_note(a, &one);
	attacks_note(a, &two);
	attacks_note(a, &three);
	struct attack_report *r = read_all(a, NOW - 3600, NOW);
	assert_int_equal(r->attempts, 7);
	assert_int_equal(r->counts[ATTACK_UNKNOWN][ATTACK_REFUSED], 5);
	assert_int_equal(r->spared_messages, 2);
	assert_int_equal(r->spared_bytes, 2 * (4096 + 2900));
	assert_int_equal(r->network_count, 2);
	assert_string_equal(r->networks[0].name, "192.0.2.0/24");
	assert_int_equal(r->networks[0].count, 6);
	assert_int_equal(r->networks[0].kinds, 1u << ATTACK_UNKNOWN | 1u << ATTACK_FORWARD);
	assert_string_equal(r->networks[1].name, "2001:db8:1::/48");
	assert_string_equal(r->domains[0].name, "victim.test");
	assert_int_equal(r->hour_count, 2);
	assert_int_equal(r->hours[1], 7);
	attacks_detach(a);
	munmap(m, attacks_size());
}

static void what_postfix_would_not_have_returned_costs_nothing(void **state)
{
	(void)state;
	void *m = memory();
	attacks_create(m, attacks_size());
	struct attacks *a = attacks_attach(m, attacks_size());
	struct attack loop = attack(ATTACK_LOOP, "192.0.2.7", "victim.test"), filter = attack(ATTACK_VERDICT, "192.0.2.8", "victim.test"), gate = attack(ATTACK_REPLY, "192.0.2.9", "victim.test");
	filter.no_report = true;
	gate.answer = ATTACK_WITHHELD;
	attacks_note(a, &loop);
	attacks_note(a, &filter);
	assert_int_equal(read_all(a, NOW - 3600, NOW)->spared_messages, 0);
	attacks_note(a, &gate);
	struct attack_report *r = read_all(a, NOW - 3600, NOW);
	assert_int_equal(r->spared_messages, 1);
	assert_int_equal(attack_withheld(r), 1);
	assert_int_equal(r->networks[0].last.bytes[15], 9); /* whose name is asked */
	attacks_detach(a);
	munmap(m, attacks_size());
}

static void kept_over_a_restart_and_begun_anew_when_foreign(void **state)
{
	(void)state;
	void *m = memory();
	attacks_create(m, attacks_size());
	struct attacks *a = attacks_attach(m, attacks_size());
	struct attack one = attack(ATTACK_LOOP, "192.0.2.7", "victim.test");
	attacks_note(a, &one);
	attacks_detach(a);
	assert_true(attacks_create(m, attacks_size()));
	a = attacks_attach(m, attacks_size());
	assert_int_equal(read_all(a, NOW - 60, NOW)->attempts, 1);
	attacks_detach(a);
	memset(m, 0x5a, 64);
	assert_null(attacks_attach(m, attacks_size()));
	assert_false(attacks_create(m, attacks_size()));
	a = attacks_attach(m, attacks_size());
	assert_int_equal(read_all(a, NOW - 60, NOW)->attempts, 0);
	attacks_detach(a);
	munmap(m, attacks_size());
}

static void old_days_go(void **state)
{
	(void)state;
	void *m = memory();
	attacks_create(m, attacks_size());
	struct attacks *a = attacks_attach(m, attacks_size());
	struct attack one = attack(ATTACK_UNKNOWN, "192.0.2.7", "victim.test");
	for (int day = 0; day < 50; day++) {
		one.now_s = NOW + day * 86400;
		attacks_note(a, &one);
	}
	assert_int_equal(read_all(a, 0, NOW + 49 * 86400)->attempts, ATTACK_DAYS);
	assert_int_equal(read_all(a, NOW + 43 * 86400, NOW + 49 * 86400)->attempts, 7);
	struct attack_totals t;
	attacks_totals(a, &t);
	attacks_note_report(a, 3, false);
	attacks_note_report(a, ATTACK_REPORTS, false); /* none of the gate's kinds */
	attacks_note_report(NULL, 3, true);
	attacks_totals(a, &t);
	assert_true(t.reports[3][0] == 1 && t.reports[3][1] == 0);
	assert_int_equal(t.counts[ATTACK_UNKNOWN][ATTACK_REFUSED], 50); /* a counter of /metrics never falls */
	attacks_detach(a);
	munmap(m, attacks_size());
}

static void a_heavy_network_is_found_among_a_million_light_ones(void **state)
{
	(void)state;
	void *m = memory();
	attacks_create(m, attacks_size());
	struct attacks *a = attacks_attach(m, attacks_size());
	struct attack light = attack(ATTACK_UNKNOWN, "10.0.0.1", "light.test"), heavy = attack(ATTACK_UNKNOWN, "192.0.2.1", "heavy.test");
	for (uint32_t i = 0; i < 200000; i++) {
		light.ip.bytes[13] = (uint8_t)(i >> 8);
		light.ip.bytes[14] = (uint8_t)i;
		attacks_note(a, &light);
		if (i % 20 == 0)
			attacks_note(a, &heavy);
	}
	struct attack_report *r = read_all(a, NOW - 60, NOW);
	assert_string_equal(r->networks[0].name, "192.0.2.0/24");
	assert_true(r->networks[0].count - r->networks[0].error <= 10000 && r->networks[0].count >= 10000);
	attacks_detach(a);
	munmap(m, attacks_size());
}

static void a_process_that_dies_holds_nobody_up(void **state)
{
	(void)state;
	void *m = memory();
	attacks_create(m, attacks_size());
	struct attack one = attack(ATTACK_UNKNOWN, "192.0.2.7", "victim.test");
	for (int round = 0; round < 20; round++) {
		pid_t child = fork();
		if (child == 0) {
			struct attacks *mine = attacks_attach(m, attacks_size());
			for (;;)
				attacks_note(mine, &one);
		}
		usleep(2000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	struct attacks *a = attacks_attach(m, attacks_size());
	uint64_t before = read_all(a, NOW - 60, NOW)->attempts;
	attacks_note(a, &one);
	assert_int_equal(read_all(a, NOW - 60, NOW)->attempts, before + 1);
	attacks_detach(a);
	munmap(m, attacks_size());
}

static void refused_bounces_rise_against_the_week_before(void **state)
{
	(void)state;
	void *m = memory();
	struct attack_rise r;
	attacks_create(m, attacks_size());
	struct attacks *a = attacks_attach(m, attacks_size());
	struct attack bounce = attack(ATTACK_JOE_JOB, "192.0.2.7", ""), other = attack(ATTACK_UNKNOWN, "192.0.2.7", "victim.test");
	int64_t now = NOW / 3600 * 3600 + 1800;
	bounce.now_s = other.now_s = now;
	for (int i = 0; i < 19; i++)
		attacks_note(a, &bounce), attacks_note(a, &other);
	attacks_rise(a, now, &r);
	assert_true(r.now == 19 && r.usual_tenths == 0 && !r.rising);
	attacks_note(a, &bounce);
	attacks_rise(a, now, &r);
	assert_true(r.now == 20 && r.rising);
	attacks_rise(a, now + 3600, &r); /* half of them are within an hour */
	assert_true(r.now == 10 && !r.rising);
	bounce.now_s = now - 3 * 3600;
	for (int i = 0; i < 168 * 4; i++)
		attacks_note(a, &bounce);
	attacks_rise(a, now, &r); /* five times four is not more than twenty */
	assert_true(r.now == 20 && r.usual_tenths == 40 && !r.rising);
	attacks_rise(a, now + 9 * 86400, &r);
	assert_true(r.now == 0 && r.usual_tenths == 0 && !r.rising);
	attacks_rise(NULL, now, &r);
	assert_false(r.rising);
	attacks_detach(a);
	munmap(m, attacks_size());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_by_kind_network_and_domain),
		cmocka_unit_test(what_postfix_would_not_have_returned_costs_nothing),
		cmocka_unit_test(kept_over_a_restart_and_begun_anew_when_foreign),
		cmocka_unit_test(old_days_go),
		cmocka_unit_test(a_heavy_network_is_found_among_a_million_light_ones),
		cmocka_unit_test(a_process_that_dies_holds_nobody_up),
		cmocka_unit_test(refused_bounces_rise_against_the_week_before),
	};
	return cmocka_run_group_tests_name("attacks", tests, NULL, NULL);
}
