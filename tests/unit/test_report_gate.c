#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "queue/attacks.h"
#include "queue/report_gate.h"

enum { DAY = 86400, NOW = 20000 * DAY };

static struct report_facts facts(enum report_kind kind, enum evidence_grade grade)
{
	return (struct report_facts){ .kind = kind, .evidence = { .grade = grade }, .to = SLICE("ann@outside.test"), .organisation = SLICE("outside.test") };
}

/* The whole product of kind and grade, as rule.md says it: 1 allowed. none dkim spf owner client local auth. */
static const char *const rule[REPORT_KINDS] = {
	[REPORT_FAILURE] = "0011111", [REPORT_DELAY] = "0001111", [REPORT_SUCCESS] = "0001111",
	[REPORT_REPLY] = "0011111",   [REPORT_INNER] = "0011111",
};

static void the_gate_is_the_rule_over_kind_and_evidence(void **state)
{
	(void)state;
	for (int kind = 0; kind < REPORT_KINDS; kind++)
		for (int grade = 0; grade < EVIDENCE_GRADES; grade++) {
			struct report_facts f = facts((enum report_kind)kind, (enum evidence_grade)grade);
			assert_int_equal(report_gate_judge(&f).allowed, rule[kind][grade] == '1');
			assert_non_null(report_gate_judge(&f).reason);
		}
}

static void a_null_reverse_path_never_gets_a_report(void **state)
{
	(void)state;
	for (int kind = 0; kind < REPORT_KINDS; kind++) {
		struct report_facts f = facts((enum report_kind)kind, EVIDENCE_AUTH);
		f.to = SLICE_NONE;
		f.to_ours = true;
		assert_false(report_gate_judge(&f).allowed);
	}
}

static void nothing_goes_when_reports_are_off(void **state)
{
	(void)state;
	for (int kind = 0; kind < REPORT_KINDS; kind++) {
		struct report_facts off = facts((enum report_kind)kind, EVIDENCE_AUTH);
		off.mode_none = true;
		assert_false(report_gate_judge(&off).allowed);
	}
}

static void automatic_mail_gets_failure_reports_but_no_replies(void **state)
{
	(void)state;
	struct report_facts reply = facts(REPORT_REPLY, EVIDENCE_AUTH), failure = facts(REPORT_FAILURE, EVIDENCE_AUTH);
	reply.automatic = failure.automatic = true;
	assert_false(report_gate_judge(&reply).allowed);
	assert_true(report_gate_judge(&failure).allowed);
}

static void an_inner_bounce_may_go_to_one_of_ours(void **state)
{
	(void)state;
	struct report_facts f = facts(REPORT_INNER, EVIDENCE_NONE);
	f.to_ours = true;
	assert_true(report_gate_judge(&f).allowed);
}

static void spf_allows_one_report_a_day_for_an_organisation(void **state)
{
	(void)state;
	struct report_gate *g = report_gate_new(100);
	struct report_facts f = facts(REPORT_FAILURE, EVIDENCE_SPF);
	assert_true(may_report(g, &f, NOW).allowed);
	f.to = SLICE("bob@outside.test");
	assert_false(may_report(g, &f, NOW + 3600).allowed);
	assert_true(may_report(g, &f, NOW + DAY).allowed);
	assert_int_equal(report_gate_counts(g)->allowed[REPORT_FAILURE], 2);
	assert_int_equal(report_gate_counts(g)->withheld[REPORT_FAILURE], 1);
	report_gate_free(g);
}

static void spf_allows_one_report_a_day_for_a_destination_host(void **state)
{
	(void)state;
	struct report_gate *g = report_gate_new(100);
	struct report_facts f = facts(REPORT_FAILURE, EVIDENCE_SPF);
	int let = 0;
	for (int i = 0; i < 50; i++) {
		char name[32];
		f.organisation = slice(name, (size_t)snprintf(name, sizeof name, "made-up-%d.test", i));
		let += may_report(g, &f, NOW).allowed && report_gate_host(g, &f.evidence, SLICE("mx.victim.test"), NOW);
	}
	assert_int_equal(let, 1);
	assert_false(report_gate_host(g, &f.evidence, SLICE("mx.victim.test"), NOW));
	struct evidence login = { .grade = EVIDENCE_AUTH };
	assert_true(report_gate_host(g, &login, SLICE("mx.victim.test"), NOW));
	report_gate_free(g);
}

static void a_reverse_path_has_a_rate(void **state)
{
	(void)state;
	struct report_gate *g = report_gate_new(3);
	struct report_facts f = facts(REPORT_FAILURE, EVIDENCE_AUTH);
	int let = 0;
	for (int i = 0; i < 10; i++)
		let += may_report(g, &f, NOW).allowed;
	assert_int_equal(let, 3);
	assert_true(may_report(g, &f, NOW + 3600).allowed);
	report_gate_free(g);
}

static void the_memory_survives_a_restart(void **state)
{
	(void)state;
	struct report_gate *before = report_gate_new(100), *after = report_gate_new(100);
	struct report_facts f = facts(REPORT_FAILURE, EVIDENCE_SPF);
	struct buf record = BUF_INIT(1 << 20);
	assert_true(may_report(before, &f, NOW).allowed);
	assert_int_equal(report_gate_save(before, &record), 0);
	assert_int_equal(report_gate_load(after, buf_slice(&record), NOW), 0);
	assert_false(may_report(after, &f, NOW).allowed);
	buf_free(&record);
	report_gate_free(before);
	report_gate_free(after);
}

static void a_damaged_memory_closes_the_gate_for_strangers_for_a_day(void **state)
{
	(void)state;
	struct report_gate *g = report_gate_new(100);
	struct report_facts f = facts(REPORT_FAILURE, EVIDENCE_SPF), login = facts(REPORT_FAILURE, EVIDENCE_AUTH);
	assert_true(report_gate_load(g, SLICE("\x09nonsense"), NOW) < 0);
	assert_false(may_report(g, &f, NOW).allowed);
	assert_true(may_report(g, &login, NOW).allowed);
	assert_true(may_report(g, &f, NOW + DAY).allowed);
	report_gate_free(g);
}

static void what_strangers_wanted_and_did_not_get_is_counted_as_an_attack(void **state)
{
	(void)state;
	void *memory = calloc(1, attacks_size());
	struct attack_report *r = calloc(1, sizeof *r);
	attacks_create(memory, attacks_size());
	struct attacks *a = attacks_attach(memory, attacks_size());
	struct report_gate *g = report_gate_new(100);
	report_gate_account(g, a);
	struct report_facts reply = facts(REPORT_REPLY, EVIDENCE_NONE), inner = facts(REPORT_INNER, EVIDENCE_DKIM);
	struct report_facts list = reply, success = facts(REPORT_SUCCESS, EVIDENCE_NONE), proven = facts(REPORT_REPLY, EVIDENCE_SPF);
	list.automatic = true; /* nobody asked */
	const struct report_facts *const each[] = { &reply, &inner, &list, &success, &proven };
	for (size_t i = 0; i < sizeof each / sizeof each[0]; i++)
		may_report(g, each[i], NOW);
	attacks_read(a, NOW - 60, NOW, r);
	assert_int_equal(r->attempts, 2);
	assert_int_equal(r->counts[ATTACK_REPLY][ATTACK_WITHHELD], 1);
	assert_int_equal(r->counts[ATTACK_INNER][ATTACK_WITHHELD], 1);
	assert_int_equal(r->network_count, 0);
	assert_string_equal(r->domains[0].name, "outside.test");
	report_gate_free(g);
	attacks_detach(a);
	free(memory);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_gate_is_the_rule_over_kind_and_evidence),
		cmocka_unit_test(a_null_reverse_path_never_gets_a_report),
		cmocka_unit_test(nothing_goes_when_reports_are_off),
		cmocka_unit_test(automatic_mail_gets_failure_reports_but_no_replies),
		cmocka_unit_test(an_inner_bounce_may_go_to_one_of_ours),
		cmocka_unit_test(spf_allows_one_report_a_day_for_an_organisation),
		cmocka_unit_test(spf_allows_one_report_a_day_for_a_destination_host),
		cmocka_unit_test(a_reverse_path_has_a_rate),
		cmocka_unit_test(the_memory_survives_a_restart),
		cmocka_unit_test(a_damaged_memory_closes_the_gate_for_strangers_for_a_day),
		cmocka_unit_test(what_strangers_wanted_and_did_not_get_is_counted_as_an_attack),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
