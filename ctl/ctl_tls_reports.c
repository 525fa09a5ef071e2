/* `porterctl tls-reports`: reports about TLS that others sent (RFC 8460), out of mails or files, one line for each policy and each kind of failure. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/inflate.h"
#include "base/json.h"
#include "base/mail_mime.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/tables.h"

enum { MAX_FILE = 32 << 20, MAX_JSON = 16 << 20, REPORT_MEM = 64 << 20, MAX_PIECES = 8 };

/* What is known of the place that is being read; a policy or failure is told when the next one begins. */
struct report {
	struct ctl *c;
	struct slice organisation, start, type, domain, good, bad, result, host, count;
	int failure;                   /* its place; -1 before the first */
	size_t told;
	struct buf out;
};

static void add_shown(struct buf *out, struct slice s)
{
	text_add_escaped(out, s.n ? s : SLICE("-"));
}

static void add_json(struct buf *out, const char *name, struct slice value)
{
	buf_addf(out, ",\"%s\":", name);
	text_add_json(out, value);
}

static void tell_json(struct report *r, bool failure)
{
	buf_addf(&r->out, "%s{\"organization\":", r->told ? ",\n" : "");
	text_add_json(&r->out, r->organisation);
	add_json(&r->out, "start", r->start);
	add_json(&r->out, "domain", r->domain);
	add_json(&r->out, "policy", r->type);
	add_json(&r->out, failure ? "result" : "good", failure ? r->result : r->good);
	add_json(&r->out, failure ? "host" : "bad", failure ? r->host : r->bad);
	if (failure)
		add_json(&r->out, "count", r->count);
	buf_add_byte(&r->out, '}');
	r->told++;
}

static void tell_text(struct report *r, bool failure)
{
	const struct slice line[] = { r->start, r->domain, r->type, failure ? r->count : r->good, failure ? r->result : r->bad, failure ? r->host : r->organisation };
	static const char *const between[] = { "  ", "  ", "  ", " ", " ", "\n" }, *const good[] = { "  ", "  ", "  good ", " bad ", "  from ", "\n" };
	if (failure)
		buf_add_cstr(&r->out, "    ");
	for (size_t i = failure ? 3 : 0; i < 6; i++) {
		add_shown(&r->out, i == 0 ? slice_head(line[i], 10) : line[i]);
		buf_add_cstr(&r->out, (failure ? between : good)[i]);
	}
	r->told++;
}

static void tell(struct report *r, bool failure)
{
	if (r->c->json)
		tell_json(r, failure);
	else
		tell_text(r, failure);
}

static void end_failure(struct report *r)
{
	if (r->failure >= 0)
		tell(r, true);
	r->failure = -1;
	r->result = r->host = r->count = SLICE_NONE;
}

static void end_policy(struct report *r)
{
	end_failure(r);
	r->type = r->domain = r->good = r->bad = SLICE_NONE;
}

static size_t split(struct slice path, struct slice piece[MAX_PIECES])
{
	size_t n = 0;
	while (path.p && n < MAX_PIECES)
		piece[n++] = slice_cut(path, '.', &path);
	return n;
}

static void on_failure(struct report *r, const struct slice *piece, struct slice value)
{
	uint64_t place = 0;
	scan_uint_all(piece[3], 1000000, &place);
	if ((int)place != r->failure)
		end_failure(r);
	r->failure = (int)place;
	if (slice_eq(piece[4], SLICE("result-type")))
		r->result = value;
	else if (slice_eq(piece[4], SLICE("receiving-mx-hostname")))
		r->host = value;
	else if (slice_eq(piece[4], SLICE("failed-session-count")))
		r->count = value;
}

static void on_summary(struct report *r, struct slice name, struct slice value)
{
	if (slice_eq(name, SLICE("total-successful-session-count")))
		r->good = value;
	else if (slice_eq(name, SLICE("total-failure-session-count")))
		r->bad = value;
	if (r->good.n && r->bad.n)
		tell(r, false);
}

static bool on_value(void *arg, struct slice path, enum json_kind kind, struct slice value)
{
	struct report *r = arg;
	struct slice piece[MAX_PIECES];
	size_t n = split(path, piece);
	(void)kind;
	if (slice_eq(path, SLICE("organization-name")))
		r->organisation = value;
	else if (slice_eq(path, SLICE("date-range.start-datetime")))
		r->start = value;
	if (n < 4 || !slice_eq(piece[0], SLICE("policies")))
		return true;
	if (slice_eq(piece[2], SLICE("policy")) && slice_eq(piece[3], SLICE("policy-type"))) {
		end_policy(r);
		r->type = value;
	} else if (slice_eq(piece[2], SLICE("policy")) && slice_eq(piece[3], SLICE("policy-domain"))) {
		r->domain = value;
	} else if (slice_eq(piece[2], SLICE("summary"))) {
		on_summary(r, piece[3], value);
	} else if (n == 5 && slice_eq(piece[2], SLICE("failure-details"))) {
		on_failure(r, piece, value);
	}
	return true;
}

/* Packed or plain JSON. */
static bool try_report(struct report *r, struct slice data)
{
	struct buf json = BUF_INIT(MAX_JSON);
	struct arena mem = ARENA_INIT(REPORT_MEM);
	size_t before = r->told;
	r->organisation = r->start = SLICE_NONE;
	r->failure = -1;
	end_policy(r);
	bool good = inflate_any(data, &json) == 0;
	struct slice numbers = buf_slice(&json); /* views of numbers live as long as json */
	good = good && json_each(numbers, &mem, on_value, r) == 0;
	end_policy(r);
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
	struct report r = { .c = c, .out = BUF_INIT(256 << 20), .failure = -1 };
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
	return good ? 0 : CTL_DATA;
}

const struct ctl_command ctl_tls_report_commands[] = {
	{ "tls-reports", "[--json] FILE...", "Reports about TLS that others sent (RFC 8460): good and bad sessions, and why.", run },
	{ NULL, NULL, NULL, NULL }
};
