#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "smtpd/harvest.h"

enum { NOW = 1000000, FLOOD = 20000 };
static const struct harvest_limits limits = { .slow = 5, .blind = 10, .refuse = 20, .half_life_s = 3600, .refuse_s = 600, .good_history = 8 };

struct fixture {
	size_t size;
	void *memory;
	struct harvest *h;
};

static int begin(void **state)
{
	static struct fixture f;
	f.size = harvest_size(4096);
	f.memory = mmap(NULL, f.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	f.h = harvest_attach(f.memory, f.size, &limits);
	*state = &f;
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;
	harvest_detach(f->h);
	munmap(f->memory, f->size);
	return 0;
}

static struct harvest *of(void **state)
{
	return ((struct fixture *)*state)->h;
}

static struct harvest_who client(const char *ip)
{
	struct harvest_who who = { 0 };
	assert_true(net_ip_parse(slice_of(ip), &who.ip));
	return who;
}

static enum harvest_level guess(struct harvest *h, const struct harvest_who *who, int times, int64_t now_s)
{
	enum harvest_level level = HARVEST_OPEN;
	while (times--)
		level = harvest_unknown(h, who, now_s);
	return level;
}

static void a_guesser_is_slowed_then_blind_then_refused(void **state)
{
	struct harvest_who who = client("192.0.2.7");
	assert_int_equal(guess(of(state), &who, 4, NOW), HARVEST_OPEN);
	assert_int_equal(guess(of(state), &who, 1, NOW), HARVEST_SLOW);
	assert_in_range(harvest_delay_ms(of(state), &who, NOW), 500, 10000);
	assert_int_equal(guess(of(state), &who, 5, NOW), HARVEST_BLIND);
	assert_int_equal(guess(of(state), &who, 10, NOW), HARVEST_REFUSE);
}

static void who_goes_on_though_blind_is_refused_and_who_comes_again_now_and_then_sees_again(void **state)
{
	struct harvest_who stubborn = client("192.0.2.7"), patient = client("198.51.100.7");
	guess(of(state), &stubborn, 12, NOW);
	guess(of(state), &patient, 12, NOW);
	int times = 0;
	while (times < 1000 && harvest_blind(of(state), &stubborn, NOW) == HARVEST_BLIND)
		times++;
	assert_in_range(times, 28, 36);
	assert_int_equal(harvest_level(of(state), &stubborn, NOW), HARVEST_REFUSE);
	for (int hour = 1; hour <= 3; hour++)           /* its mail once more, every half an hour */
		harvest_blind(of(state), &patient, NOW + hour * 1800);
	assert_true(harvest_level(of(state), &patient, NOW + 5400) < HARVEST_BLIND);
}

static void what_was_guessed_is_forgotten_with_time(void **state)
{
	struct harvest_who who = client("192.0.2.7");
	assert_int_equal(guess(of(state), &who, 12, NOW), HARVEST_BLIND);
	assert_int_equal(harvest_level(of(state), &who, NOW + 3600), HARVEST_SLOW);
	assert_int_equal(harvest_level(of(state), &who, NOW + 3 * 3600), HARVEST_OPEN);
}

static void what_is_looked_at_every_second_is_forgotten_as_fast(void **state)
{
	struct harvest_who busy = client("192.0.2.7");
	guess(of(state), &busy, 12, NOW);
	for (int s = 0; s < 3 * 3600; s++)
		harvest_good(of(state), &busy, NOW + s);
	struct harvest_entry row;
	assert_int_equal(harvest_list(of(state), &row, 1, NOW + 3 * 3600), 1);
	assert_in_range(row.unknown, 1, 2);
}

static void a_refusal_lasts_its_time(void **state)
{
	struct harvest_who who = client("192.0.2.7");
	guess(of(state), &who, 20, NOW);
	assert_int_equal(harvest_level(of(state), &who, NOW + 599), HARVEST_REFUSE);
	assert_int_equal(harvest_level(of(state), &who, NOW + 601), HARVEST_BLIND);
}

static void one_guess_from_each_of_forty(struct harvest *h, const char *address)
{
	for (int i = 1; i <= 40; i++) {
		char ip[40];
		snprintf(ip, sizeof ip, address, i);
		struct harvest_who who = client(ip);
		guess(h, &who, 1, NOW);
	}
}

static void a_network_of_guessers_is_counted_together(void **state)
{
	one_guess_from_each_of_forty(of(state), "192.0.2.%d");
	struct harvest_who fresh = client("192.0.2.200"), elsewhere = client("198.51.100.1");
	assert_int_equal(harvest_level(of(state), &fresh, NOW), HARVEST_BLIND);
	assert_int_equal(harvest_level(of(state), &elsewhere, NOW), HARVEST_OPEN);
}

static void an_ipv6_network_is_a_48(void **state)
{
	one_guess_from_each_of_forty(of(state), "2001:db8:7:%d::1");
	struct harvest_who inside = client("2001:db8:7:ffff::9"), beside = client("2001:db8:8:1::1");
	assert_int_equal(harvest_level(of(state), &inside, NOW), HARVEST_BLIND);
	assert_int_equal(harvest_level(of(state), &beside, NOW), HARVEST_OPEN);
}

static void a_network_with_good_history_is_slowed_never_blinded(void **state)
{
	struct harvest_who good = client("192.0.2.9"), bad = client("192.0.2.7");
	for (int i = 0; i < 8; i++)
		harvest_good(of(state), &good, NOW);
	assert_int_equal(guess(of(state), &bad, 100, NOW), HARVEST_SLOW);
}

static void a_proven_domain_has_a_budget_of_its_own(void **state)
{
	struct harvest_who bare = client("2001:db8::1"), proven = bare;
	proven.domain = SLICE("example.org");
	guess(of(state), &bare, 15, NOW);
	assert_int_equal(harvest_level(of(state), &bare, NOW), HARVEST_BLIND);
	assert_int_equal(harvest_level(of(state), &proven, NOW), HARVEST_OPEN);
	assert_int_equal(guess(of(state), &proven, 10, NOW), HARVEST_BLIND);
}

static void who_is_exempt_is_never_counted(void **state)
{
	struct harvest_who who = client("127.0.0.1");
	who.exempt = true;
	assert_int_equal(guess(of(state), &who, 1000, NOW), HARVEST_OPEN);
	struct harvest_entry rows[4];
	assert_int_equal(harvest_list(of(state), rows, 4, NOW), 0);
}

static void the_list_shows_the_worst_first_and_forgive_forgets(void **state)
{
	struct harvest_who a = client("192.0.2.7"), b = client("198.51.100.9");
	guess(of(state), &a, 3, NOW);
	guess(of(state), &b, 12, NOW);
	struct harvest_entry rows[2];
	assert_int_equal(harvest_list(of(state), rows, 2, NOW), 2);
	assert_int_equal(rows[0].unknown, 12);
	assert_true(harvest_forgive(of(state), &b));
	assert_false(harvest_forgive(of(state), &b));
	assert_int_equal(harvest_level(of(state), &b, NOW), HARVEST_OPEN);
	assert_int_equal(harvest_list(of(state), rows, 2, NOW), 2);
	assert_string_equal(rows[1].name[0] == '1' ? "192" : "", "192");
}

static void processes_share_the_counts(void **state)
{
	struct fixture *f = *state;
	struct harvest_who who = client("192.0.2.7");
	pid_t child = fork();
	if (child == 0) {
		struct harvest *h = harvest_attach(f->memory, f->size, &limits);
		guess(h, &who, 9, NOW);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	assert_int_equal(guess(f->h, &who, 1, NOW), HARVEST_BLIND);
}

/* Each in a network of its own. */
static struct net_ip one_of_many(uint8_t first, uint32_t i)
{
	struct net_ip ip = { .is_v4 = false, .bytes = { first } };
	memcpy(ip.bytes + 2, &i, sizeof i);
	return ip;
}

static void a_flood_of_names_does_not_grow_anything(void **state)
{
	struct harvest_who persistent = client("203.0.113.5");
	guess(of(state), &persistent, 12, NOW);
	for (uint32_t i = 0; i < FLOOD; i++)
		guess(of(state), &(struct harvest_who){ .ip = one_of_many(0, i) }, 1, NOW);
	assert_int_equal(harvest_level(of(state), &persistent, NOW), HARVEST_BLIND);
}

static void a_bucket_gives_its_burst_and_fills_again(void **state)
{
	int had = 0;
	for (int i = 0; i < 10; i++)
		had += harvest_take(of(state), HARVEST_RATE_CLIENT, SLICE("192.0.2.1"), 3600, 4, NOW);
	assert_int_equal(had, 4);
	assert_false(harvest_take(of(state), HARVEST_RATE_CLIENT, SLICE("192.0.2.1"), 3600, 4, NOW + 500));
	assert_true(harvest_take(of(state), HARVEST_RATE_CLIENT, SLICE("192.0.2.1"), 3600, 4, NOW + 1100));
	assert_true(harvest_take(of(state), HARVEST_RATE_RECIPIENT, SLICE("192.0.2.1"), 3600, 4, NOW));
}

static void a_clock_that_is_set_back_holds_nobody_longer_than_the_limits_say(void **state)
{
	enum { YEAR = 31536000 };
	struct harvest *h = of(state);
	struct harvest_who who = client("192.0.2.1");
	assert_int_equal(guess(h, &who, 20, NOW + YEAR), HARVEST_REFUSE);
	assert_int_equal(harvest_level(h, &who, NOW), HARVEST_REFUSE);
	assert_int_equal(harvest_level(h, &who, NOW + 601 + 4 * 3600), HARVEST_OPEN);
	for (int i = 0; i < 6; i++)
		assert_int_equal(harvest_take(h, HARVEST_RATE_CLIENT, SLICE("x"), 60, 5, ((int64_t)NOW + YEAR) * 1000), i < 5);
	assert_false(harvest_take(h, HARVEST_RATE_CLIENT, SLICE("x"), 60, 5, (int64_t)NOW * 1000));
	assert_true(harvest_take(h, HARVEST_RATE_CLIENT, SLICE("x"), 60, 5, (int64_t)(NOW + 61) * 1000));
}

static void one_flood(void **state, int *blind, int *slow)
{
	struct harvest_who provider = client("203.0.113.5"), fresh = client("2001:db8:ffff::1");
	for (uint32_t i = 0; i < FLOOD; i++)
		guess(of(state), &(struct harvest_who){ .ip = one_of_many(0, i) }, 8, NOW - 10 * 86400);
	for (int i = 0; i < 40; i++)
		harvest_good(of(state), &provider, NOW - 3600);
	for (uint32_t i = 0; i < FLOOD; i++) {
		guess(of(state), &(struct harvest_who){ .ip = one_of_many(0x20, i) }, 1, NOW);
		if (i % 1000 == 0 && i < 12000)
			guess(of(state), &fresh, 1, NOW);
	}
	*blind += harvest_level(of(state), &fresh, NOW) == HARVEST_BLIND;
	*slow += guess(of(state), &provider, 30, NOW) == HARVEST_SLOW;
}

/* A table that is full of what was: a new guesser's count still grows, and a good name of yesterday is no match for a flood. Where names lie is chance, and one of
 * thirty tables puts the guesser among too many others. */
static void old_numbers_give_way_and_a_good_name_does_not(void **state)
{
	int blind = 0, slow = 0;
	for (int table = 0; table < 12; table++) {
		void *mine;
		begin(&mine);
		one_flood(&mine, &blind, &slow);
		end(&mine);
	}
	begin(state);
	assert_true(blind >= 7 && slow >= 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_guesser_is_slowed_then_blind_then_refused, begin, end),
		cmocka_unit_test_setup_teardown(who_goes_on_though_blind_is_refused_and_who_comes_again_now_and_then_sees_again, begin, end),
		cmocka_unit_test_setup_teardown(a_clock_that_is_set_back_holds_nobody_longer_than_the_limits_say, begin, end),
		cmocka_unit_test_teardown(old_numbers_give_way_and_a_good_name_does_not, end),
		cmocka_unit_test_setup_teardown(what_was_guessed_is_forgotten_with_time, begin, end),
		cmocka_unit_test_setup_teardown(what_is_looked_at_every_second_is_forgotten_as_fast, begin, end),
		cmocka_unit_test_setup_teardown(a_refusal_lasts_its_time, begin, end),
		cmocka_unit_test_setup_teardown(a_network_of_guessers_is_counted_together, begin, end),
		cmocka_unit_test_setup_teardown(an_ipv6_network_is_a_48, begin, end),
		cmocka_unit_test_setup_teardown(a_network_with_good_history_is_slowed_never_blinded, begin, end),
		cmocka_unit_test_setup_teardown(a_proven_domain_has_a_budget_of_its_own, begin, end),
		cmocka_unit_test_setup_teardown(who_is_exempt_is_never_counted, begin, end),
		cmocka_unit_test_setup_teardown(the_list_shows_the_worst_first_and_forgive_forgets, begin, end),
		cmocka_unit_test_setup_teardown(processes_share_the_counts, begin, end),
		cmocka_unit_test_setup_teardown(a_flood_of_names_does_not_grow_anything, begin, end),
		cmocka_unit_test_setup_teardown(a_bucket_gives_its_burst_and_fills_again, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
