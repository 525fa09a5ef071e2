/* The life of a ledger: its age and what it may be unsure of, its number, restarts and damage. */
#include "ledger_kit.h"

#include <sys/wait.h>

#include "queue/ledger_inside.h"

static void forget_sent(void)
{
	struct buf in = BUF_INIT(65536);
	for (int i = 0; i < 300; i++) {
		char id[40];
		snprintf(id, sizeof id, "<old-%d@us>", i);
		queue_put_texts(&in, &(struct slice){ id, strlen(id) }, 1);
		assert_int_equal(ledger_ask(ledger, QUEUE_SENT, buf_slice(&in), NULL, NULL), 0);
		buf_clear(&in);
	}
	buf_free(&in);
}

/* Looks wait for their turn behind the parts of the walk. */
static uint64_t settled_count(uint64_t most)
{
	struct ledger_counts c = { .outcomes = 0 };
	for (int i = 0; i < 3000 && !(c.outcomes && c.sent && c.outcomes + c.sent <= most); i++) {
		usleep(1000);
		look("nobody@x", "nobody@y");
		ledger_count(ledger, &c);
	}
	return c.outcomes + c.sent;
}

static void past_its_number_the_oldest_go_first_and_soon(void **state)
{
	char leaf[40];
	(void)state;
	clock_test_turn_wall((int64_t)limits.sent_s + 1); /* all that was sent in this time is in it */
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<old-7@us>", NULL, NULL), ABSENT);
	for (int i = 0; i < 300; i++) {
		snprintf(leaf, sizeof leaf, "old%d@y", i);
		note(S("a@x", 1), leaf, LEDGER_DONE, OK, "");
	}
	forget_sent();
	clock_test_turn_wall(3600);
	note(S("a@x", 1), "young@y", LEDGER_DONE, OK, "");
	ledger_close(ledger);
	limits.entries = 100;
	open_ledger();
	assert_true(settled_count(202) <= 202); /* the mark from when on it is complete is one of them */
	assert_int_equal(look("a@x", "young@y"), LEDGER_OPEN);
	assert_int_equal(look("a@x", "old7@y"), LEDGER_NOTHING);
	ledger_close(ledger);
	limits.entries = 100000;
	open_ledger();
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<old-7@us>", NULL, NULL), UNSURE); /* it was ours, and isn't in it any more */
	clock_test_turn_wall(-(int64_t)limits.sent_s - 1 - 3600);
}

static void a_young_ledger_of_sent_mail_is_unsure(void **state)
{
	(void)state;
	texts(QUEUE_SENT, "<1@us>", NULL, NULL);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<1@us>", NULL, NULL), FOUND);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", NULL, NULL), UNSURE);
	clock_test_turn_wall((int64_t)limits.sent_s + 1);
	texts(QUEUE_SENT, "<3@us>", NULL, NULL);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", NULL, NULL), ABSENT);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<1@us>", NULL, NULL), ABSENT); /* too long ago */
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", "<3@us>", NULL), FOUND);
	clock_test_turn_wall(-(int64_t)limits.sent_s - 1);
}

static void a_longer_window_is_unsure_of_what_a_shorter_one_has_cut(void **state)
{
	(void)state;
	clock_test_turn_wall(40 * 86400);
	ledger_close(ledger);
	open_ledger();
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<1@us>", NULL, NULL), ABSENT);
	ledger_close(ledger);
	limits.sent_s = 30 * 86400;
	open_ledger();
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<1@us>", NULL, NULL), UNSURE);
	clock_test_turn_wall(16 * 86400 + 1);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<1@us>", NULL, NULL), ABSENT);
	limits.sent_s = 14 * 86400;
	clock_test_turn_wall(-56 * 86400 - 1);
}

static void a_clock_that_was_set_makes_it_unsure(void **state)
{
	(void)state;
	texts(QUEUE_SENT, "<1@us>", NULL, NULL);
	clock_test_turn_wall(365 * 86400);
	ledger_doubt_sent(ledger);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<1@us>", NULL, NULL), UNSURE); /* it looks a year old */
	clock_test_turn_wall(-365 * 86400);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", NULL, NULL), UNSURE);
	ledger_close(ledger);
	open_ledger();
	clock_test_turn_wall((int64_t)limits.sent_s);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", NULL, NULL), ABSENT); /* and not for a year and a window */
	clock_test_turn_wall(-(int64_t)limits.sent_s);
}

static void what_could_not_be_noted_is_unsure_also_after_a_restart(void **state)
{
	struct rlimit whole, little;
	(void)state;
	clock_test_turn_wall((int64_t)limits.sent_s + 1);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<lost-7@us>", NULL, NULL), ABSENT);
	getrlimit(RLIMIT_FSIZE, &whole);
	little = (struct rlimit){ 64 << 10, whole.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &little);
	for (int i = 0; i < 2000; i++) {
		char id[40];
		struct buf in = BUF_INIT(65536);
		snprintf(id, sizeof id, "<lost-%d@us>", i);
		queue_put_texts(&in, &(struct slice){ id, strlen(id) }, 1);
		assert_int_equal(ledger_ask(ledger, QUEUE_SENT, buf_slice(&in), NULL, NULL), 0);
		buf_free(&in);
	}
	texts(QUEUE_SENT_LOOK, "<lost-1@us>", NULL, NULL);
	setrlimit(RLIMIT_FSIZE, &whole);
	texts(QUEUE_SENT, "<other@us>", NULL, NULL);
	ledger_close(ledger);
	open_ledger();
	enum answer a = texts(QUEUE_SENT_LOOK, "<lost-7@us>", NULL, NULL);
	assert_true(a == FOUND || a == UNSURE);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<never@us>", NULL, NULL), UNSURE);
	clock_test_turn_wall(-(int64_t)limits.sent_s - 1);
}

static void wait_for_hints(struct ledger_hints *h)
{
	for (int i = 0; i < 200; i++) {
		ledger_hints(ledger, h);
		if (h->known)
			return;
		look("nobody@x", "nobody@y");
	}
	fail_msg("the hints were never complete");
}

static void everything_is_there_after_a_restart(void **state)
{
	(void)state;
	struct ledger_hints h;
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	texts(QUEUE_SENT, "<1@us>", NULL, NULL);
	ledger_close(ledger);
	open_ledger();
	wait_for_hints(&h);
	assert_true(ledger_hint_hit(&h, SLICE("a@x"), SLICE("u@y")));
	assert_false(ledger_hint_hit(&h, SLICE("nobody@x"), SLICE("u@y")));
	assert_string_equal(decide(S("a@x", 1), "u@y"), "done");
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<1@us>", NULL, NULL), FOUND);
	assert_int_equal(alerts, 0);
}

static void spoil_files(void)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	char path[400], noise[8192];
	memset(noise, 0xa5, sizeof noise);
	while ((e = readdir(d))) {
		snprintf(path, sizeof path, "%s/%.200s", folder, e->d_name);
		int fd = e->d_name[0] == '.' ? -1 : open(path, O_WRONLY);
		if (fd >= 0) {
			assert_true(pwrite(fd, noise, sizeof noise, 0) > 0);
			close(fd);
		}
	}
	closedir(d);
}

static void a_damaged_ledger_is_begun_anew_and_says_so(void **state)
{
	(void)state;
	struct ledger_counts c;
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	ledger_close(ledger);
	spoil_files();
	open_ledger();
	assert_string_equal(decide(S("a@x", 1), "u@y"), "unknown"); /* a duplicate at worst */
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	assert_string_equal(decide(S("a@x", 1), "u@y"), "done");
	ledger_count(ledger, &c);
	assert_true(alerts > 0 && c.begun_anew > 0);
}

/* Every page of its tables but the first. */
static void spoil_pages(void)
{
	static const char *const tables[] = { "outcome", "sent" };
	char path[400], noise[512];
	struct stat st;
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, tables[i]);
		int fd = open(path, O_WRONLY);
		assert_true(fd >= 0 && fstat(fd, &st) == 0);
		memset(noise, 0x5a, sizeof noise);
		for (off_t at = 4096; at < st.st_size; at += 512)
			assert_int_equal(pwrite(fd, noise, sizeof noise, at), sizeof noise);
		close(fd);
	}
}

static void damage_within_it_is_begun_anew_too(void **state)
{
	(void)state;
	struct ledger_counts c;
	forget_sent();
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	clock_test_turn_wall((int64_t)limits.sent_s + 1);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<never@us>", NULL, NULL), ABSENT);
	ledger_close(ledger);
	spoil_pages();
	open_ledger();
	for (int i = 0; i < 5; i++)
		assert_int_equal(texts(QUEUE_SENT_LOOK, "<never@us>", NULL, NULL), UNSURE);
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	assert_string_equal(decide(S("a@x", 1), "u@y"), "done");
	texts(QUEUE_SENT, "<1@us>", NULL, NULL);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<1@us>", NULL, NULL), FOUND);
	ledger_count(ledger, &c);
	assert_true(alerts > 0 && c.begun_anew > 0);
	clock_test_turn_wall(-(int64_t)limits.sent_s - 1);
}

/* -- how it ended ---------------------------------------------------------------------------------------------------------------------------------- */

enum { BOOT_AT = 1 + 2 * LEDGER_TIME, SINCE_MAX = BOOT_AT + LEDGER_TIME };

/* The boot in which it was open last, as it stands in the closed store; 0: it was closed as it should be. By other: it was another than it says. */
static uint64_t boot_of(bool other)
{
	struct ledger_store *s;
	bool anew;
	char value[LEDGER_MAX_VALUE];
	size_t n;
	assert_true(ledger_store_open(folder, &s, &anew) == 0 && !anew);
	assert_int_equal(ledger_store_get(s, TABLE_SENT, SLICE("since"), value, &n), 0);
	assert_int_equal(n, SINCE_MAX);
	uint64_t boot = (uint64_t)ledger_time_of(slice(value + BOOT_AT, LEDGER_TIME));
	value[BOOT_AT] ^= 1;
	if (other) {
		assert_int_equal(ledger_store_begin(s), 0);
		assert_int_equal(ledger_store_put(s, TABLE_SENT, SLICE("since"), slice(value, n)), 0);
		assert_int_equal(ledger_store_end(s, true), 0);
	}
	ledger_store_close(s);
	return boot;
}

/* A process that has the ledger open, notes and is gone. */
static void note_and_be_killed(const char *id)
{
	ledger_close(ledger);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		loop = loop_new();
		open_ledger();
		texts(QUEUE_SENT, id, NULL, NULL);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_killed_process_makes_it_doubt_nothing(void **state)
{
	(void)state;
	clock_test_turn_wall((int64_t)limits.sent_s + 1);
	note_and_be_killed("<1@us>");
	assert_true(boot_of(false) != 0);
	open_ledger();
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<1@us>", NULL, NULL), FOUND);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", NULL, NULL), ABSENT);
	ledger_close(ledger);
	assert_int_equal(boot_of(false), 0);
	open_ledger();
	clock_test_turn_wall(-(int64_t)limits.sent_s - 1);
}

static void a_power_cut_may_have_cost_its_last_notes(void **state)
{
	(void)state;
	clock_test_turn_wall((int64_t)limits.sent_s + 1);
	note_and_be_killed("<1@us>");
	boot_of(true);
	open_ledger();
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", NULL, NULL), UNSURE);
	ledger_close(ledger);
	open_ledger();
	clock_test_turn_wall((int64_t)limits.sent_s);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", NULL, NULL), ABSENT); /* since then all is in it */
	clock_test_turn_wall(-2 * (int64_t)limits.sent_s - 1);
}

static void a_doubt_outlives_the_end(void **state)
{
	(void)state;
	clock_test_turn_wall((int64_t)limits.sent_s + 1);
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", NULL, NULL), ABSENT);
	ledger_doubt_sent(ledger);
	ledger_close(ledger);
	open_ledger();
	assert_int_equal(texts(QUEUE_SENT_LOOK, "<2@us>", NULL, NULL), UNSURE);
	clock_test_turn_wall(-(int64_t)limits.sent_s - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(past_its_number_the_oldest_go_first_and_soon),
		EACH(a_young_ledger_of_sent_mail_is_unsure),
		EACH(a_longer_window_is_unsure_of_what_a_shorter_one_has_cut),
		EACH(a_clock_that_was_set_makes_it_unsure),
		EACH(what_could_not_be_noted_is_unsure_also_after_a_restart),
		EACH(everything_is_there_after_a_restart),
		EACH(a_damaged_ledger_is_begun_anew_and_says_so),
		EACH(damage_within_it_is_begun_anew_too),
		EACH(a_killed_process_makes_it_doubt_nothing),
		EACH(a_power_cut_may_have_cost_its_last_notes),
		EACH(a_doubt_outlives_the_end),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
