#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"
#include "queue/ledger.h"

static char root[64];
static struct loop *loop;
static struct ledger *ledger;
static struct buf answer;
static int alerts;
static uint64_t most = 1000;
static char digest_a[QUEUE_DIGEST], digest_b[QUEUE_DIGEST] = "b";

static void on_alert(void *arg, struct slice text)
{
	(void)arg, (void)text;
	alerts++;
}

static void reopen(void)
{
	struct ledger_limits limits = { .entries = most, .outcome_s = 5 * 86400, .sent_s = 14 * 86400, .seen_s = 14 * 86400, .ask_s = 7 * 86400,
		.ask_refused_s = 600, .lost_s = 6 * 3600 };
	if (ledger)
		ledger_close(ledger);
	assert_int_equal(ledger_open(loop, root, &limits, on_alert, NULL, &ledger), 0);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(root, sizeof root, "/tmp/porter-ledger-rule-XXXXXX");
	assert_non_null(mkdtemp(root));
	loop = loop_new();
	buf_init(&answer, 1 << 20);
	alerts = 0;
	reopen();
	return 0;
}

static int tear_down(void **state)
{
	char command[128];
	(void)state;
	ledger_close(ledger);
	ledger = NULL;
	loop_free(loop);
	buf_free(&answer);
	snprintf(command, sizeof command, "rm -r %s", root);
	return system(command);
}

static void on_answer(void *arg, struct buf *a)
{
	(void)arg;
	buf_clear(&answer);
	buf_add(&answer, buf_slice(a));
	loop_stop(loop);
}

static void ask(uint16_t type, struct buf *payload)
{
	assert_int_equal(ledger_ask(ledger, type, buf_slice(payload), on_answer, NULL), 0);
	buf_free(payload);
	loop_run(loop);
}

static struct ledger_source source(const char *digest, const char *message_id, const char *network, const char *domain)
{
	return (struct ledger_source){ SLICE("eve@outside.test"), slice(digest, QUEUE_DIGEST), slice_of(message_id), slice_of(network), slice_of(domain) };
}

static void note(struct ledger_source from, const char *leaf, enum ledger_fate fate, struct mail_status status, const char *name)
{
	struct buf payload = BUF_INIT(1 << 16);
	struct ledger_entry e = { slice_of(leaf), fate, status, slice_of(name) };
	struct ledger_note n = { from, LEDGER_NOTE_FIRM, &e, 1 };
	struct mail_status said;
	ledger_put_note(&payload, &n);
	ask(LEDGER_NOTE, &payload);
	assert_int_equal(queue_get_status(buf_slice(&answer), &said), 0);
	assert_int_equal(said.fate, MAIL_OK);
}

static struct ledger_looked look(const char *leaf)
{
	struct buf payload = BUF_INIT(1 << 16);
	struct ledger_look l = { SLICE("eve@outside.test"), slice_of(leaf) };
	struct ledger_looked out;
	ledger_put_look(&payload, &l);
	ask(LEDGER_LOOK, &payload);
	assert_int_equal(ledger_get_looked(buf_slice(&answer), &out), 0);
	return out;
}

static struct ledger_entry decide(struct ledger_source from, const char *leaf, struct arena *mem)
{
	struct buf payload = BUF_INIT(1 << 16);
	struct slice one = slice_of(leaf);
	struct ledger_decide d = { from, &one, 1 };
	struct ledger_decided out;
	ledger_put_decide(&payload, &d);
	ask(LEDGER_DECIDE, &payload);
	assert_int_equal(ledger_get_decided(buf_slice(&answer), mem, &out), 0);
	assert_int_equal(out.answer, FOUND);
	assert_int_equal(out.count, 1);
	return out.entries[0];
}

static void an_outcome_is_found_by_leaf_and_decided_by_digest(void **state)
{
	struct arena mem = ARENA_INIT(1 << 20);
	(void)state;
	assert_int_equal(look("bob").found, LEDGER_NOTHING);
	note(source(digest_a, "<1@x>", "192.0.2.0/24", ""), "bob", LEDGER_REFUSED, MAIL_STATUS(MAIL_NEVER, 554, 7, 1, "no such content"), "");
	assert_int_equal(look("bob").answer, FOUND);
	assert_int_equal(look("bob").found, LEDGER_OPEN);
	assert_int_equal(look("ann").found, LEDGER_NOTHING);
	struct ledger_entry e = decide(source(digest_a, "<1@x>", "198.51.100.0/24", ""), "bob", &mem);
	assert_int_equal(e.fate, LEDGER_REFUSED);
	assert_int_equal(e.status.code, 554);
	assert_true(slice_eq(e.status.text, SLICE("no such content")));
	assert_int_equal(decide(source(digest_b, "<1@x>", "192.0.2.0/24", ""), "bob", &mem).fate, LEDGER_UNKNOWN);
	arena_free(&mem);
}

static void an_intent_keeps_the_file_name_over_a_restart(void **state)
{
	struct arena mem = ARENA_INIT(1 << 20);
	(void)state;
	note(source(digest_a, "", "", ""), "bob", LEDGER_INTENT, MAIL_STATUS_OK, "1234.M5.host");
	reopen();
	struct ledger_entry e = decide(source(digest_a, "", "", ""), "bob", &mem);
	assert_int_equal(e.fate, LEDGER_INTENT);
	assert_true(slice_eq(e.name, SLICE("1234.M5.host")));
	note(source(digest_a, "", "", ""), "bob", LEDGER_DONE, MAIL_STATUS_OK, "");
	assert_int_equal(decide(source(digest_a, "", "", ""), "bob", &mem).fate, LEDGER_DONE);
	arena_free(&mem);
}

static void a_repeat_of_a_lost_250_needs_id_and_source(void **state)
{
	struct arena mem = ARENA_INIT(1 << 20);
	(void)state;
	note(source(digest_a, "<1@x>", "192.0.2.0/24", "x.test"), "bob", LEDGER_LOST, MAIL_STATUS_OK, "");
	assert_int_equal(look("bob").found, LEDGER_MAYBE);
	assert_int_equal(decide(source(digest_a, "<1@x>", "192.0.2.0/24", ""), "bob", &mem).fate, LEDGER_DONE);
	assert_int_equal(decide(source(digest_a, "<1@x>", "198.51.100.0/24", "x.test"), "bob", &mem).fate, LEDGER_DONE);
	assert_int_equal(decide(source(digest_a, "<1@x>", "198.51.100.0/24", "y.test"), "bob", &mem).fate, LEDGER_UNKNOWN);
	assert_int_equal(decide(source(digest_a, "<1@x>", "", ""), "bob", &mem).fate, LEDGER_UNKNOWN);
	assert_int_equal(decide(source(digest_a, "<2@x>", "192.0.2.0/24", "x.test"), "bob", &mem).fate, LEDGER_UNKNOWN);
	assert_int_equal(decide(source(digest_a, "", "192.0.2.0/24", "x.test"), "bob", &mem).fate, LEDGER_UNKNOWN);
	clock_test_turn_wall(7 * 3600);
	assert_int_equal(decide(source(digest_a, "<1@x>", "192.0.2.0/24", ""), "bob", &mem).fate, LEDGER_UNKNOWN);
	clock_test_turn_wall(-7 * 3600);
	arena_free(&mem);
}

static void an_outcome_ends_with_its_time(void **state)
{
	(void)state;
	note(source(digest_a, "", "", ""), "bob", LEDGER_DONE, MAIL_STATUS_OK, "");
	clock_test_turn_wall(6 * 86400);
	assert_int_equal(look("bob").found, LEDGER_NOTHING);
	clock_test_turn_wall(-6 * 86400);
}

static enum answer texts(uint16_t type, struct slice a, struct slice b, struct slice c, size_t count)
{
	struct slice all[3] = { a, b, c };
	struct buf payload = BUF_INIT(1 << 16);
	enum answer out = UNSURE;
	queue_put_texts(&payload, all, count);
	ask(type, &payload);
	if (type != QUEUE_SENT)
		assert_int_equal(queue_get_answer(buf_slice(&answer), &out), 0);
	return out;
}

static void a_young_ledger_is_unsure_of_what_was_not_sent(void **state)
{
	(void)state;
	texts(QUEUE_SENT, SLICE("<ours@x>"), SLICE_NONE, SLICE_NONE, 1);
	assert_int_equal(texts(QUEUE_SENT_LOOK, SLICE("<other@x>"), SLICE("<ours@x>"), SLICE_NONE, 2), FOUND);
	assert_int_equal(texts(QUEUE_SENT_LOOK, SLICE("<other@x>"), SLICE_NONE, SLICE_NONE, 1), UNSURE);
	reopen(); /* its age is not forgotten */
	clock_test_turn_wall(15 * 86400);
	assert_int_equal(texts(QUEUE_SENT_LOOK, SLICE("<other@x>"), SLICE_NONE, SLICE_NONE, 1), ABSENT);
	clock_test_turn_wall(-15 * 86400);
}

static void an_automatic_reply_goes_once_in_its_days(void **state)
{
	(void)state;
	assert_int_equal(texts(LEDGER_REPLY_TAKE, SLICE("bob"), SLICE("eve"), SLICE("7"), 3), ABSENT);
	assert_int_equal(texts(LEDGER_REPLY_TAKE, SLICE("bob"), SLICE("eve"), SLICE("7"), 3), FOUND);
	assert_int_equal(texts(LEDGER_REPLY_TAKE, SLICE("bob"), SLICE("ann"), SLICE("7"), 3), ABSENT);
	clock_test_turn_wall(8 * 86400);
	assert_int_equal(texts(LEDGER_REPLY_TAKE, SLICE("bob"), SLICE("eve"), SLICE("7"), 3), ABSENT);
	clock_test_turn_wall(-8 * 86400);
}

static void nonsense_is_refused_at_once(void **state)
{
	static const uint16_t types[] = { LEDGER_LOOK, LEDGER_DECIDE, LEDGER_NOTE, ASK_LOOK, ASK_NOTE, QUEUE_SEEN, QUEUE_SENT };
	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		assert_true(ledger_ask(ledger, types[i], SLICE("\x07nonsense"), on_answer, NULL) < 0);
}

/* Pages of nonsense over each database in turn. */
static void a_damaged_ledger_is_begun_anew_and_told(void **state)
{
	char junk[4096];
	glob_t found;
	(void)state;
	memset(junk, 0x5a, sizeof junk);
	char pattern[128];
	snprintf(pattern, sizeof pattern, "%s/outcome*", root);
	note(source(digest_a, "", "", ""), "bob", LEDGER_DONE, MAIL_STATUS_OK, "");
	ledger_close(ledger);
	ledger = NULL;
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	int fd = open(found.gl_pathv[0], O_WRONLY | O_CLOEXEC);
	for (int k = 0; k < 4; k++)
		assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
	close(fd);
	globfree(&found);
	reopen();
	assert_int_equal(look("bob").found, LEDGER_NOTHING);
	note(source(digest_a, "", "", ""), "bob", LEDGER_DONE, MAIL_STATUS_OK, "");
	assert_int_equal(look("bob").found, LEDGER_OPEN);
	assert_int_equal(alerts, 1);
	struct ledger_counts c;
	ledger_count(ledger, &c);
	assert_int_equal(c.begun_anew, 1);
}

static void the_hints_tell_which_pairs_may_have_an_entry(void **state)
{
	struct ledger_hints h;
	(void)state;
	note(source(digest_a, "", "", ""), "bob", LEDGER_DONE, MAIL_STATUS_OK, "");
	reopen();
	ledger_hints(ledger, &h);
	for (int i = 0; i < 100 && !h.known; i++) {
		look("bob"); /* the pass over what is there goes on beside questions */
		ledger_hints(ledger, &h);
	}
	assert_true(h.known);
	assert_true(ledger_hint_hit(&h, SLICE("eve@outside.test"), SLICE("bob")));
	assert_false(ledger_hint_hit(&h, SLICE("eve@outside.test"), SLICE("ann")));
	struct ledger_hints none = { .known = false };
	assert_true(ledger_hint_hit(&none, SLICE("a"), SLICE("b")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(an_outcome_is_found_by_leaf_and_decided_by_digest), TEST(an_intent_keeps_the_file_name_over_a_restart),
		TEST(a_repeat_of_a_lost_250_needs_id_and_source), TEST(an_outcome_ends_with_its_time), TEST(a_young_ledger_is_unsure_of_what_was_not_sent),
		TEST(an_automatic_reply_goes_once_in_its_days), TEST(nonsense_is_refused_at_once), TEST(a_damaged_ledger_is_begun_anew_and_told),
		TEST(the_hints_tell_which_pairs_may_have_an_entry),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
