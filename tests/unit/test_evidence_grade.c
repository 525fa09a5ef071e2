#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "queue/envelope.h"
#include "queue/report_gate.h"
#include "smtpd/evidence_grade.h"

#define SPF(result_, weak_) &(const struct spf_verdict){ .result = SPF_##result_, .weak = (weak_) }
#define SIGNED(domain_, result_) .dkim = &(const struct dkim_verdict){ .result = DKIM_##result_, .domain = SLICE_INIT(domain_) }, .dkim_count = 1
#define OF(domain_) .local_part = SLICE_INIT("ann"), .domain = SLICE_INIT(domain_)

/* rule.md's table: what each kind of evidence is worth, whether it opens the queue for a forward while the hop is down, and whether a failure may be reported. */
static const struct {
	const char *sentence;
	struct evidence_facts facts;
	enum evidence_grade grade;
	bool foreign_queue, forward_queue, report;
} rows[] = {
	{ "AUTH for a path the login may use", { OF("ours.test"), .login = SLICE_INIT("ann"), .login_may = true }, EVIDENCE_AUTH, true, true, true },
	{ "AUTH for a path of somebody else", { OF("other.test"), .login = SLICE_INIT("ann") }, EVIDENCE_NONE, false, false, false },
	{ "AUTH for somebody else's path, SPF passes", { OF("other.test"), .login = SLICE_INIT("ann"), .spf = SPF(PASS, 0) }, EVIDENCE_SPF, false, true, true },
	{ "the sendmail command, granted", { OF("ours.test"), .user = SLICE_INIT("ann"), .user_may = true }, EVIDENCE_LOCAL, true, true, true },
	{ "the sendmail command, any other path", { OF("other.test"), .user = SLICE_INIT("ann") }, EVIDENCE_NONE, false, false, false },
	{ "a listed client for this domain", { OF("ours.test"), .client = SLICE_INIT("192.0.2.0/24") }, EVIDENCE_CLIENT, true, true, true },
	{ "SPF pass for MAIL FROM", { OF("x.test"), .spf = SPF(PASS, 0) }, EVIDENCE_SPF, false, true, true },
	{ "SPF pass for HELO alone", { .spf = SPF(PASS, 0), .spf_is_helo = true }, EVIDENCE_NONE, false, false, false },
	{ "SPF +all", { OF("x.test"), .spf = SPF(PASS, SPF_WEAK_ALL) }, EVIDENCE_NONE, false, false, false },
	{ "SPF by exists", { OF("x.test"), .spf = SPF(PASS, SPF_WEAK_EXISTS) }, EVIDENCE_NONE, false, false, false },
	{ "SPF by ptr", { OF("x.test"), .spf = SPF(PASS, SPF_WEAK_PTR) }, EVIDENCE_NONE, false, false, false },
	{ "SPF by a macro", { OF("x.test"), .spf = SPF(PASS, SPF_WEAK_MACRO) }, EVIDENCE_NONE, false, false, false },
	{ "SPF by a range wider than /8", { OF("x.test"), .spf = SPF(PASS, SPF_WEAK_WIDE) }, EVIDENCE_NONE, false, false, false },
	{ "SPF at a shared hoster's", { OF("x.test"), .spf = SPF(PASS, 0), .hoster = true }, EVIDENCE_NONE, false, false, false },
	{ "SPF neutral", { OF("x.test"), .spf = SPF(NEUTRAL, 0) }, EVIDENCE_NONE, false, false, false },
	{ "SPF softfail", { OF("x.test"), .spf = SPF(SOFTFAIL, 0) }, EVIDENCE_NONE, false, false, false },
	{ "SPF fail", { OF("x.test"), .spf = SPF(FAIL, 0) }, EVIDENCE_NONE, false, false, false },
	{ "SPF none", { OF("x.test"), .spf = SPF(NONE, 0) }, EVIDENCE_NONE, false, false, false },
	{ "SPF temperror", { OF("x.test"), .spf = SPF(TEMPERROR, 0) }, EVIDENCE_NONE, false, false, false },
	{ "SPF permerror", { OF("x.test"), .spf = SPF(PERMERROR, 0) }, EVIDENCE_NONE, false, false, false },
	{ "a replayed message: its signature is valid, SPF fails", { OF("x.test"), .spf = SPF(FAIL, 0), SIGNED("x.test", PASS) }, EVIDENCE_DKIM, false, false, false },
	{ "a signature of the parent domain", { OF("news.x.test"), SIGNED("x.test", PASS) }, EVIDENCE_DKIM, false, false, false },
	{ "a signature of a look-alike", { OF("x.test"), SIGNED("x-test.test", PASS) }, EVIDENCE_NONE, false, false, false },
	{ "a signature of a domain that ends alike", { OF("x.test"), SIGNED("evilx.test", PASS) }, EVIDENCE_NONE, false, false, false },
	{ "a signature of the top level", { OF("x.test"), SIGNED("test", PASS) }, EVIDENCE_NONE, false, false, false },
	{ "a signature that fails", { OF("x.test"), SIGNED("x.test", FAIL) }, EVIDENCE_NONE, false, false, false },
	{ "SPF pass and a signature", { OF("x.test"), .spf = SPF(PASS, 0), SIGNED("x.test", PASS) }, EVIDENCE_SPF, false, true, true },
	{ "the null reverse-path", { .spf = SPF(PASS, 0), .spf_is_helo = true, SIGNED("x.test", PASS) }, EVIDENCE_NONE, false, false, false },
	{ "the null reverse-path from a listed client", { .client = SLICE_INIT("192.0.2.1") }, EVIDENCE_NONE, false, false, false },
	{ "a BATV tag as reverse-path", { .local_part = SLICE_INIT("prvs=0787fec123=ann"), .domain = SLICE_INIT("ours.test") }, EVIDENCE_NONE, false, false, false },
	{ "an SRS tag as reverse-path", { .local_part = SLICE_INIT("SRS0=DR6H=JM=x.test=ann"), .domain = SLICE_INIT("ours.test") }, EVIDENCE_NONE, false, false, false },
	{ "nothing known", { OF("x.test") }, EVIDENCE_NONE, false, false, false },
};

static bool opens_queue(const struct evidence *e, enum envelope_way way, const char *reverse_path)
{
	struct envelope_recipient r = { .address = SLICE("bob@far.test"), .place = SLICE("mx:far.test"), .original = SLICE(""), .way = way };
	struct envelope env = { .id = SLICE("x"), .evidence = *e, .reverse_path = slice_of(reverse_path), .recipients = &r, .recipient_count = 1 };
	return envelope_admit(&env, true).fate == MAIL_OK;
}

static bool may_be_told(const struct evidence *e, const char *reverse_path)
{
	struct report_facts f = { .kind = REPORT_FAILURE, .evidence = *e, .to = slice_of(reverse_path), .organisation = SLICE("x.test") };
	return report_gate_judge(&f).allowed;
}

static void each_kind_of_evidence_opens_what_the_rule_says_and_nothing_more(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena mem = ARENA_INIT(1 << 16);
		struct evidence e;
		evidence_grade(&rows[i].facts, &mem, &e);
		const char *path = rows[i].facts.domain.n ? "ann@x.test" : "";
		if (e.grade != rows[i].grade || !e.reason.n)
			fail_msg("%s: grade %.*s (%.*s)", rows[i].sentence, SLICE_FMT(evidence_name(e.grade)), SLICE_FMT(e.reason));
		if (opens_queue(&e, WAY_FOREIGN, path) != rows[i].foreign_queue)
			fail_msg("%s: the queue for a foreign domain", rows[i].sentence);
		if (opens_queue(&e, WAY_FORWARD, path) != rows[i].forward_queue)
			fail_msg("%s: the queue for a forward", rows[i].sentence);
		if (may_be_told(&e, path) != rows[i].report)
			fail_msg("%s: a report", rows[i].sentence);
		arena_free(&mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_kind_of_evidence_opens_what_the_rule_says_and_nothing_more) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
