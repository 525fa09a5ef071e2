#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "queue/drop.h"
#include "queue/envelope.h"
#include "queue/job_proto.h"
#include "queue/journal.h"
#include "queue/queue_proto.h"

enum { MEMORY = 16 << 20 };

static struct envelope_recipient recipients[2];

static struct envelope sample(enum evidence_grade grade, enum envelope_way way)
{
	for (int i = 0; i < 2; i++)
		recipients[i] = (struct envelope_recipient){ .address = SLICE("ann@far.test"), .place = SLICE("mx:far.test"), .original = SLICE("rfc822;a+b@x.test"),
			.way = way, .notify = NOTIFY_FAILURE };
	return (struct envelope){
		.id = SLICE("0123456789bcdfgh"), .arrived_s = 1000, .expires_s = 2000, .evidence = { grade, SLICE("alice"), SLICE("logged in") },
		.reverse_path = SLICE("alice@example.test"), .envelope_id = SLICE("a b"), .priority = -4, .deliver_by_s = 1500, .deliver_by_trace = true, .return_headers = true, .client = SLICE("192.0.2.1"),
		.transaction = SLICE("t1"), .message_id = SLICE("<1@example.test>"), .recipients = recipients, .recipient_count = 2
	};
}

/* rule.md's table: foreign, relayed (hop up), relayed (hop down), forward (hop down), list; none dkim spf owner client local auth. */
static void admission_is_the_rule(void **state)
{
	static const struct {
		enum envelope_way way;
		bool down;
		const char *grades;
	} rule[] = {
		{ WAY_FOREIGN, false, "0000111" }, { WAY_FOREIGN, true, "0000111" }, { WAY_RELAYED, false, "0000111" }, { WAY_RELAYED, true, "0010111" },
		{ WAY_FORWARD, false, "0000111" }, { WAY_FORWARD, true, "0010111" }, { WAY_LIST, false, "0001000" }, { WAY_LIST, true, "0001000" },
		{ WAY_WITHHELD, false, "0000000" }, { WAY_WITHHELD, true, "0000000" }, { WAY_HELD, false, "0000000" }, { WAY_HELD, true, "0000000" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rule / sizeof *rule; i++)
		for (int grade = 0; grade < EVIDENCE_GRADES; grade++) {
			struct envelope e = sample((enum evidence_grade)grade, rule[i].way);
			assert_int_equal(envelope_admit(&e, rule[i].down).fate == MAIL_OK, rule[i].grades[grade] == '1');
		}
}

static void one_recipient_that_may_not_refuses_the_message(void **state)
{
	(void)state;
	struct envelope e = sample(EVIDENCE_SPF, WAY_RELAYED);
	recipients[1].way = WAY_FOREIGN;
	assert_int_equal(envelope_admit(&e, true).fate, MAIL_NEVER);
	e.recipient_count = 0;
	assert_int_equal(envelope_admit(&e, true).fate, MAIL_NEVER);
}

static void a_null_reverse_path_comes_in_as_a_report_only(void **state)
{
	(void)state;
	struct envelope e = sample(EVIDENCE_AUTH, WAY_FOREIGN);
	e.reverse_path = SLICE_NONE;
	assert_int_equal(envelope_admit(&e, false).fate, MAIL_NEVER);
	e.report = true;
	assert_int_equal(envelope_admit(&e, false).fate, MAIL_OK);
}

static void a_record_comes_back_as_it_was(void **state)
{
	(void)state;
	struct envelope e = sample(EVIDENCE_AUTH, WAY_FOREIGN), back;
	struct buf record = BUF_INIT(ENVELOPE_MAX);
	struct arena mem = ARENA_INIT(MEMORY);
	assert_int_equal(envelope_put(&record, &e, false), 0);
	assert_int_equal(envelope_get(buf_slice(&record), &mem, &back), 0);
	assert_true(slice_eq(back.id, e.id) && slice_eq(back.reverse_path, e.reverse_path) && slice_eq(back.envelope_id, e.envelope_id));
	assert_int_equal(back.priority, -4);
	assert_int_equal(back.deliver_by_s, 1500);
	assert_true(back.deliver_by_trace && !back.deliver_by_return && back.return_headers && !back.return_full);
	assert_int_equal(back.recipient_count, 2);
	assert_true(slice_eq(back.recipients[1].original, e.recipients[1].original));
	arena_free(&mem);
	buf_free(&record);
}

/* RFC 2852: with trace each time, in mode N where the deadline is not taken over, never against NOTIFY=NEVER. */
/* As versions before wrote it: an upgrade must not set the queue aside. Version 1 ended before return_headers, 2 before waive_tls, 3 before hold_for_s. */
static void a_record_of_a_version_before_is_read(void **state)
{
	static const char added[] = "\x24\0\0\0\1\0\x25\0\0\0\1\0\x26\0\0\0\1\0\x27\0\0\0\1"; /* return_headers 0, deliver_by_trace 0, waive_tls 0, hold_for_s */
	static const size_t from[] = { 0, 0, 12, 18 };
	struct buf record = BUF_INIT(4096);
	struct envelope e = sample(EVIDENCE_AUTH, WAY_FOREIGN), back;
	(void)state;
	e.return_headers = e.deliver_by_trace = e.waive_tls = false;
	e.hold_for_s = 0;
	assert_int_equal(envelope_put(&record, &e, false), 0);
	size_t at = slice_find_slice(buf_slice(&record), slice(added, sizeof added - 1));
	assert_true(at < record.n);
	assert_int_equal(record.p[5], ENVELOPE_VERSION);
	for (char version = 1; version < ENVELOPE_VERSION; version++) {
		struct buf old = BUF_INIT(4096);
		struct arena mem = ARENA_INIT(MEMORY);
		buf_add(&old, slice_head(buf_slice(&record), at + from[(int)version]));
		buf_add(&old, slice_skip(buf_slice(&record), at + sizeof added)); /* and the value of the last */
		old.p[5] = version;
		assert_int_equal(envelope_get(buf_slice(&old), &mem, &back), 0);
		assert_true(slice_eq(back.recipients[1].address, e.recipients[1].address) && slice_eq(back.message_id, e.message_id));
		assert_false(back.return_headers || back.deliver_by_trace || back.waive_tls);
		old.p[5] = ENVELOPE_VERSION;
		assert_int_equal(envelope_get(buf_slice(&old), &mem, &back), -EPROTO);
		record.p[5] = version;
		assert_int_equal(envelope_get(buf_slice(&record), &mem, &back), -EPROTO);
		arena_free(&mem);
		buf_free(&old);
	}
	buf_free(&record);
}

static void who_hears_that_a_message_was_handed_on(void **state)
{
	static const struct {
		bool by, back, trace, never, passed, told;
	} rows[] = {
		{ .told = false }, { .passed = true }, { .by = true, .told = true }, { .by = true, .passed = true }, { .by = true, .back = true },
		{ .by = true, .trace = true, .passed = true, .told = true }, { .by = true, .back = true, .trace = true, .passed = true, .told = true },
		{ .by = true, .never = true }, { .by = true, .trace = true, .never = true }, { .trace = true },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct envelope e = { .deliver_by_s = rows[i].by ? 1500 : 0, .deliver_by_return = rows[i].back, .deliver_by_trace = rows[i].trace };
		struct envelope_recipient r = { .notify = rows[i].never ? NOTIFY_NEVER : 0 };
		assert_int_equal(envelope_wants_relayed(&e, &r, rows[i].passed), rows[i].told);
	}
}

static void a_record_that_admission_would_refuse_is_not_read(void **state)
{
	(void)state;
	struct buf record = BUF_INIT(ENVELOPE_MAX);
	struct arena mem = ARENA_INIT(MEMORY);
	for (int grade = 0; grade <= EVIDENCE_SPF; grade++) {
		struct envelope e = sample((enum evidence_grade)grade, WAY_FOREIGN), back;
		bool down;
		buf_clear(&record);
		assert_int_equal(envelope_write(&record, &e, false), 0);
		assert_int_equal(envelope_get(buf_slice(&record), &mem, &back), -EPROTO);
		assert_int_equal(envelope_read(buf_slice(&record), &mem, &back, &down), 0); /* between processes alone */
	}
	arena_free(&mem);
	buf_free(&record);
}

/* Any reader, with every byte altered and every length cut: it refuses or it reads, it never goes past the end (the sanitizers see that). */
static void damage(struct slice record, int (*reads)(struct slice, struct arena *))
{
	struct arena mem = ARENA_INIT(MEMORY);
	char *copy = malloc(record.n);
	assert_non_null(copy);
	for (size_t i = 0; i < record.n; i++) {
		char *cut = malloc(i + 1);
		memcpy(cut, record.p, i);
		assert_true(reads(slice(cut, i), &mem) != 0 || i > 0);
		free(cut);
		for (int bit = 0; bit < 8; bit += 7) {
			memcpy(copy, record.p, record.n);
			copy[i] ^= (char)(1 << bit);
			reads(slice(copy, record.n), &mem);
		}
		arena_reset(&mem);
	}
	free(copy);
	arena_free(&mem);
}

static int reads_envelope(struct slice s, struct arena *mem)
{
	struct envelope e;
	return envelope_get(s, mem, &e);
}

static int reads_put(struct slice s, struct arena *mem)
{
	struct queue_put m;
	return queue_get_put(s, mem, &m);
}

static int reads_job(struct slice s, struct arena *mem)
{
	struct job m;
	return job_get(s, mem, &m);
}

static int reads_decided(struct slice s, struct arena *mem)
{
	struct ledger_decided m;
	return ledger_get_decided(s, mem, &m);
}

static int reads_drop(struct slice s, struct arena *mem)
{
	struct drop d;
	size_t offset;
	return drop_get(s, mem, &d, &offset);
}

static void damaged_records_are_refused_or_read_never_overread(void **state)
{
	struct buf record = BUF_INIT(ENVELOPE_MAX);
	struct envelope e = sample(EVIDENCE_AUTH, WAY_FOREIGN);
	struct queue_put put = { .transaction = SLICE("t1"), .content = SLICE(""), .envelopes = &e, .envelope_count = 1 };
	struct job_recipient to = { .index = 7, .address = SLICE("ann@far.test") };
	struct job job = { .id = SLICE("x"), .place = SLICE("mx:far.test"), .recipients = &to, .recipient_count = 1 };
	struct ledger_entry entry = { SLICE("leaf"), LEDGER_REFUSED, MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "no"), SLICE_NONE };
	struct ledger_decided decided = { FOUND, &entry, 1 };
	struct drop_recipient dropped = { SLICE("ann@far.test"), 0 };
	struct drop drop = { .reverse_path = SLICE("root@example.test"), .recipients = &dropped, .recipient_count = 1 };
	(void)state;
	envelope_put(&record, &e, false);
	damage(buf_slice(&record), reads_envelope);
	buf_clear(&record);
	assert_int_equal(queue_put_put(&record, &put), 0);
	damage(buf_slice(&record), reads_put);
	buf_clear(&record);
	assert_int_equal(job_put(&record, &job), 0);
	damage(buf_slice(&record), reads_job);
	buf_clear(&record);
	assert_int_equal(ledger_put_decided(&record, &decided), 0);
	damage(buf_slice(&record), reads_decided);
	buf_clear(&record);
	assert_int_equal(drop_put(&record, &drop), 0);
	damage(buf_slice(&record), reads_drop);
	buf_free(&record);
}

/* -- events --------------------------------------------------------------------------------------------------------------------------------- */

static void add_event(struct buf *out, enum event_kind kind, uint32_t recipient, enum mail_fate fate, int64_t next_s)
{
	static const uint16_t codes[] = { 250, 451, 550 };
	struct event e = { .kind = kind, .at_s = 1100, .next_s = next_s, .recipient = recipient, .status = { fate, codes[fate], { 1, 1 }, SLICE("its words") },
		.host = SLICE("mx.far.test[192.0.2.1]:25") };
	assert_int_equal(event_put(out, &e), 0);
}

static void the_state_is_the_envelope_and_its_events(void **state)
{
	struct envelope e = sample(EVIDENCE_AUTH, WAY_FOREIGN);
	struct buf journal = BUF_INIT(1 << 16);
	struct arena mem = ARENA_INIT(MEMORY);
	struct message_state m;
	size_t used;
	(void)state;
	add_event(&journal, EVENT_LATER, 0, MAIL_LATER, 1300);
	add_event(&journal, EVENT_DONE, 1, MAIL_OK, 0);
	add_event(&journal, EVENT_HOLD, EVENT_ALL_RECIPIENTS, MAIL_OK, 0);
	assert_int_equal(journal_fold(&e, buf_slice(&journal), &mem, &m, &used), 0);
	assert_int_equal(used, journal.n);
	assert_int_equal(m.waiting, 1);
	assert_true(m.held);
	assert_int_equal(m.recipients[0].next_s, 1300);
	assert_int_equal(m.recipients[0].attempts, 1);
	assert_true(slice_eq(m.recipients[0].status.text, SLICE("its words")));
	assert_int_equal(m.recipients[1].fate, RECIPIENT_DONE);
	arena_free(&mem);
	buf_free(&journal);
}

static void what_is_done_stays_done(void **state)
{
	struct envelope e = sample(EVIDENCE_AUTH, WAY_FOREIGN);
	struct buf journal = BUF_INIT(1 << 16);
	struct arena mem = ARENA_INIT(MEMORY);
	struct message_state m;
	size_t used;
	(void)state;
	add_event(&journal, EVENT_DONE, 0, MAIL_OK, 0);
	add_event(&journal, EVENT_FAILED, 0, MAIL_NEVER, 0);
	add_event(&journal, EVENT_LATER, 99, MAIL_LATER, 0); /* nobody */
	assert_int_equal(journal_fold(&e, buf_slice(&journal), &mem, &m, &used), 0);
	assert_int_equal(m.recipients[0].fate, RECIPIENT_DONE);
	assert_int_equal(m.waiting, 1);
	arena_free(&mem);
	buf_free(&journal);
}

static void a_torn_end_is_left_out(void **state)
{
	struct envelope e = sample(EVIDENCE_AUTH, WAY_FOREIGN);
	struct buf journal = BUF_INIT(1 << 16);
	struct arena mem = ARENA_INIT(MEMORY);
	struct message_state m;
	size_t used;
	(void)state;
	add_event(&journal, EVENT_LATER, 0, MAIL_LATER, 1300);
	size_t sound = journal.n;
	add_event(&journal, EVENT_DONE, 1, MAIL_OK, 0);
	for (size_t n = sound; n < journal.n; n++) {
		assert_int_equal(journal_fold(&e, slice(journal.p, n), &mem, &m, &used), 0);
		assert_int_equal(used, sound);
		assert_int_equal(m.waiting, 2);
		arena_reset(&mem);
	}
	journal.p[journal.n - 1] ^= 1;
	assert_int_equal(journal_fold(&e, buf_slice(&journal), &mem, &m, &used), 0);
	assert_int_equal(used, sound);
	arena_free(&mem);
	buf_free(&journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(admission_is_the_rule),
		cmocka_unit_test(one_recipient_that_may_not_refuses_the_message),
		cmocka_unit_test(a_null_reverse_path_comes_in_as_a_report_only),
		cmocka_unit_test(a_record_comes_back_as_it_was),
		cmocka_unit_test(who_hears_that_a_message_was_handed_on),
		cmocka_unit_test(a_record_that_admission_would_refuse_is_not_read),
		cmocka_unit_test(damaged_records_are_refused_or_read_never_overread),
		cmocka_unit_test(the_state_is_the_envelope_and_its_events),
		cmocka_unit_test(what_is_done_stays_done),
		cmocka_unit_test(a_torn_end_is_left_out),
		cmocka_unit_test(a_record_of_a_version_before_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
