/* What an unknown login is checked against: kinds and costs as the map has them. */
#include "tests/unit/maps_kit.h"

#include "maps/password_models.h"

#define ARGON "$argon2id$v=19$m=65536,t=3,p=1$"
#define SHA "$6$rounds=9000$"
#define BCRYPT "$2b$12$"
#define SCRAM "SCRAM-SHA-256$4096:MTIzNDU2Nzg=$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void read_models(const char *credentials, struct password_models *m)
{
	struct complaints wrong = { BUF_INIT(1 << 16), 0 };
	kit_begin();
	kit_put("domains", SLICE("example.test mailbox\n"));
	kit_put("credentials", slice_of(credentials));
	struct map_set *set = kit_read(&wrong);
	if (!set)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&wrong.text)));
	password_models_read(m, set);
	map_set_close(set);
	complaint_free(&wrong);
	kit_end();
}

static size_t times(const struct password_models *m, const char *start)
{
	size_t n = 0;
	for (uint64_t i = 0; i < m->logins; i++) {
		const char *hash = password_models_pick(m, i);
		n += start ? hash && strncmp(hash, start, strlen(start)) == 0 : !hash;
	}
	return n;
}

static void each_kind_and_cost_is_chosen_as_often_as_it_is_there(void **state)
{
	struct password_models m;
	(void)state;
	read_models("a@x.test " ARGON "c2FsdHNhbHQ$aGFzaA\nb@x.test " ARGON "c2FsdHNhbHQ$aGFzaB " SCRAM "\nc@x.test " SHA "salt$abc\nd@x.test $6$salt$abc\n"
	            "e@x.test " BCRYPT "abcdefghijklmnopqrstuu\nf@x.test $2b$04$abcdefghijklmnopqrstuu\ng@x.test " BCRYPT "zbcdefghijklmnopqrstuu\n"
	            "h@x.test " SCRAM "\nroute hop user word\n", &m);
	assert_int_equal(m.logins, 8);
	assert_int_equal(m.count, 6);
	assert_int_equal(times(&m, ARGON), 2);
	assert_int_equal(times(&m, SHA), 1);
	assert_int_equal(times(&m, "$6$salt$"), 1);
	assert_int_equal(times(&m, BCRYPT), 2);
	assert_int_equal(times(&m, "$2b$04$"), 1);
	assert_int_equal(times(&m, NULL), 1); /* a verifier alone */
	assert_true(password_models_pick(&m, 3) == password_models_pick(&m, 3 + 8));
	password_models_free(&m);
}

static void without_logins_the_kind_is_our_own(void **state)
{
	struct password_models m;
	(void)state;
	read_models("route hop user word\n", &m);
	assert_int_equal(m.count, 0);
	assert_null(password_models_pick(&m, 12345));
	password_models_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_and_cost_is_chosen_as_often_as_it_is_there),
		cmocka_unit_test(without_logins_the_kind_is_our_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
