/* One transaction at a next hop that is an enemy, or out of step (security-kit T5): whatever it says, our answer is a 451 in bounded time, and no content goes where it might be lost. */
#include "tests/unit/attempt_kit.h"

/* Whatever is said: the recipient, or the message, may come again; never a refusal, never a 250. */
static void is_put_off_by(const struct fake *f, const char *script)
{
	whole(f, "secret\r\n");
	bool good = got.rcpts[0].fate == MAIL_LATER || (got.rcpts[0].fate == MAIL_OK && got.done.status.fate == MAIL_LATER);
	if (!good)
		print_error("rcpt %d content %d by:\n%s\n", got.rcpts[0].code, got.done.status.code, script);
	assert_true(good);
}

/* Each of the scripts, up to NULL, does; then is asked of its host what else must hold. */
static void each_puts_off(const char *const *scripts, void (*also)(const struct fake *f))
{
	for (; *scripts; scripts++) {
		struct fake f = fake_start(*scripts);
		is_put_off_by(&f, *scripts);
		if (also)
			also(&f);
		end(&f);
	}
}

static void heard_no_content(const struct fake *f)
{
	assert_false(fake_heard(f, "secret"));
}

static void left_it_unknown(const struct fake *f)
{
	(void)f;
	assert_true(got.done.facts.unknown);
}

/* Whatever a second greeting is taken for, no content goes to a host whose replies are one behind. */
static void two_greetings_get_no_content(void **state)
{
	static const char *const scripts[] = {
		"s: 220 hi\\r\\n220 hi again\\r\\n\nwait 100",
		"S: 220 hi\nC: EHLO\nS: 220 hi again\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 550 5.1.1 no\nC*\nS: 250 taken",
		"S: 220 hi\nwait 100\nS: 220 hi again\nC: EHLO\nS: 250-far.test\nS: 250 PIPELINING\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nS: 250 taken",
		"S: 220 hi\nC: EHLO\nS: 250-far.test\nS: 250 CHUNKING\nC: MAIL\nS: 220 hi again\nC: RCPT\nS: 250 of MAIL\nC: BDAT 8 LAST\nP: 8\nS: 250 of RCPT\nwait 100\nS: 554 5.7.1 of the content",
		"S: 220 hi\nC: EHLO\nS: 250-far.test\nS: 250 CHUNKING\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 221 bye\nC: BDAT 8 LAST\nP: 8\nS: 250 of RCPT\nwait 100\nS: 554 5.7.1 of the content",
		NULL
	};
	(void)state;
	each_puts_off(scripts, heard_no_content);
}

/* Nor is content taken by who greets, or says goodbye, instead of taking it. */
static void a_greeting_at_the_dot_is_no_yes(void **state)
{
	static const char *const scripts[] = {
		"S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\nS: 220 hi again",
		"S: 220 hi\nC: EHLO\nS: 250-far.test\nS: 250 CHUNKING\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: BDAT 8 LAST\nP: 8\nS: 221 bye",
		NULL
	};
	(void)state;
	each_puts_off(scripts, left_it_unknown);
}

/* What a host says after its goodbye, or on a connection that it has closed, is nobody's. */
static void nothing_is_heard_after_a_close(void **state)
{
	static const char *const scripts[] = {
		"S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\ns: 421 bye\\r\\n250 ok\\r\\n354 go\\r\\n250 taken\\r\\n",
		"S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\ns: 250 o\nclose",
		"S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\ns: 354 go\\r\\n250 taken already\\r\\n",
		NULL
	};
	(void)state;
	each_puts_off(scripts, NULL);
}

static const char *const stages[] = {
	"%s", "S: 220 hi\nC: EHLO\n%s", "S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\n%s", "S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\n%s",
	"S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\n%s",
	"S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nC*\n%s"
};

static void nonsense_at_each_stage_is_a_451_in_bounded_time(void **state)
{
	static const char *const bad[] = { "S: 5", "S: 55", "S: ", "s: 250-a\\r\\n550 b\\r\\n", "s: 250 a", "close", "S: hello", "S: 999 x", "S: 199 x",
		"s: 2\\050 x\\r\\n", "S: 250_x", "s: \\r\\r\\n" };
	(void)state;
	for (size_t s = 0; s < sizeof stages / sizeof stages[0]; s++)
		for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
			char script[1000];
			snprintf(script, sizeof script, stages[s], bad[i]);
			struct fake f = fake_start(script);
			is_put_off_by(&f, script);
			assert_true(got.done.facts.unknown == (s == 5));
			end(&f);
		}
}

static void endless_lines_and_endless_replies_are_cut(void **state)
{
	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		struct fake f = { .heard = NULL };
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t n = sizeof a;
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		assert_true(bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 5) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0);
		f.port = ntohs(a.sin_port);
		f.pid = fork();
		if (f.pid == 0) {
			signal(SIGPIPE, SIG_IGN);
			for (;;) {
				int c = accept(fd, NULL, NULL);
				for (int i = 0; i < 1000000; i++)
					if (send(c, kind ? "220-x\r\n" : "2200000", 7, MSG_NOSIGNAL) < 0)
						break;
				close(c);
			}
		}
		close(fd);
		uint64_t began = clock_mono_ms();
		struct attempt *at = start(&f, 0, "");
		ask(at, "u@far.test");
		run_until(1, false, false);
		assert_int_equal(got.rcpts[0].code, 451);
		assert_true(clock_mono_ms() - began < 40000);
		attempt_free(at);
		kill(f.pid, SIGKILL);
		waitpid(f.pid, NULL, 0);
		dead_forget_all(hops.dead);
	}
}

static void control_bytes_of_a_reply_are_gone(void **state)
{
	struct fake f = fake_start("S: 220 hi\nC: EHLO\nS: 250 far.test\nC: MAIL\nS: 250 ok\nC: RCPT\ns: 550 5.7.1 a\x1b[1mb\\0c\xff\\r\\n");
	(void)state;
	struct attempt *a = start(&f, 0, "");
	ask(a, "u@far.test");
	run_until(1, false, false);
	assert_int_equal(got.rcpts[0].code, 550);
	assert_string_equal(got.text[0], "a [1mb c?");
	attempt_free(a);
	end(&f);
}

static void bytes_behind_a_greeting_or_starttls_end_it(void **state)
{
	static const char *const scripts[] = { "s: 220 hi\\r\\n250 AUTH PLAIN\\r\\n",
		"S: 220 hi\nC: EHLO\nS: 250-far.test\nS: 250 STARTTLS\nC: STARTTLS\ns: 220 ok\\r\\n250 AUTH PLAIN\\r\\n\nwait 300" };
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fake f = fake_start(scripts[i]);
		hops.tls = SLICE("encrypt");
		whole(&f, "a\r\n");
		hops.tls = SLICE("none");
		assert_int_equal(got.rcpts[0].fate, MAIL_LATER);
		assert_false(fake_heard(&f, "MAIL"));
		end(&f);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(two_greetings_get_no_content), TEST(a_greeting_at_the_dot_is_no_yes), TEST(nothing_is_heard_after_a_close), TEST(nonsense_at_each_stage_is_a_451_in_bounded_time),
		TEST(endless_lines_and_endless_replies_are_cut), TEST(control_bytes_of_a_reply_are_gone), TEST(bytes_behind_a_greeting_or_starttls_end_it),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
