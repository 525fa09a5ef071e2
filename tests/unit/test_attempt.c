/* One transaction at one next hop, against servers that play scripts: the client's dialogue, its fall-backs, refusals, hosts that go away. Enemies: test_attempt_hostile.c. */
#include "tests/unit/attempt_kit.h"

/* -- the usual way ------------------------------------------------------------------------------------------------------------------ */

static void a_message_goes_step_by_step(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO me.test\nS: 250-far.test\nS: 250-8BITMIME\nS: 250 SIZE 1000\nC: MAIL FROM:<a@b.test> BODY=8BITMIME\n"
		"S: 250 ok\nC: RCPT TO:<u@far.test>\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nS: 250 2.0.0 taken as 7\nC: QUIT");
	(void)state;
	whole(&f, "Subject: x\r\n\r\n.dot\r\n..two\r\nend");
	assert_int_equal(got.rcpts[0].code, 250);
	assert_int_equal(got.done.status.code, 250);
	assert_int_equal(got.done.count, 1);
	assert_string_equal(got.reply, "250 taken as 7");
	assert_heard(&f, "Subject: x\r\n\r\n..dot\r\n...two\r\nend\r\n.\r\n");
	end(&f);
}

static void pipelining_sends_mail_rcpt_and_data_together(void **state)
{
	/* the server answers nothing before DATA is there */
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250-far.test\nS: 250 PIPELINING\nC: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC*\nS: 250 ok");
	(void)state;
	whole(&f, "a\r\n");
	assert_int_equal(got.done.status.code, 250);
	assert_heard(&f, "DATA\r\na\r\n.\r\n");
	end(&f);
}

static void chunking_needs_no_dots(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250-far.test\nS: 250-PIPELINING\nS: 250 CHUNKING\nC: MAIL\nC: RCPT\nS: 250 ok\nS: 250 ok\n"
		"C: BDAT 8 LAST\nP: 8\nS: 250 ok");
	(void)state;
	whole(&f, "a\r\n.\r\n\r\n");
	assert_int_equal(got.done.status.code, 250);
	assert_heard(&f, "BDAT 8 LAST\r\na\r\n.\r\n\r\n");
	end(&f);
}

static void pass_through_asks_recipients_one_by_one_and_reuses_the_connection(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT TO:<u@far.test>\nS: 250 ok\nC: RCPT TO:<v@far.test>\n"
		"S: 550 5.1.1 who is v\nC: DATA\nS: 354 go\nC*\nS: 250 ok\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: RSET\nS: 250 ok\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok");
	(void)state;
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	run_until(1, false, false);
	ask(a, "v@far.test");
	run_until(2, false, false);
	assert_int_equal(got.rcpts[1].code, 550);
	assert_int_equal(got.rcpts[1].enhanced[0], 1);
	assert_string_equal(got.text[1], "who is v");
	assert_string_equal(got.replies[1], "550 5.1.1 who is v");
	give(a, "x\r\n", false);
	run_until(2, true, false);
	assert_true(got.done.count == 1 && got.done.status.code == 250);
	attempt_free(a);
	for (int i = 0; i < 2; i++) { /* given up after RCPT: reset and kept */
		a = start(&f, 0, "");
		ask(a, "u@far.test");
		run_until(1, false, false);
		assert_int_equal(got.rcpts[0].code, 250);
		attempt_free(a);
	}
	assert_int_equal(f.heard->connections, 1);
	assert_string_equal(f.heard->wrong, "");
	end(&f);
}

static void helo_is_said_where_ehlo_is_not_known(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 502 what\nC: HELO me.test\nS: 250 hi\nC: MAIL FROM:<a@b.test>\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nS: 250 ok");
	(void)state;
	whole(&f, "a\r\n");
	assert_int_equal(got.done.status.code, 250);
	assert_string_equal(f.heard->wrong, "");
	end(&f);
}

static void lmtp_answers_for_each(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: LHLO\nS: 250-far.test\nS: 250 PIPELINING\nC: MAIL\nC: RCPT\nC: RCPT\nC: RCPT\nC: DATA\nS: 250 ok\nS: 250 ok\n"
		"S: 550 5.1.1 no\nS: 250 ok\nS: 354 go\nC*\nS: 250 2.1.5 one\nS: 552 5.2.2 full");
	(void)state;
	struct attempt *a = start(&f, 0, "lmtp:");
	ask(a, "u@far.test"), ask(a, "v@far.test"), ask(a, "w@far.test");
	give(a, "a\r\n", false);
	run_until(3, true, false);
	assert_true(got.done.mixed && got.done.status.code == 451 && got.done.count == 2);
	assert_true(got.each[0].code == 250 && got.each[1].code == 552);
	attempt_free(a);
	end(&f);
}

static void prdr(const char *replies, int first, int second)
{
	char script[600];
	snprintf(script, sizeof script, "S: 220 hi\nC: EHLO\nS: 250-far.test\nS: 250 PRDR\nC: MAIL FROM:<a@b.test> PRDR\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: RCPT\nS: 250 ok\n"
		"C: DATA\nS: 354 go\nC*\n%s", replies);
	struct fake f = fake_start(script);
	struct attempt *a = start(&f, HOP_PRDR, "");
	ask(a, "u@far.test"), ask(a, "v@far.test");
	give(a, "a\r\n", false);
	run_until(2, true, false);
	assert_int_equal(got.each[0].code, first);
	assert_int_equal(got.each[1].code, second);
	assert_int_equal(got.done.mixed, first != second);
	attempt_free(a);
	end(&f);
}

static void prdr_answers_for_each(void **state)
{
	(void)state;
	prdr("S: 353 each\nwait 20\nS: 250 one\nwait 20\nS: 550 two not\nS: 250 done", 250, 550);
	prdr("s: 353 each\\r\\n250 one\\r\\n550 two not\\r\\n250 done\\r\\n", 250, 550); /* all in one segment */
	prdr("S: 250 all at once", 250, 250);
	prdr("S: 550 nobody", 550, 550);
}

/* The last reply takes the message or not, whatever was said of each. */
static void prdr_takes_nothing_without_a_good_last_reply(void **state)
{
	(void)state;
	prdr("S: 353 each\nS: 250 one\nS: 250 two\nS: 550 but no", 550, 550);
	prdr("S: 353 each\nS: 250 one\nS: 550 two not\nS: 450 later", 450, 550);
	prdr("S: 353 each\nS: 250 one\nS: 550 two not\nclose", 451, 550);
	prdr("S: 353 each\nS: 250 one\nclose", 451, 451);
}

/* -- what a hop may lack --------------------------------------------------------------------------------------------------------------- */

static void eight_bit_content_is_refused_where_8bitmime_is_not_offered(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: RSET\nS: 250 ok");
	(void)state;
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	give(a, "\xc3\xa4\r\n", true);
	run_until(1, true, false);
	assert_true(got.done.status.code == 550 && got.done.status.enhanced[0] == 6 && got.done.status.enhanced[1] == 3);
	attempt_free(a);
	end(&f);
}

static void smtputf8_and_requiretls_are_refused_where_not_offered(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nwait 300");
	(void)state;
	struct attempt *a = start(&f, HOP_UTF8, "");
	ask(a, "u@far.test");
	run_until(1, false, false);
	assert_true(got.rcpts[0].code == 550 && got.rcpts[0].enhanced[1] == 7);
	attempt_free(a);
	end(&f);
}

static void bare_line_ends_never_leave(void **state)
{
	static const char *const bad[] = { "a\nb\r\n", "a\rb\r\n", "a\r\n.\n\r\n", "a\r\n\r", "\r\r\n", "x\n" };
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nS: 250 ok");
		whole(&f, bad[i]);
		assert_true(got.done.status.code == 554 && got.done.status.enhanced[0] == 6 && !got.done.facts.dot_sent);
		assert_false(fake_heard(&f, "\r\n.\r\n"));
		end(&f);
	}
}

/* -- hosts that go away ---------------------------------------------------------------------------------------------------------------- */

/* Without our loop, which would hear it. */
static void wait_for_goodbye(const struct fake *f)
{
	for (int i = 0; i < 30000 && !*(volatile size_t *)&f->heard->ended; i++)
		usleep(1000);
	assert_true(f->heard->ended > 0);
}

static void a_hop_that_went_away_before_the_dot_is_asked_again(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nclose\nnext\n"
		"S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT TO:<u@far.test>\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nS: 250 again");
	(void)state;
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	run_until(1, false, false);
	wait_for_goodbye(&f);
	give(a, "a\r\n", false);
	run_until(1, true, false);
	assert_int_equal(got.done.status.code, 250);
	attempt_free(a);
	end(&f);
}

static void a_promise_that_is_not_renewed_is_451_and_nothing_goes(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nclose\nnext\n"
		"S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 550 5.1.1 gone\nC: DATA\nS: 354 go\nC*\nS: 250 again");
	(void)state;
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	run_until(1, false, false);
	wait_for_goodbye(&f);
	give(a, "secret\r\n", false);
	run_until(1, true, false);
	assert_true(got.done.status.code == 451 && !got.done.facts.dot_sent);
	assert_false(fake_heard(&f, "secret"));
	attempt_free(a);
	end(&f);
}

static void a_reply_lost_behind_the_dot_is_unknown(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nclose");
	(void)state;
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	give(a, "a\r\n", false);
	run_until(1, true, true);
	assert_true(got.done.status.code == 451 && got.done.facts.dot_sent && got.done.facts.unknown && !got.late_known);
	assert_int_equal(f.heard->connections, 1);
	attempt_free(a);
	end(&f);
}

static void a_late_reply_is_told_when_it_comes(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nwait 700\nS: 250 late");
	(void)state;
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	attempt_content(a, body_new(loop, hops.worker, &(struct body_plan){ .content = SLICE("a\r\n"), .fd = -1 }), 300);
	run_until(1, true, false);
	assert_true(got.done.status.code == 451 && got.done.facts.unknown);
	run_until(1, true, true);
	assert_true(got.late_known && got.late_code == 250);
	attempt_free(a);
	end(&f);
}

static void nobody_there_is_down(void **state)
{
	struct fake f = fake_start("close");
	int port = f.port;
	(void)state;
	fake_stop(&f);
	f.port = port;
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	run_until(1, false, false);
	assert_int_equal(got.rcpts[0].code, 451);
	assert_true(attempt_facts(a)->down);
	attempt_free(a);
	/* and remembered: the next one does not wait */
	a = start(&f, 0, "");
	ask(a, "u@far.test");
	run_until(1, false, false);
	assert_true(got.rcpts[0].code == 451 && attempt_rest_ms(a) > 0);
	attempt_free(a);
	dead_forget_all(hops.dead);
}

static void ends_with_its_budget(const char *script)
{
	struct fake f = fake_start(script);
	char place[64];
	snprintf(place, sizeof place, "[127.0.0.1]:%d", f.port);
	memset(&got, 0, sizeof got);
	struct hop_envelope e = { .transaction = SLICE("T"), .place = slice_of(place), .budget_ms = 400 };
	uint64_t began = clock_mono_ms();
	struct attempt *a = attempt_new(&hops, &e, &handler, NULL);
	ask(a, "u@far.test");
	run_until(1, false, false);
	assert_int_equal(got.rcpts[0].code, 451);
	assert_true(clock_mono_ms() - began < 40000);
	attempt_free(a);
	end(&f);
}

static void the_budget_ends_a_silent_hop(void **state)
{
	(void)state;
	ends_with_its_budget("wait 100000");
}

/* Bytes win no time: one every 200 ms is a reply that ends a minute later. */
static void the_budget_ends_a_dripping_hop(void **state)
{
	char script[5000] = "";
	(void)state;
	strcat(script, "s: 220-\n");
	for (int i = 0; i < 280; i++)
		strcat(script, "wait 200\ns: x\n");
	ends_with_its_budget(script);
}

/* -- refusals -------------------------------------------------------------------------------------------------------------------------- */

static void a_shutdown_is_no_answer_to_a_recipient(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 421 bye\nclose");
	(void)state;
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	run_until(1, false, false);
	assert_int_equal(got.rcpts[0].fate, MAIL_LATER);
	attempt_free(a);
	end(&f);
}

static void who_refuses_to_serve_us_hears_quit(void **state) /* 5321, 4.1.1.10 */
{
	static const struct {
		const char *script, *tls;
	} rows[] = {
		{ "S: 450 busy\nC: QUIT\nS: 221 bye", "none" }, { "S: 554 no\nC: QUIT\nS: 221 bye", "none" }, { "S: 220 hi\nC: EHLO\nS: 450 no\nC: QUIT\nS: 221 bye", "none" },
		{ "S: 220 hi\nC: EHLO\nS: 500 no\nC: HELO\nS: 550 no\nC: QUIT\nS: 221 bye", "none" }, { "S: 220 hi\nC: EHLO\nS: 250 far.test\nC: QUIT\nS: 221 bye", "encrypt" },
		{ "S: 220 hi\nC: EHLO\nS: 250-far.test\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 no\nC: QUIT\nS: 221 bye", "encrypt" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fake f = fake_start(rows[i].script);
		hops.tls = slice_of(rows[i].tls);
		whole(&f, "a\r\n");
		hops.tls = SLICE("none");
		assert_int_equal(got.rcpts[0].fate, MAIL_LATER);
		assert_true(comes_to_say(&f, "QUIT\r\n"));
		assert_string_equal(f.heard->wrong, "");
		end(&f);
	}
}

static void nothing_follows_a_refused_mail(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 550 5.7.1 not from you\nC: RSET\nS: 250 ok\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok");
	(void)state;
	whole(&f, "a\r\n");
	assert_int_equal(got.rcpts[0].code, 550);
	assert_true(comes_to_say(&f, "RSET\r\n"));
	assert_false(fake_heard(&f, "RCPT"));
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	run_until(1, false, false);
	assert_int_equal(got.rcpts[0].code, 250);
	attempt_free(a);
	assert_int_equal(f.heard->connections, 1);
	assert_string_equal(f.heard->wrong, "");
	end(&f);
}

/* With PIPELINING RCPT and DATA had gone with it: their replies are waited for, and the connection is good again. One that wants content then is hung up on. */
static void what_went_with_a_refused_mail_does_not_cost_the_connection(void **state)
{
	static const char *const data[] = { "503 no", "354 go" };
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char script[400];
		snprintf(script, sizeof script, "S: 220 hi\nC: EHLO\nS: 250-far.test\nS: 250 PIPELINING\nC: MAIL\nC: RCPT\nC: DATA\nS: 451 later\nwait 50\nS: 503 no\nwait 50\nS: %s\n%s",
			data[i], i == 0 ? "C: RSET\nS: 250 ok\n" : "C*\nS: 250 what did I take?");
		struct fake f = fake_start(script);
		whole(&f, "secret\r\n");
		assert_int_equal(got.rcpts[0].code, 451);
		assert_int_equal(pool_count(hops.pool), 1);
		if (i == 0)
			assert_true(comes_to_say(&f, "RSET\r\n"));
		else
			for (int n = 0; n < 2000 && pool_count(hops.pool); n++)
				wait_a_little();
		assert_true(i == 0 || pool_count(hops.pool) == 0);
		assert_false(fake_heard(&f, "secret") || fake_heard(&f, ".\r\n"));
		end(&f);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(a_message_goes_step_by_step), TEST(pipelining_sends_mail_rcpt_and_data_together), TEST(chunking_needs_no_dots),
		TEST(pass_through_asks_recipients_one_by_one_and_reuses_the_connection), TEST(helo_is_said_where_ehlo_is_not_known), TEST(lmtp_answers_for_each),
		TEST(prdr_answers_for_each), TEST(prdr_takes_nothing_without_a_good_last_reply), TEST(eight_bit_content_is_refused_where_8bitmime_is_not_offered),
		TEST(smtputf8_and_requiretls_are_refused_where_not_offered), TEST(bare_line_ends_never_leave), TEST(a_hop_that_went_away_before_the_dot_is_asked_again),
		TEST(a_promise_that_is_not_renewed_is_451_and_nothing_goes), TEST(a_reply_lost_behind_the_dot_is_unknown), TEST(a_late_reply_is_told_when_it_comes),
		TEST(nobody_there_is_down), TEST(the_budget_ends_a_silent_hop), TEST(the_budget_ends_a_dripping_hop), TEST(a_shutdown_is_no_answer_to_a_recipient),
		TEST(who_refuses_to_serve_us_hears_quit), TEST(nothing_follows_a_refused_mail), TEST(what_went_with_a_refused_mail_does_not_cost_the_connection),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
