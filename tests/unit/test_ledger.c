/* The ledger: what it remembers, for whom, how long. */
#include "ledger_kit.h"

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

static void who_held_others_up_is_left_out_once(void **state)
{
	(void)state;
	note(S("a@x", 1), "u@y", LEDGER_HELD_UP, OK, "");
	assert_string_equal(decide(S("a@x", 1), "u@y"), "unknown");
	assert_int_equal(look("b@x", "u@y"), LEDGER_NOTHING);
	assert_int_equal(look("a@x", "u@y"), LEDGER_LEFT_OUT);
	assert_int_equal(look("a@x", "u@y"), LEDGER_NOTHING);
	note(S("a@x", 2), "u@y", LEDGER_DONE, OK, "");
	note(S("a@x", 2), "u@y", LEDGER_HELD_UP, OK, "");           /* what is known for sure stays */
	assert_int_equal(look("a@x", "u@y"), LEDGER_OPEN);
	note(S("a@x", 3), "u@y", LEDGER_HELD_UP, OK, "");
	assert_int_equal(look("a@x", "u@y"), LEDGER_LEFT_OUT);       /* before it travels alone */
	assert_int_equal(look("a@x", "u@y"), LEDGER_OPEN);
	assert_string_equal(decide(S("a@x", 2), "u@y"), "done");
	note(S("a@x", 4), "v@y", LEDGER_HELD_UP, OK, "");
	note(S("a@x", 4), "v@y", LEDGER_LOST, OK, "");              /* it has it since: that is known now */
	assert_string_equal(decide(S("a@x", 4), "v@y"), "done");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(an_outcome_is_for_one_sender_one_leaf_and_one_content),
		EACH(what_was_told_counts_only_for_the_same_message_id_and_source),
		EACH(who_held_others_up_is_left_out_once),
		EACH(what_is_cleared_is_forgotten),
		EACH(refusals_keep_the_hops_words_and_intents_their_names),
		EACH(a_lost_250_is_swallowed_only_from_the_same_source),
		EACH(outcomes_end_with_their_time),
		EACH(one_reply_in_so_many_days),
		EACH(a_hops_word_is_believed_long_when_good_and_short_when_bad),
		EACH(nonsense_is_refused_at_once),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
