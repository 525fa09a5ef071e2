/* The ledger: what it remembers, for whom, how long; over a restart and over damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/ledger.h"

static struct loop *loop;
static struct ledger *ledger;
static char folder[40];
static unsigned alerts;
static struct ledger_limits limits = { .entries = 100000, .outcome_s = 5 * 86400, .sent_s = 14 * 86400, .seen_s = 30 * 86400, .ask_s = 7 * 86400,
	.ask_refused_s = 600, .lost_s = 4 * 3600 };

static void alert(void *arg, struct slice text)
{
	(void)arg, (void)text;
	alerts++;
}

static void answered(void *arg, struct buf *answer)
{
	struct buf *kept = arg;
	buf_clear(kept);
	buf_add(kept, buf_slice(answer));
	loop_stop(loop);
}

/* Asks and waits; in is freed. */
static void ask(uint16_t type, struct buf *in, struct buf *out)
{
	assert_int_equal(ledger_ask(ledger, type, buf_slice(in), answered, out), 0);
	buf_free(in);
	loop_run(loop);
}

static void open_ledger(void)
{
	assert_int_equal(ledger_open(loop, folder, &limits, alert, NULL, &ledger), 0);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/porter-ledger-XXXXXX");
	assert_non_null(mkdtemp(folder));
	alerts = 0;
	open_ledger();
	return 0;
}

static int tear_down(void **state)
{
	char command[100];
	(void)state;
	ledger_close(ledger);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

/* -- short forms -------------------------------------------------------------------------------------------------------------------------------- */

static struct ledger_source source(const char *path, char digest, const char *id, const char *network, const char *domain)
{
	static char digests[256][QUEUE_DIGEST];
	memset(digests[(unsigned char)digest], digest, QUEUE_DIGEST);
	return (struct ledger_source){ slice_of(path), slice(digests[(unsigned char)digest], QUEUE_DIGEST), slice_of(id), slice_of(network), slice_of(domain) };
}

static void note(struct ledger_source s, const char *leaf, enum ledger_fate fate, struct mail_status status, const char *name)
{
	struct ledger_entry e = { slice_of(leaf), fate, status, slice_of(name) };
	struct ledger_note m = { s, LEDGER_NOTE_FIRM, &e, 1 };
	struct buf in = BUF_INIT(65536), out = BUF_INIT(65536);
	struct mail_status said;
	ledger_put_note(&in, &m);
	ask(LEDGER_NOTE, &in, &out);
	assert_true(queue_get_status(buf_slice(&out), &said) == 0 && said.fate == MAIL_OK);
	buf_free(&out);
}

static enum ledger_found look(const char *path, const char *leaf)
{
	struct ledger_look m = { slice_of(path), slice_of(leaf) };
	struct ledger_looked said;
	struct buf in = BUF_INIT(65536), out = BUF_INIT(65536);
	ledger_put_look(&in, &m);
	ask(LEDGER_LOOK, &in, &out);
	assert_true(ledger_get_looked(buf_slice(&out), &said) == 0 && said.answer == FOUND);
	buf_free(&out);
	return said.found;
}

static char words[400];

/* "done", "refused 550 5.7.1 text", "intent NAME", "unknown" */
static const char *decide(struct ledger_source s, const char *leaf)
{
	struct slice leaves[1] = { slice_of(leaf) };
	struct ledger_decide m = { s, leaves, 1 };
	struct ledger_decided said;
	struct arena mem = ARENA_INIT(1 << 20);
	struct buf in = BUF_INIT(65536), out = BUF_INIT(65536);
	ledger_put_decide(&in, &m);
	ask(LEDGER_DECIDE, &in, &out);
	assert_true(ledger_get_decided(buf_slice(&out), &mem, &said) == 0 && said.answer == FOUND && said.count == 1);
	const struct ledger_entry *e = &said.entries[0];
	static const char *const fates[] = { "unknown", "done", "refused", "intent", "lost" };
	snprintf(words, sizeof words, "%s", fates[e->fate]);
	if (e->fate == LEDGER_REFUSED)
		snprintf(words, sizeof words, "refused %u %u.%u %.*s", e->status.code, e->status.enhanced[0], e->status.enhanced[1], SLICE_FMT(e->status.text));
	if (e->fate == LEDGER_INTENT)
		snprintf(words, sizeof words, "intent %.*s", SLICE_FMT(e->name));
	arena_free(&mem);
	buf_free(&out);
	return words;
}

static enum answer texts(uint16_t type, const char *a, const char *b, const char *c)
{
	struct slice list[3] = { slice_of(a), slice_of(b), slice_of(c) };
	struct buf in = BUF_INIT(65536), out = BUF_INIT(65536);
	enum answer said = UNSURE;
	queue_put_texts(&in, list, c ? 3 : b ? 2 : 1);
	ask(type, &in, &out);
	if (type != QUEUE_SENT)
		assert_int_equal(queue_get_answer(buf_slice(&out), &said), 0);
	buf_free(&out);
	return said;
}

#define OK MAIL_STATUS_OK
#define S(path, digest) source(path, digest, "<1@a>", "192.0.2.0/24", "")

/* -- outcomes ---------------------------------------------------------------------------------------------------------------------------------- */

static void an_outcome_is_for_one_sender_one_leaf_and_one_content(void **state)
{
	(void)state;
	assert_int_equal(look("a@x", "u@y"), LEDGER_NOTHING);
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	assert_int_equal(look("a@x", "u@y"), LEDGER_OPEN);
	assert_int_equal(look("b@x", "u@y"), LEDGER_NOTHING);
	assert_int_equal(look("a@x", "v@y"), LEDGER_NOTHING);
	assert_string_equal(decide(S("a@x", 2), "u@y"), "unknown"); /* another message of the same sender */
	assert_string_equal(decide(S("b@x", 1), "u@y"), "unknown");
	assert_string_equal(decide(S("a@x", 1), "u@y"), "done");
	assert_int_equal(look("a@x", "u@y"), LEDGER_MAYBE);         /* told: the next need not travel alone, and it is known still */
	assert_string_equal(decide(S("a@x", 1), "u@y"), "done");
}

static void what_was_told_counts_only_for_the_same_message_id_and_source(void **state)
{
	(void)state;
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	assert_string_equal(decide(source("a@x", 1, "", "", ""), "u@y"), "done");            /* open: its digest is enough */
	assert_string_equal(decide(source("a@x", 1, "", "192.0.2.0/24", ""), "u@y"), "unknown");
	assert_string_equal(decide(source("a@x", 1, "<1@a>", "198.51.100.0/24", ""), "u@y"), "unknown");
	assert_string_equal(decide(S("a@x", 1), "u@y"), "done");
	note(source("a@x", 2, "", "192.0.2.0/24", ""), "v@y", LEDGER_DONE, OK, "");
	assert_string_equal(decide(source("a@x", 2, "", "192.0.2.0/24", ""), "v@y"), "done");
	assert_int_equal(look("a@x", "v@y"), LEDGER_NOTHING);                                  /* an alarm that says the same tomorrow */
	note(S("a@x", 3), "w@y", LEDGER_REFUSED, MAIL_STATUS(MAIL_NEVER, 554, 7, 1, "no"), "");
	assert_string_equal(decide(S("a@x", 3), "w@y"), "refused 554 7.1 no");
	assert_int_equal(look("a@x", "w@y"), LEDGER_NOTHING);                                  /* who comes again hears it from the hop */
}

static void what_is_cleared_is_forgotten(void **state)
{
	struct slice leaves[2] = { SLICE("u@y"), SLICE("never noted") };
	struct ledger_decide m = { S("a@x", 1), leaves, 2 };
	struct buf in = BUF_INIT(65536), out = BUF_INIT(65536);
	(void)state;
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	note(S("a@x", 2), "u@y", LEDGER_DONE, OK, "");
	ledger_put_decide(&in, &m);
	ask(LEDGER_CLEAR, &in, &out);
	buf_free(&out);
	assert_string_equal(decide(S("a@x", 1), "u@y"), "unknown");
	assert_string_equal(decide(S("a@x", 2), "u@y"), "done");
}

static void refusals_keep_the_hops_words_and_intents_their_names(void **state)
{
	(void)state;
	note(S("a@x", 1), "u@y", LEDGER_REFUSED, MAIL_STATUS(MAIL_NEVER, 554, 7, 1, "We do not like this"), "");
	note(S("a@x", 1), "v@y", LEDGER_INTENT, OK, "1m12file");
	assert_string_equal(decide(S("a@x", 1), "u@y"), "refused 554 7.1 We do not like this");
	assert_string_equal(decide(S("a@x", 1), "v@y"), "intent 1m12file");
	assert_int_equal(look("a@x", "v@y"), LEDGER_MAYBE);
	assert_string_equal(decide(S("a@x", 1), "v@y"), "intent 1m12file"); /* asked again: its answer was lost */
	note(S("a@x", 1), "v@y", LEDGER_DONE, OK, "");
	assert_string_equal(decide(S("a@x", 1), "v@y"), "done");
}

static void a_lost_250_is_swallowed_only_from_the_same_source(void **state)
{
	(void)state;
	note(source("a@x", 1, "<1@a>", "192.0.2.0/24", "x.test"), "u@y", LEDGER_LOST, OK, "");
	assert_int_equal(look("a@x", "u@y"), LEDGER_MAYBE);
	assert_string_equal(decide(source("a@x", 1, "", "192.0.2.0/24", "x.test"), "u@y"), "unknown");
	assert_string_equal(decide(source("a@x", 1, "<2@a>", "192.0.2.0/24", "x.test"), "u@y"), "unknown");
	assert_string_equal(decide(source("a@x", 1, "<1@a>", "198.51.100.0/24", ""), "u@y"), "unknown");
	assert_string_equal(decide(source("a@x", 1, "<1@a>", "198.51.100.0/24", "x.test"), "u@y"), "done");
	assert_string_equal(decide(source("a@x", 1, "<1@a>", "192.0.2.0/24", ""), "u@y"), "done");
	note(source("a@x", 2, "", "192.0.2.0/24", ""), "u@y", LEDGER_LOST, OK, ""); /* no Message-ID: an alarm that says the same each day */
	assert_string_equal(decide(source("a@x", 2, "", "192.0.2.0/24", ""), "u@y"), "unknown");
	clock_test_turn_wall((int64_t)limits.lost_s + 1);
	assert_string_equal(decide(source("a@x", 1, "<1@a>", "192.0.2.0/24", ""), "u@y"), "unknown");
	clock_test_turn_wall(-(int64_t)limits.lost_s - 1);
	note(S("a@x", 3), "u@y", LEDGER_DONE, OK, "");
	note(S("a@x", 3), "u@y", LEDGER_LOST, OK, ""); /* what is known for sure stays */
	assert_string_equal(decide(source("a@x", 3, "", "", ""), "u@y"), "done");
}

static void outcomes_end_with_their_time(void **state)
{
	(void)state;
	note(S("a@x", 1), "u@y", LEDGER_DONE, OK, "");
	clock_test_turn_wall((int64_t)limits.outcome_s + 1);
	assert_int_equal(look("a@x", "u@y"), LEDGER_NOTHING);
	assert_string_equal(decide(S("a@x", 1), "u@y"), "unknown");
	clock_test_turn_wall(-(int64_t)limits.outcome_s - 1);
}

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

/* -- the other tables ----------------------------------------------------------------------------------------------------------------------------- */

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

static void one_reply_in_so_many_days(void **state)
{
	(void)state;
	assert_int_equal(texts(LEDGER_REPLY_TAKE, "u@y", "a@x", "7"), ABSENT);
	assert_int_equal(texts(LEDGER_REPLY_TAKE, "u@y", "a@x", "7"), FOUND);
	assert_int_equal(texts(LEDGER_REPLY_TAKE, "u@y", "b@x", "7"), ABSENT);
	clock_test_turn_wall(8 * 86400);
	assert_int_equal(texts(LEDGER_REPLY_TAKE, "u@y", "a@x", "7"), ABSENT);
	clock_test_turn_wall(-8 * 86400);
}

static struct ask_looked ask_look(const char *address)
{
	struct ask_looked said;
	struct buf in = BUF_INIT(4096), out = BUF_INIT(4096);
	ask_put_look(&in, slice_of(address), SLICE("[h]:25"));
	ask(ASK_LOOK, &in, &out);
	assert_int_equal(ask_get_looked(buf_slice(&out), &said), 0);
	said.status.text = SLICE("");
	buf_free(&out);
	return said;
}

static void ask_note_it(const char *address, struct mail_status status)
{
	struct ask_note m = { slice_of(address), SLICE("[h]:25"), status, false };
	struct buf in = BUF_INIT(4096), out = BUF_INIT(4096);
	ask_put_note(&in, &m);
	ask(ASK_NOTE, &in, &out);
	buf_free(&out);
}

static void a_hops_word_is_believed_long_when_good_and_short_when_bad(void **state)
{
	(void)state;
	ask_note_it("good@r", OK);
	ask_note_it("bad@r", MAIL_STATUS(MAIL_NEVER, 550, 1, 1, "no"));
	ask_note_it("full@r", MAIL_STATUS(MAIL_NEVER, 552, 2, 2, "full"));
	ask_note_it("later@r", MAIL_STATUS(MAIL_LATER, 450, 1, 1, "later"));
	assert_true(ask_look("good@r").answer == FOUND && ask_look("good@r").status.fate == MAIL_OK);
	assert_true(ask_look("bad@r").answer == FOUND && ask_look("bad@r").status.code == 550);
	assert_int_equal(ask_look("full@r").answer, ABSENT); /* only 5.1.x says something about the address */
	assert_int_equal(ask_look("later@r").answer, ABSENT);
	clock_test_turn_wall(601);
	assert_int_equal(ask_look("bad@r").answer, ABSENT);
	assert_int_equal(ask_look("good@r").answer, FOUND);
	clock_test_turn_wall(4 * 86400);
	assert_int_equal(ask_look("good@r").answer, FOUND);
	clock_test_turn_wall(4 * 86400);
	assert_int_equal(ask_look("good@r").answer, ABSENT);
	clock_test_turn_wall(-601 - 8 * 86400);
}

/* -- restarts, damage, hints ------------------------------------------------------------------------------------------------------------------------ */

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

static void nonsense_is_refused_at_once(void **state)
{
	(void)state;
	static const uint16_t types[] = { LEDGER_LOOK, LEDGER_DECIDE, LEDGER_NOTE, ASK_LOOK, QUEUE_SENT_LOOK, LEDGER_SEEN_LOOK };
	struct buf out = BUF_INIT(65536);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		assert_int_equal(ledger_ask(ledger, types[i], SLICE("\xff\xff\xff\xff\xffnonsense"), answered, &out), -EPROTO);
	assert_int_equal(look("a@x", "u@y"), LEDGER_NOTHING);
	buf_free(&out);
}

static int start(void **state)
{
	(void)state;
	log_open(open("/dev/null", O_WRONLY), LOG_FORM_TEXT, "test");
	loop = loop_new();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(an_outcome_is_for_one_sender_one_leaf_and_one_content), EACH(refusals_keep_the_hops_words_and_intents_their_names),
		EACH(what_was_told_counts_only_for_the_same_message_id_and_source), EACH(what_is_cleared_is_forgotten), EACH(a_lost_250_is_swallowed_only_from_the_same_source), EACH(outcomes_end_with_their_time), EACH(past_its_number_the_oldest_go_first_and_soon), EACH(a_young_ledger_of_sent_mail_is_unsure), EACH(a_longer_window_is_unsure_of_what_a_shorter_one_has_cut),
		EACH(a_clock_that_was_set_makes_it_unsure), EACH(what_could_not_be_noted_is_unsure_also_after_a_restart),
		EACH(one_reply_in_so_many_days), EACH(a_hops_word_is_believed_long_when_good_and_short_when_bad), EACH(everything_is_there_after_a_restart),
		EACH(a_damaged_ledger_is_begun_anew_and_says_so), EACH(damage_within_it_is_begun_anew_too), EACH(nonsense_is_refused_at_once),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
