/* Asking the process `resolver`: what goes over the channel comes back as it was, and neither a restart nor nonsense costs more than its own questions. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/dns.h"
#include "base/dns_cache.h"
#include "base/dns_proto.h"
#include "base/field.h"
#include "base/ipc.h"
#include "base/mem.h"

enum { PATIENCE_MS = 20000, SHORT_MS = 150 };

static struct loop *loop;

/* Both ends: the asker's struct dns, and what the test plays at the other one. */
struct resolver {
	struct ipc *channel;
	uint64_t ids[8];
	size_t asked, dropped;
	char name[256];
	enum dns_type type;
};

struct heard {
	size_t answers;
	enum answer answer;
	bool nxdomain, secure;
	char why[32], canonical[64], first[64];
	uint16_t preference;
	size_t count;
	uint32_t ttl_s;
};

static int from_asker(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct resolver *r = arg;
	struct slice name;
	(void)from;
	if (m->type == DNS_DROP) {
		r->dropped++;
	} else {
		assert_true(m->type == DNS_ASK && dns_get_question(m->payload, &r->type, &name) && r->asked < 8);
		memcpy(r->name, name.p, name.n);
		r->name[name.n] = 0;
		r->ids[r->asked++] = m->id;
	}
	loop_stop(loop);
	return 0;
}

static void asker_gone(void *arg, struct ipc *which)
{
	struct resolver *r = arg;
	ipc_free(which);
	r->channel = NULL;
	loop_stop(loop);
}

static void begin(struct resolver *r, struct dns *d)
{
	static const struct ipc_handler handler = { from_asker, asker_gone };
	int fds[2];
	*r = (struct resolver){ 0 };
	assert_int_equal(ipc_pair(fds), 0);
	r->channel = ipc_new(loop, fds[0], &handler, r);
	dns_attach(d, fds[1]);
}

static void on_answer(void *arg, const struct dns_answer *a)
{
	struct heard *h = arg;
	h->answers++;
	h->answer = a->answer, h->nxdomain = a->nxdomain, h->secure = a->secure, h->count = a->count, h->ttl_s = a->ttl_s;
	snprintf(h->why, sizeof h->why, "%s", a->why ? a->why : "");
	snprintf(h->canonical, sizeof h->canonical, "%.*s", SLICE_FMT(a->canonical));
	if (a->count) {
		snprintf(h->first, sizeof h->first, "%.*s", SLICE_FMT(a->records[0].data));
		h->preference = a->records[0].preference;
	}
	loop_stop(loop);
}

static void answer(struct resolver *r, uint64_t id, const struct dns_answer *a)
{
	struct buf b = BUF_INIT(DNS_MAX_PAYLOAD);
	dns_put_answer(&b, a);
	assert_int_equal(ipc_send(r->channel, DNS_ANSWER, id, buf_slice(&b), -1), 0);
	buf_free(&b);
}

static void until_asked(const struct resolver *r, size_t times)
{
	while (r->asked < times)
		loop_run(loop);
}

static void until_answered(const struct heard *h, size_t times)
{
	while (h->answers < times)
		loop_run(loop);
}

static void an_answer_comes_as_it_was_given(void **state)
{
	(void)state;
	struct dns *d = dns_new_asking(loop, PATIENCE_MS);
	struct resolver r;
	struct heard h = { 0 };
	struct dns_record records[2] = { { 10, SLICE("mx.example.test") }, { 0, SLICE("") } };
	begin(&r, d);
	dns_ask(d, DNS_MX, SLICE("Example.TEST"), on_answer, &h);
	until_asked(&r, 1);
	assert_true(r.type == DNS_MX);
	assert_string_equal(r.name, "example.test");
	answer(&r, r.ids[0], &(struct dns_answer){ .answer = FOUND, .secure = true, .ttl_s = 300, .canonical = SLICE("other.test"), .records = records, .count = 2 });
	until_answered(&h, 1);
	assert_true(h.answer == FOUND && h.secure && !h.nxdomain && h.count == 2 && h.preference == 10 && h.ttl_s == 300);
	assert_string_equal(h.first, "mx.example.test");
	assert_string_equal(h.canonical, "other.test");
	dns_ask(d, DNS_TXT, SLICE("gone.test"), on_answer, &h);
	until_asked(&r, 2);
	answer(&r, r.ids[1], &(struct dns_answer){ .answer = UNSURE, .why = "bogus" });
	until_answered(&h, 2);
	assert_true(h.answer == UNSURE);
	assert_string_equal(h.why, "bogus");
	ipc_free(r.channel);
	dns_free(d);
}

static void what_was_just_answered_is_not_asked_again(void **state)
{
	(void)state;
	struct dns *d = dns_new_asking(loop, PATIENCE_MS);
	struct resolver r;
	struct heard h = { 0 };
	struct dns_record record = { 0, SLICE("v=spf1 -all") };
	begin(&r, d);
	dns_ask(d, DNS_TXT, SLICE("a.test"), on_answer, &h);
	until_asked(&r, 1);
	answer(&r, r.ids[0], &(struct dns_answer){ .answer = FOUND, .ttl_s = 60, .records = &record, .count = 1 });
	until_answered(&h, 1);
	dns_ask(d, DNS_TXT, SLICE("A.test"), on_answer, &h);
	dns_cancel(dns_ask(d, DNS_TXT, SLICE("a.test"), on_answer, &h));
	assert_int_equal(h.answers, 1); /* never from inside the asking */
	until_answered(&h, 2);
	assert_true(h.answer == FOUND && h.ttl_s <= 60 && r.asked == 1);
	assert_string_equal(h.first, "v=spf1 -all");
	dns_ask(d, DNS_A, SLICE("a.test"), on_answer, &h); /* another type is another question */
	until_asked(&r, 2);
	answer(&r, r.ids[1], &(struct dns_answer){ .answer = UNSURE, .why = "servfail", .ttl_s = 60 });
	until_answered(&h, 3);
	dns_ask(d, DNS_A, SLICE("a.test"), on_answer, &h); /* what could not be told is asked again */
	until_asked(&r, 3);
	ipc_free(r.channel);
	dns_free(d);
}

static void the_cache_forgets_in_time_and_is_bounded(void **state)
{
	(void)state;
	struct dns_cache *c = dns_cache_new();
	uint32_t age_s = 0;
	char key[32];
	size_t found = 0;
	dns_cache_put(c, SLICE("k"), SLICE("v"), 5000, 10);
	assert_true(slice_eq(dns_cache_find(c, SLICE("k"), 14999, &age_s), SLICE("v")) && age_s == 9);
	assert_null(dns_cache_find(c, SLICE("k"), 15000, &age_s).p);
	dns_cache_put(c, SLICE("k"), SLICE("w"), 5000, 1000000);
	assert_true(slice_eq(dns_cache_find(c, SLICE("k"), 5000, &age_s), SLICE("w")));
	assert_null(dns_cache_find(c, SLICE("k"), 5000 + 1000 * DNS_CACHE_MAX_S, &age_s).p);
	dns_cache_put(c, SLICE("none"), SLICE("v"), 5000, 0);
	assert_null(dns_cache_find(c, SLICE("none"), 5000, &age_s).p);
	for (int i = 0; i < 10000; i++) {
		snprintf(key, sizeof key, "key%d", i);
		dns_cache_put(c, slice_of(key), SLICE("v"), 6000, 60);
	}
	for (int i = 0; i < 10000; i++) {
		snprintf(key, sizeof key, "key%d", i);
		found += dns_cache_find(c, slice_of(key), 6000, &age_s).p != NULL;
	}
	assert_in_range(found, DNS_CACHE_ENTRIES / 2, DNS_CACHE_ENTRIES);
	dns_cache_free(c);
}

static void what_is_open_is_asked_again_after_a_restart(void **state)
{
	(void)state;
	struct dns *d = dns_new_asking(loop, PATIENCE_MS);
	struct resolver first, second;
	struct heard h = { 0 };
	dns_ask(d, DNS_A, SLICE("early.test"), on_answer, &h); /* before there is a channel */
	begin(&first, d);
	until_asked(&first, 1);
	ipc_free(first.channel);
	begin(&second, d);
	until_asked(&second, 1);
	assert_string_equal(second.name, "early.test");
	answer(&second, second.ids[0], &(struct dns_answer){ .answer = ABSENT, .nxdomain = true });
	until_answered(&h, 1);
	assert_true(h.answer == ABSENT && h.nxdomain);
	ipc_free(second.channel);
	dns_free(d);
}

static void a_question_that_nobody_answers_ends_with_its_time(void **state)
{
	(void)state;
	struct dns *d = dns_new_asking(loop, SHORT_MS);
	struct resolver r;
	struct heard h = { 0 };
	begin(&r, d);
	dns_ask(d, DNS_A, SLICE("slow.test"), on_answer, &h);
	while (!h.answers || !r.dropped)
		loop_run(loop);
	assert_true(h.answer == UNSURE && r.asked == 1);
	assert_string_equal(h.why, "timeout");
	answer(&r, r.ids[0], &(struct dns_answer){ .answer = ABSENT }); /* too late: nobody's */
	struct dns_query *q = dns_ask(d, DNS_A, SLICE("dropped.test"), on_answer, &h);
	dns_cancel(q);
	while (r.dropped < 2)
		loop_run(loop);
	assert_int_equal(h.answers, 1);
	ipc_free(r.channel);
	dns_free(d);
}

static void nonsense_cuts_the_resolver_off(void **state)
{
	(void)state;
	struct dns *d = dns_new_asking(loop, SHORT_MS);
	struct resolver r;
	struct heard h = { 0 };
	begin(&r, d);
	dns_ask(d, DNS_A, SLICE("x.test"), on_answer, &h);
	until_asked(&r, 1);
	assert_int_equal(ipc_send(r.channel, DNS_ANSWER, r.ids[0], SLICE("nonsense"), -1), 0);
	while (r.channel || !h.answers)
		loop_run(loop);
	assert_true(h.answer == UNSURE);
	dns_free(d);
}

static void answers_and_questions_are_read_strictly(void **state)
{
	(void)state;
	static const struct { uint8_t tag; uint64_t number; } lonely[] = { { 3, 3 }, { 3, 0 }, { 3, 2 }, { 6, 1 }, { 6, 99 }, { 9, 65536 }, { 11, 0 }, { 1, 1 } };
	struct arena mem = ARENA_INIT(64 * DNS_MAX_RECORDS);
	struct dns_answer a;
	for (size_t i = 0; i < sizeof lonely / sizeof *lonely; i++) { /* none but UNSURE with its reason is an answer by itself */
		struct buf b = BUF_INIT(100);
		field_add_uint(&b, lonely[i].tag, lonely[i].number);
		assert_int_equal(dns_get_answer(buf_slice(&b), &mem, &a), lonely[i].tag == 6 && lonely[i].number == 1);
		buf_free(&b);
	}
	struct buf many = BUF_INIT(1 << 20);
	field_add_uint(&many, 3, FOUND);
	for (size_t i = 0; i <= DNS_MAX_RECORDS; i++)
		field_add(&many, 10, SLICE("x"));
	assert_false(dns_get_answer(buf_slice(&many), &mem, &a));
	enum dns_type type;
	struct slice name;
	struct buf question = BUF_INIT(400);
	dns_put_question(&question, DNS_TLSA, SLICE("a.test"));
	assert_true(dns_get_question(buf_slice(&question), &type, &name) && type == DNS_TLSA && slice_eq(name, SLICE("a.test")));
	assert_false(dns_get_question(slice_head(buf_slice(&question), question.n - 1), &type, &name) || dns_get_question(SLICE(""), &type, &name));
	buf_clear(&question);
	dns_put_question(&question, (enum dns_type)255, SLICE("a.test"));
	assert_false(dns_get_question(buf_slice(&question), &type, &name));
	buf_free(&question);
	buf_free(&many);
	arena_free(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_comes_as_it_was_given),
		cmocka_unit_test(what_was_just_answered_is_not_asked_again),
		cmocka_unit_test(the_cache_forgets_in_time_and_is_bounded),
		cmocka_unit_test(what_is_open_is_asked_again_after_a_restart),
		cmocka_unit_test(a_question_that_nobody_answers_ends_with_its_time),
		cmocka_unit_test(nonsense_cuts_the_resolver_off),
		cmocka_unit_test(answers_and_questions_are_read_strictly),
	};
	loop = loop_new();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
