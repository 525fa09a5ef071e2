/* /metrics: the counters of the account of attacks, of the gate and of the page, in OpenMetrics 1.0. */
#include "ctl/web_routes.h"

#include "queue/report_gate.h"

static void add_word(struct buf *out, struct slice words)
{
	for (size_t i = 0; i < words.n; i++)
		buf_add_byte(out, words.p[i] == ' ' ? '_' : words.p[i]);
}

static void add_counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
	buf_addf(out, "# TYPE %s counter\n# HELP %s %s\n%s_total %llu\n", name, name, help, name, (unsigned long long)value);
}

static void add_attacks(struct attacks *a, struct buf *out)
{
	struct attack_totals t;
	attacks_totals(a, &t);
	buf_add_cstr(out, "# TYPE porter_attacks counter\n# HELP porter_attacks Attempts that were fended off, by kind and by what was answered.\n");
	for (unsigned k = 0; k < ATTACK_KINDS; k++)
		for (unsigned i = 0; i < ATTACK_ANSWERS; i++) {
			buf_add_cstr(out, "porter_attacks_total{kind=\"");
			add_word(out, attack_name((enum attack_kind)k));
			buf_add_cstr(out, "\",answer=\"");
			add_word(out, attack_answer_name((enum attack_answer)i));
			buf_addf(out, "\"} %llu\n", (unsigned long long)t.counts[k][i]);
		}
	buf_add_cstr(out, "# TYPE porter_reports counter\n# HELP porter_reports Decisions of the gate, by kind of report.\n");
	for (unsigned k = 0; k < REPORT_KINDS; k++)
		for (unsigned allowed = 0; allowed < 2; allowed++)
			buf_addf(out, "porter_reports_total{kind=\"%.*s\",verdict=\"%s\"} %llu\n", SLICE_FMT(report_kind_name((enum report_kind)k)), allowed ? "allowed" : "withheld",
			         (unsigned long long)t.reports[k][allowed]);
	add_counter(out, "porter_reports_spared", "Reports to forged senders that Postfix, as shipped, would have sent.", t.spared_messages);
	add_counter(out, "porter_reports_spared_bytes", "Their bytes.", t.spared_bytes);
}

void web_write_metrics(const struct web_site *s, struct buf *out)
{
	uint64_t asked, finished;
	if (s->attacks)
		add_attacks(s->attacks, out);
	web_checks_count(s->checks, &asked, &finished);
	add_counter(out, "porter_rndr_checks_asked", "Checks asked for on the page since the start.", asked);
	add_counter(out, "porter_rndr_checks_finished", "Checks that ended since the start.", finished);
	buf_addf(out, "# TYPE porter_web_connections gauge\n# HELP porter_web_connections Open connections of the web process.\nporter_web_connections %zu\n", web_connections(s->web));
	buf_add_cstr(out, "# EOF\n");
}
