/* Asking for checks on the page: limits by asker and by domain, and that an answer waits for the disk. No DNS and no listener: nothing is begun here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "ctl/web_checks.h"
#include "ctl/web_guests.h"
#include "ctl/web_store.h"

static char folder[64];
static struct loop *loop;
static int kept_calls;

static struct web_checks *checks(void)
{
	static struct web_guests *guests;
	struct web_checks *w;
	guests = guests ? guests : web_guests_new();
	snprintf(folder, sizeof folder, "/tmp/porter-checks-XXXXXX");
	assert_non_null(mkdtemp(folder));
	loop = loop_new();
	struct web_checks_setup setup = { .directory = folder, .probe_domain = SLICE("probe.test"), .helo = SLICE("probe.test"), .limit_asker = 3, .limit_domain = 2,
		                          .catch_fds = { -1, -1, -1, -1 }, .guests = guests };
	assert_int_equal(web_checks_new(loop, &setup, &w), 0);
	return w;
}

static void end(struct web_checks *w)
{
	char command[100];
	web_checks_free(w);
	loop_free(loop);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
}

static void on_kept(void *arg, const char *wrong)
{
	(void)arg;
	assert_null(wrong);
	kept_calls++;
	loop_stop(loop);
}

/* What the page would tell; "" where the check was taken, and was on disk when that was said. */
static const char *ask(struct web_checks *w, const char *ip, const char *domain)
{
	struct web_record r = { .state = WEB_ASKED };
	struct net_ip from;
	assert_true(net_ip_parse(slice_of(ip), &from));
	snprintf(r.domain, sizeof r.domain, "%s", domain);
	int before = kept_calls;
	const char *wrong = web_checks_ask(w, &r, &from, on_kept, NULL);
	if (wrong)
		return wrong;
	assert_int_equal(kept_calls, before);   /* not before it is written */
	loop_run(loop);
	assert_int_equal(kept_calls, before + 1);
	return "";
}

static void a_network_may_ask_so_often_in_a_day(void **state)
{
	(void)state;
	struct web_checks *w = checks();
	assert_string_equal(ask(w, "192.0.2.1", "a.test"), "");
	assert_string_equal(ask(w, "192.0.2.99", "b.test"), "");
	assert_string_equal(ask(w, "192.0.2.7", "c.test"), "");
	assert_non_null(strstr(ask(w, "192.0.2.200", "d.test"), "Your network has asked"));
	assert_string_equal(ask(w, "192.0.3.1", "d.test"), "");
	for (int i = 0; i < 3; i++)
		assert_string_equal(ask(w, "2001:db8:1::1", (const char *[]){ "e.test", "f.test", "g.test" }[i]), "");
	assert_non_null(strstr(ask(w, "2001:db8:1:ffff::1", "h.test"), "Your network has asked")); /* the same /48 */
	assert_string_equal(ask(w, "2001:db8:2::1", "h.test"), "");
	end(w);
}

static void a_domain_is_checked_so_often_in_a_day_whoever_asks(void **state)
{
	(void)state;
	struct web_checks *w = checks();
	assert_string_equal(ask(w, "192.0.2.1", "a.test"), "");
	assert_string_equal(ask(w, "198.51.100.1", "A.Test"), "");
	assert_non_null(strstr(ask(w, "203.0.113.1", "a.test"), "This domain has been checked"));
	assert_string_equal(ask(w, "203.0.113.1", "b.test"), "");
	end(w);
}

static void this_machine_may_ask_more_often(void **state)
{
	(void)state;
	struct web_checks *w = checks();
	for (int i = 0; i < 10; i++)
		assert_string_equal(ask(w, "127.0.0.1", "a.test"), "");
	end(w);
}

static void what_was_kept_is_there_for_the_next_process(void **state)
{
	(void)state;
	struct web_checks *w = checks();
	struct web_record r = { .state = WEB_ASKED, .domain = "a.test", .deferred = "slow@a.test" }, got;
	struct net_ip from;
	struct rndr_sum sum;
	net_ip_parse(SLICE("192.0.2.1"), &from);
	assert_null(web_checks_ask(w, &r, &from, on_kept, NULL));
	loop_run(loop);
	struct web_store *second;       /* while the first is open and was told nothing: as after kill -9 */
	char copy[80], command[200];
	snprintf(copy, sizeof copy, "%s-copy", folder);
	snprintf(command, sizeof command, "cp -r %s %s", folder, copy);
	assert_int_equal(system(command), 0);
	assert_int_equal(web_store_open(loop, copy, &second), 0);
	assert_true(web_store_get(second, slice_of(r.id), &got));
	assert_string_equal(got.deferred, "slow@a.test");
	web_store_close(second);
	snprintf(command, sizeof command, "rm -rf %s", copy);
	assert_int_equal(system(command), 0);
	assert_true(web_checks_get(w, slice_of(r.id), &got, &sum));
	end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_network_may_ask_so_often_in_a_day),
		cmocka_unit_test(a_domain_is_checked_so_often_in_a_day_whoever_asks),
		cmocka_unit_test(this_machine_may_ask_more_often),
		cmocka_unit_test(what_was_kept_is_there_for_the_next_process),
	};
	log_open(STDERR_FILENO, LOG_FORM_TEXT, "test");
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("web_checks", tests, NULL, NULL);
}
