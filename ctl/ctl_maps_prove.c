/* porterctl prove. */
#include <stdio.h>
#include <string.h>

#include "base/scan.h"
#include "base/text.h"
#include "ctl/ctl_maps.h"
#include "ctl/ctl_maps_probe.h"
#include "ctl/tables.h"
#include "delivery/mailbox_settings.h"
#include "maps/access.h"
#include "maps/compile.h"
#include "maps/prove.h"
#include "smtpd/check.h"
#include "smtpd/filter_settings.h"
#include "smtpd/smtpd_settings.h"

enum { SHOWN = 50 };

struct proving {
	struct ctl *c;
	struct maps_own *own;
	struct buf findings;        /* --json: the array's elements */
	uint64_t shown[3];
	uint64_t hidden, notes;
};

static const char *const grades[] = { [PROVE_NOTE] = "note", [PROVE_UNSURE] = "unsure", [PROVE_REFUTED] = "refuted" };

static void add_json(struct buf *b, const char *name, struct slice value)
{
	buf_addf(b, ",\"%s\":", name);
	text_add_json(b, value);
}

static void on_found(void *arg, const struct prove_finding *f)
{
	struct proving *p = arg;
	if (p->shown[f->grade]++ >= SHOWN) {
		p->hidden++;
		return;
	}
	if (p->c->json) {
		buf_addf(&p->findings, "%s{\"grade\":\"%s\",\"line\":%u", p->findings.n ? "," : "", grades[f->grade], f->line);
		add_json(&p->findings, "map", f->map);
		add_json(&p->findings, "key", f->key);
		add_json(&p->findings, "text", f->text);
		add_json(&p->findings, "path", f->path);
		buf_add_byte(&p->findings, '}');
		return;
	}
	struct buf line = BUF_INIT(16384);
	buf_addf(&line, "%.*s:%u: %s: ", SLICE_FMT(f->map), f->line, grades[f->grade]);
	if (f->key.n) {
		text_add_escaped(&line, f->key);
		buf_add(&line, SLICE(": "));
	}
	buf_add(&line, f->text);
	if (f->path.n)
		buf_addf(&line, "\n\tby %.*s", SLICE_FMT(f->path));
	buf_add_byte(&line, '\n');
	ctl_print(buf_slice(&line));
	buf_free(&line);
}

static bool is_ourselves(void *arg, struct slice place)
{
	const struct proving *p = arg;
	return maps_is_ourselves(p->own, place);
}

static void on_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	const struct proving *p = arg;
	if (total > 20000)
		ctl_progress(p->c, what, done, total);
}

/* A by-pass of what is no check spares nobody anything, and is easily mistyped. */
static bool names_service(struct slice list, struct slice name)
{
	while (list.n) {
		struct slice item = slice_cut(list, ' ', &list);
		if (slice_eq(slice_head(item, slice_find(item, '=')), name))
			return true;
	}
	return false;
}

static bool is_check(struct slice name)
{
	static const char *const others[] = { "spf", "dmarc", "author", "harvest", "pre-greeting", "rate", "tags" };
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (slice_eq(name, slice_of(others[i])))
			return true;
	for (size_t i = 0; check_kinds[i]; i++)
		if (slice_eq(name, slice_of(check_kinds[i]->name)))
			return true;
	return names_service(filter_settings.milters, name) || names_service(filter_settings.policy_services, name);
}

static bool see_access(void *arg, const struct map_entry *e)
{
	struct proving *p = arg;
	struct access a;
	if (access_parse(e->value, &a))
		return true;
	for (size_t i = 0; i < a.by_pass_count; i++) {
		if (is_check(a.by_pass[i]))
			continue;
		struct buf text = BUF_INIT(400);
		buf_addf(&text, "by-pass %.*s: there is no check, milter or policy service of this name", SLICE_FMT(a.by_pass[i]));
		struct prove_finding f = { PROVE_NOTE, SLICE("access"), e->line, e->key, buf_slice(&text), SLICE("") };
		on_found(p, &f);
		p->notes++;
		buf_free(&text);
	}
	return true;
}

/* The last table of rule.md: each leak, and what closes it here. */
static const char *const leaks[] = {
	"unknown local recipient: refused at RCPT (550 5.1.1)",
	"alias to a dead or looping target: compile refuses it; every tree was walked",
	"forward refused by the remote: passed through, its refusal is ours",
	"relayed domain, unknown there: a map, a cache or the hop itself says so at RCPT",
	"mailbox full, home missing, disk full: 452 at RCPT or the dot, nothing was accepted",
	"late verdict of a filter or program: its reply at the dot; unknown exit codes are temporary",
	"success report, delay notice, RET=FULL asked by a stranger: 555, never",
	"vacation, challenge, \"not a member\": one gate, by evidence",
	"several recipients, different outcomes: one next hop a transaction, and the ledger",
	"queue lifetime over: only authenticated mail is queued; list copies go back to their owner",
	"inner hop that accepts all and refuses late: its late refusal is our reply",
	"250 said, then lost in a crash: stable storage before 250",
	"too large or looping: 552 at MAIL or the dot, 554 at the dot",
	"double bounce: a dead letter",
	"a report for a forged sender, from inside or through SRS: the gate, the owner, or a dead letter",
};

static void print_summary(const struct prove_summary *s, uint64_t hidden)
{
	if (hidden)
		printf("... and %llu more of these\n", (unsigned long long)hidden);
	printf("%llu domains, %llu of them relayed (%llu ask their next hop); %llu addresses:\n", (unsigned long long)s->domains,
	       (unsigned long long)s->relay_domains, (unsigned long long)s->ask_domains, (unsigned long long)s->addresses);
	printf("  %10llu  mailbox: delivered inside the transaction\n", (unsigned long long)s->mailbox);
	printf("  %10llu  pass-through: the next hop's answer is ours\n", (unsigned long long)s->pass_through);
	printf("  %10llu  list: local copies inside the transaction, the others queued, reports to the owner\n", (unsigned long long)s->lists);
	printf("  %10llu  refused or deferred on purpose\n", (unsigned long long)s->refused);
	if (s->catch_alls)
		printf("  %10llu  catch-alls, which take every other name of their domain\n", (unsigned long long)s->catch_alls);
	puts("Where reports could leak to strangers, and what closes it:");
	for (size_t i = 0; i < sizeof leaks / sizeof *leaks; i++)
		printf("  %2zu  %s\n", i + 1, leaks[i]);
}

static void print_json(const struct proving *p, const struct prove_summary *s, const char *verdict)
{
	printf("{\"verdict\":\"%s\",\"domains\":%llu,\"relay_domains\":%llu,\"ask_domains\":%llu,\"addresses\":%llu,\"mailbox\":%llu,\"pass_through\":%llu,"
	       "\"lists\":%llu,\"refused\":%llu,\"catch_alls\":%llu,\"notes\":%llu,\"unsure\":%llu,\"refuted\":%llu,\"findings\":[%.*s]}\n",
	       verdict, (unsigned long long)s->domains, (unsigned long long)s->relay_domains, (unsigned long long)s->ask_domains, (unsigned long long)s->addresses,
	       (unsigned long long)s->mailbox, (unsigned long long)s->pass_through, (unsigned long long)s->lists, (unsigned long long)s->refused,
	       (unsigned long long)s->catch_alls, (unsigned long long)s->notes, (unsigned long long)s->unsure, (unsigned long long)s->refuted,
	       SLICE_FMT(buf_slice(&p->findings)));
}

/* A complaint about a line, as it is told to people: MAP:LINE: TEXT. */
static void add_complaint(struct proving *p, struct slice line)
{
	struct slice all = line, map = slice_cut(line, ':', &line), number = slice_cut(line, ':', &line);
	uint64_t n = 0;
	bool good = scan_uint_all(number, UINT32_MAX, &n);
	struct prove_finding f = { PROVE_REFUTED, good ? map : SLICE(""), (uint32_t)n, SLICE(""), good ? slice_trim(line) : all, SLICE("") };
	on_found(p, &f);
}

/* Maps that can't be read prove nothing, and would not be compiled. */
static int refute_unreadable(struct ctl *c, const struct complaints *wrong)
{
	struct proving p = { .c = c, .findings = BUF_INIT(8 << 20) };
	struct prove_summary sum = { .refuted = wrong->count };
	if (!c->json) {
		ctl_complain(wrong);
		return 1;
	}
	for (struct slice rest = buf_slice(&wrong->text); rest.n;)
		add_complaint(&p, slice_cut(rest, '\n', &rest));
	print_json(&p, &sum, "refuted");
	buf_free(&p.findings);
	return 1;
}

static int run_prove(struct ctl *c, int argc, char **argv)
{
	bool probe = ctl_flag(&argc, argv, "--probe");
	if (argc)
		return ctl_fail(CTL_USAGE, "prove takes --probe and --json alone");
	if (!ctl_settings(c))
		return CTL_CONFIG;
	struct map_set *set;
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	int error = map_set_read(slice_of(c->directory), &wrong, &set), code = error ? refute_unreadable(c, &wrong) : 0;
	complaint_free(&wrong);
	if (error)
		return code;
	struct proving p = { .c = c, .own = maps_own_new(c), .findings = BUF_INIT(8 << 20) };
	struct prove_plan plan = { .set = set, .size_limit = smtpd_settings.size_limit, .mail_root = mailbox_settings.mail_root, .mail_user = mailbox_settings.mail_user,
	                           .hop_user = SLICE("_porter"),
		                   .files = true, .is_ourselves = is_ourselves, .found = on_found, .progress = on_progress, .arg = &p };
	struct prove_summary sum;
	enum prove_grade worst = prove_run(&plan, &sum);
	map_each(set, MAP_ACCESS, see_access, &p);
	sum.notes += p.notes;
	if (probe) {
		enum prove_grade probed = maps_probe(c, set, on_found, &p, &sum);
		worst = probed > worst ? probed : worst;
	}
	static const char *const verdicts[] = { [PROVE_NOTE] = "proved", [PROVE_UNSURE] = "could not tell", [PROVE_REFUTED] = "refuted" };
	if (c->json) {
		print_json(&p, &sum, verdicts[worst]);
	} else {
		print_summary(&sum, p.hidden);
		printf("%s: %llu refuted, %llu could not be told, %llu notes\n", verdicts[worst], (unsigned long long)sum.refuted, (unsigned long long)sum.unsure,
		       (unsigned long long)sum.notes);
	}
	buf_free(&p.findings);
	map_set_close(set);
	static const int codes[] = { [PROVE_NOTE] = 0, [PROVE_UNSURE] = 2, [PROVE_REFUTED] = 1 };
	return codes[worst];
}

const struct ctl_command ctl_maps_prove_commands[] = {
	{ "prove", "[--probe] [--json]", "Proves that no address which the text maps accept can end in a report to a stranger; exit 0 proved, 1 refuted, 2 could not tell.", run_prove },
	{ NULL, NULL, NULL, NULL }
};
