/* `porterctl tls-reports`: reports about TLS that others sent (RFC 8460), out of mails or files, one line for each policy and each kind of failure. */
#include <stdio.h>
#include <string.h>

#include "base/inflate.h"
#include "base/json.h"
#include "base/mail_mime.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/tables.h"

enum { MAX_FILE = 32 << 20, MAX_JSON = 16 << 20, REPORT_MEM = 64 << 20, MAX_PIECES = 8, MAX_POLICIES = 10000, MAX_FAILURES = 20000 };

/* Members of JSON objects come in any order, so a report is read whole before it is told. */
struct policy {
	struct slice type, domain, good, bad;
};
struct failure {
	uint64_t policy, place;
	struct slice result, host, ip, count, reason;
};
struct report {
	struct ctl *c;
	struct slice organisation, start;
	struct policy *policies;       /* by their place */
	size_t policy_count;
	struct failure *failures;      /* in the order in which they stand */
	size_t failure_count;
	size_t told;
	struct buf out;
};

/* -- telling -------------------------------------------------------------------------------------------------------------------------------- */

static void add_shown(struct buf *out, struct slice s)
{
	text_add_escaped(out, s.n ? s : SLICE("-"));
}

static void add_json(struct buf *out, const char *name, struct slice value)
{
	buf_addf(out, ",\"%s\":", name);
	text_add_json(out, value);
}

static void add_number(struct buf *out, const char *name, struct slice value)
{
	uint64_t n = 0;
	scan_uint_all(value, UINT64_MAX / 2, &n);
	buf_addf(out, ",\"%s\":%llu", name, (unsigned long long)n);
}

static void begin_json(struct report *r, const struct policy *p)
{
	buf_add_cstr(&r->out, r->told ? ",\n{\"organization\":" : "{\"organization\":");
	text_add_json(&r->out, r->organisation);
	add_json(&r->out, "start", r->start);
	add_json(&r->out, "domain", p->domain);
	add_json(&r->out, "policy", p->type);
}

static void tell_policy(struct report *r, const struct policy *p)
{
	if (r->c->json) {
		begin_json(r, p);
		add_number(&r->out, "good", p->good);
		add_number(&r->out, "bad", p->bad);
		buf_add_byte(&r->out, '}');
	} else {
		const struct slice words[] = { slice_head(r->start, 10), p->domain, p->type, p->good, p->bad, r->organisation };
		static const char *const before[] = { "", "  ", "  ", "  good ", " bad ", "  from " };
		for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
			buf_add_cstr(&r->out, before[i]);
			add_shown(&r->out, words[i]);
		}
		buf_add_byte(&r->out, '\n');
	}
	r->told++;
}

static void tell_failure(struct report *r, const struct policy *p, const struct failure *f)
{
	if (r->c->json) {
		begin_json(r, p);
		add_json(&r->out, "result", f->result);
		add_json(&r->out, "host", f->host);
		add_json(&r->out, "ip", f->ip);
		add_json(&r->out, "reason", f->reason);
		add_number(&r->out, "count", f->count);
		buf_add_byte(&r->out, '}');
	} else {
		const struct slice words[] = { f->count, f->result, f->host, f->ip, f->reason };
		for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
			if (i > 2 && !words[i].n)
				continue;
			buf_add_cstr(&r->out, i ? " " : "    ");
			add_shown(&r->out, words[i]);
		}
		buf_add_byte(&r->out, '\n');
	}
	r->told++;
}

static void tell_all(struct report *r)
{
	for (size_t i = 0; i < r->policy_count; i++) {
		tell_policy(r, &r->policies[i]);
		for (size_t k = 0; k < r->failure_count; k++)
			if (r->failures[k].policy == i)
				tell_failure(r, &r->policies[i], &r->failures[k]);
	}
}

/* -- reading -------------------------------------------------------------------------------------------------------------------------------- */

static size_t split(struct slice path, struct slice piece[MAX_PIECES])
{
	size_t n = 0;
	while (path.p && n < MAX_PIECES)
		piece[n++] = slice_cut(path, '.', &path);
	return n;
}

static struct policy *policy_at(struct report *r, uint64_t place)
{
	while (r->policy_count <= place) {
		r->policies = mem_grow(r->policies, r->policy_count + 1, sizeof *r->policies);
		r->policies[r->policy_count++] = (struct policy){ .type = SLICE_NONE };
	}
	return &r->policies[place];
}

static struct failure *failure_at(struct report *r, uint64_t policy, uint64_t place)
{
	struct failure *last = r->failure_count ? &r->failures[r->failure_count - 1] : NULL;
	if (last && last->policy == policy && last->place == place)
		return last;
	r->failures = mem_grow(r->failures, r->failure_count + 1, sizeof *r->failures);
	r->failures[r->failure_count] = (struct failure){ .policy = policy, .place = place };
	return &r->failures[r->failure_count++];
}

static void on_failure(struct failure *f, struct slice name, struct slice value)
{
	const struct {
		struct slice name;
		struct slice *to;
	} known[] = { { SLICE("result-type"), &f->result }, { SLICE("receiving-mx-hostname"), &f->host }, { SLICE("receiving-ip"), &f->ip }, { SLICE("failed-session-count"), &f->count },
		{ SLICE("failure-reason-code"), &f->reason } };
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (slice_eq(name, known[i].name))
			*known[i].to = value;
}

static void on_policy(struct policy *p, struct slice part, struct slice name, struct slice value)
{
	bool policy = slice_eq(part, SLICE("policy")), summary = slice_eq(part, SLICE("summary"));
	if (policy && slice_eq(name, SLICE("policy-type")))
		p->type = value;
	else if (policy && slice_eq(name, SLICE("policy-domain")))
		p->domain = value;
	else if (summary && slice_eq(name, SLICE("total-successful-session-count")))
		p->good = value;
	else if (summary && slice_eq(name, SLICE("total-failure-session-count")))
		p->bad = value;
}

static bool on_value(void *arg, struct slice path, enum json_kind kind, struct slice value)
{
	struct report *r = arg;
	struct slice piece[MAX_PIECES];
	size_t n = split(path, piece);
	uint64_t policy, place;
	(void)kind;
	if (slice_eq(path, SLICE("organization-name")))
		r->organisation = value;
	else if (slice_eq(path, SLICE("date-range.start-datetime")))
		r->start = value;
	if (n < 4 || !slice_eq(piece[0], SLICE("policies")) || !scan_uint_all(piece[1], MAX_POLICIES, &policy))
		return true;
	if (n == 5 && slice_eq(piece[2], SLICE("failure-details")) && r->failure_count < MAX_FAILURES && scan_uint_all(piece[3], MAX_FAILURES, &place))
		on_failure(failure_at(r, policy, place), piece[4], value);
	else if (n == 4)
		on_policy(policy_at(r, policy), piece[2], piece[3], value);
	return true;
}

/* Packed or plain JSON. */
static bool try_report(struct report *r, struct slice data)
{
	struct buf json = BUF_INIT(MAX_JSON);
	struct arena mem = ARENA_INIT(REPORT_MEM);
	size_t before = r->told;
	r->organisation = r->start = SLICE_NONE;
	r->policy_count = r->failure_count = 0;
	bool good = inflate_any(data, &json) == 0;
	struct slice text = buf_slice(&json); /* views of numbers live as long as json */
	good = good && json_each(text, &mem, on_value, r) == 0;
	if (good)
		tell_all(r);
	arena_free(&mem);
	buf_free(&json);
	return good && r->told > before;
}

struct found {
	struct report *r;
	bool any;
};

static bool on_part(void *arg, const struct mail_part *p)
{
	struct found *f = arg;
	struct buf data = BUF_INIT(MAX_FILE);
	if ((slice_starts(p->type, SLICE("application/tlsrpt+")) || slice_ends_nocase(p->filename, SLICE(".json.gz")) || slice_ends_nocase(p->filename, SLICE(".json"))) &&
	    mail_mime_decode(p, &data) == 0)
		f->any |= try_report(f->r, buf_slice(&data));
	buf_free(&data);
	return true;
}

static bool take_file(struct report *r, const char *path)
{
	struct buf text = BUF_INIT(MAX_FILE + 4096);
	struct arena mem = ARENA_INIT(16 << 20);
	struct found f = { r, false };
	int error = ctl_read_file(path, MAX_FILE, &text);
	struct slice s = buf_slice(&text);
	if (!error && (slice_starts(s, SLICE("\x1f\x8b")) || slice_starts(slice_trim(s), SLICE("{"))))
		f.any = try_report(r, s);
	else if (!error)
		mail_mime_each(s, &mem, on_part, &f);
	if (!f.any)
		ctl_fail(0, "%s: %s", path, error ? strerror(-error) : "no TLS report in it");
	arena_free(&mem);
	buf_free(&text);
	return f.any;
}

static int run(struct ctl *c, int argc, char **argv)
{
	struct report r = { .c = c, .out = BUF_INIT(256 << 20) };
	bool good = true;
	if (argc == 0 || ctl_unknown_option(argc, argv))
		return ctl_fail(CTL_USAGE, "porterctl tls-reports FILE... (mails, .json or .json.gz; - is standard input)");
	if (c->json)
		buf_add_cstr(&r.out, "[");
	for (int i = 0; i < argc; i++)
		good = take_file(&r, argv[i]) && good;
	if (c->json)
		buf_add_cstr(&r.out, "]\n");
	ctl_print(buf_slice(&r.out));
	buf_free(&r.out);
	mem_free(r.policies);
	mem_free(r.failures);
	return good ? 0 : CTL_DATA;
}

const struct ctl_command ctl_tls_report_commands[] = {
	{ "tls-reports", "[--json] FILE...", "Reports about TLS that others sent (RFC 8460): good and bad sessions, and why.", run },
	{ NULL, NULL, NULL, NULL }
};
