/* Records to and from the process `delivery`: what was written is read back; nothing else is taken. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/field.h"
#include "delivery/hop_proto.h"

static const struct hop_envelope envelope = {
	.transaction = SLICE_INIT("T_1-x"), .place = SLICE_INIT("mx:far.test"), .route = SLICE_INIT("mx\ttls=dane"), .reverse_path = SLICE_INIT("a@b"),
	.envelope_id = SLICE_INIT("id"), .size = 900, .flags = HOP_8BIT | HOP_RETURN_HEADERS | HOP_BY_TRACE, .budget_ms = 1234,
	.deliver_by_s = 1500, .priority = 19
};
static struct hop_recipient recipient = { SLICE_INIT("u@far.test"), SLICE_INIT("rfc822;u@x"), 6 };
static const struct hop_facts facts = { SLICE_INIT("mx.far.test"), SLICE_INIT("192.0.2.1:25"), SLICE_INIT("TLSv1.3"), true, true, true, true, true };

static void assert_slice(struct slice a, struct slice b)
{
	assert_true(slice_eq(a, b));
}

static void assert_facts(const struct hop_facts *f)
{
	assert_slice(f->host, facts.host);
	assert_slice(f->address, facts.address);
	assert_slice(f->tls, facts.tls);
	assert_true(f->down && f->dot_sent && f->unknown && f->dsn && f->deliver_by);
}

static void assert_envelope(const struct hop_envelope *e)
{
	assert_slice(e->transaction, envelope.transaction);
	assert_slice(e->place, envelope.place);
	assert_slice(e->route, envelope.route);
	assert_slice(e->reverse_path, envelope.reverse_path);
	assert_slice(e->envelope_id, envelope.envelope_id);
	assert_true(e->size == 900 && e->flags == envelope.flags && e->budget_ms == 1234);
}

static void assert_recipient(const struct hop_recipient *r)
{
	assert_slice(r->address, recipient.address);
	assert_slice(r->original, recipient.original);
	assert_int_equal(r->notify, 6);
}

static void the_questions_of_a_transaction_come_back(void **state)
{
	struct buf b = BUF_INIT(100000);
	struct hop_envelope e;
	struct hop_rcpt r = { SLICE("T"), recipient, true };
	struct hop_content c = { .transaction = SLICE("T"), .budget_ms = 5, .eight_bit = true, .from_file = true, .lf_ends = true, .offset = 7, .length = 9, .digest = SLICE("digest"), .named = true };
	(void)state;
	assert_int_equal(hop_put_envelope(&b, &envelope), 0);
	assert_int_equal(hop_get_envelope(buf_slice(&b), &e), 0);
	assert_envelope(&e);
	buf_clear(&b);
	assert_int_equal(hop_put_rcpt(&b, &r), 0);
	assert_int_equal(hop_get_rcpt(buf_slice(&b), &r), 0);
	assert_recipient(&r.recipient);
	assert_true(r.ask);
	buf_clear(&b);
	assert_int_equal(hop_put_content(&b, &c), 0);
	assert_int_equal(hop_get_content(buf_slice(&b), &c), 0);
	assert_true(c.from_file && c.lf_ends && c.eight_bit && c.offset == 7 && c.length == 9 && c.budget_ms == 5 && slice_eq(c.digest, SLICE("digest")) && c.named);
	buf_add_byte(&b, 'x'); /* content beside a file */
	assert_int_equal(hop_get_content(buf_slice(&b), &c), -EPROTO);
	buf_free(&b);
}

static void inline_content_follows_its_head(void **state)
{
	struct buf b = BUF_INIT(100000);
	struct hop_content c = { .transaction = SLICE("T") };
	(void)state;
	hop_put_content(&b, &c);
	buf_add(&b, SLICE("a\r\n"));
	assert_int_equal(hop_get_content(buf_slice(&b), &c), 0);
	assert_slice(c.content, SLICE("a\r\n"));
	buf_free(&b);
}

static void the_answers_of_a_transaction_come_back(void **state)
{
	struct buf b = BUF_INIT(100000);
	struct arena mem = ARENA_INIT(0);
	struct mail_status each[2] = { MAIL_STATUS_OK, MAIL_STATUS(MAIL_NEVER, 550, 1, 1, "No such user") };
	struct hop_rcpt_done r = { MAIL_STATUS_OK, facts, true, true };
	struct hop_late late = { SLICE("T"), { MAIL_STATUS_UNSURE("Mixed"), true, each, 2, facts } };
	(void)state;
	assert_int_equal(hop_put_rcpt_done(&b, &r), 0);
	assert_int_equal(hop_get_rcpt_done(buf_slice(&b), &r), 0);
	assert_facts(&r.facts);
	assert_true(r.accept_all);
	buf_clear(&b);
	assert_int_equal(hop_put_late(&b, &late), 0);
	assert_int_equal(hop_get_late(buf_slice(&b), &mem, &late), 0);
	assert_true(late.done.mixed && late.done.count == 2);
	assert_slice(late.done.each[1].text, SLICE("No such user"));
	assert_facts(&late.done.facts);
	buf_clear(&b);
	assert_int_equal(hop_put_content_done(&b, &late.done), 0);
	assert_int_equal(hop_get_content_done(buf_slice(&b), &mem, &late.done), 0);
	assert_int_equal(late.done.each[1].code, 550);
	arena_free(&mem);
	buf_free(&b);
}

static void a_line_end_in_an_address_is_refused(void **state)
{
	static const char *const bad[] = { "", "a\r@b", "a@b\nRCPT TO:<x>", "a\x7f@b" };
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf b = BUF_INIT(1000);
		struct hop_rcpt r = { SLICE("T"), { slice_of(bad[i]), SLICE_NONE, 0 }, false };
		hop_put_rcpt(&b, &r);
		assert_int_equal(hop_get_rcpt(buf_slice(&b), &r), -EPROTO);
		buf_free(&b);
	}
}

/* Cut at every byte and with every byte changed: never read past the end, never a crash; a cut one is never taken. */
static void damaged_records_are_refused_or_read_within_bounds(void **state)
{
	struct buf b = BUF_INIT(100000);
	struct arena mem = ARENA_INIT(0);
	struct hop_late late = { SLICE("T"), { MAIL_STATUS_UNSURE("Mixed"), true, (struct mail_status[]){ MAIL_STATUS_OK }, 1, facts } };
	(void)state;
	assert_int_equal(hop_put_late(&b, &late), 0);
	for (size_t n = 0; n < b.n; n++) {
		char *copy = malloc(n ? n : 1);
		memcpy(copy, b.p, n);
		assert_int_equal(hop_get_late(slice(copy, n), &mem, &late), -EPROTO);
		free(copy);
	}
	for (size_t i = 0; i < b.n; i++) {
		char *copy = malloc(b.n);
		memcpy(copy, b.p, b.n);
		copy[i] ^= (char)0x81;
		hop_get_late(slice(copy, b.n), &mem, &late);
		free(copy);
	}
	arena_free(&mem);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_questions_of_a_transaction_come_back), cmocka_unit_test(inline_content_follows_its_head),
		cmocka_unit_test(the_answers_of_a_transaction_come_back),
		cmocka_unit_test(a_line_end_in_an_address_is_refused),
		cmocka_unit_test(damaged_records_are_refused_or_read_within_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
