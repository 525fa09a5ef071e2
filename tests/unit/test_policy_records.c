/* MTA-STS records and policies and TLSRPT records, good and bad, as mox tests its parsers (public data beside the project; else skipped). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"
#include "delivery/sts.h"
#include "delivery/tls_report.h"

struct row {
	const char *file, *test, *name;
	bool (*reads)(struct slice text);
	unsigned passed, count, reasoned;
};

/* Where ours is another verdict, and why. */
static const struct {
	const char *input, *why;
} reasons[] = {
#define UNKNOWN "RFC 8461, 3.1 and 3.2: what a reader doesn't know it ignores, also where it is malformed; nothing it knows means less by that"
	{ "v=STSv1; id=a; more=", UNKNOWN },
	{ "v=STSv1; id=a; a12345678901234567890123456789012=1", UNKNOWN },
	{ "v=STSv1; id=a; 1%=a", UNKNOWN },
	{ "v=STSv1; id=a; test==", UNKNOWN },
	{ "v=STSv1; id=a;;", UNKNOWN },
	{ "version:STSv1\nmode:none\nmax_age:0\next:", UNKNOWN },
	{ "version:STSv1\nmode:none\nmax_age:0\na12345678901234567890123456789012:123", UNKNOWN },
	{ "version:STSv1\nmode:none\nmax_age:0\n_bad:test", UNKNOWN },
	{ "v=TLSRPTv1; rua=mailto:x@x.example; more=", UNKNOWN },
	{ "v=TLSRPTv1; rua=mailto:x@x.example; a12345678901234567890123456789012=1", UNKNOWN },
	{ "v=TLSRPTv1; rua=mailto:x@x.example; 1%=a", UNKNOWN },
	{ "v=TLSRPTv1; rua=mailto:x@x.example; test==", UNKNOWN },
	{ "v=TLSRPTv1; rua=mailto:x@x.example;;", UNKNOWN },
	{ "version:STSv1\nmode:none\nmax_age:01234567890", "eleven digits with a zero in front: a number still, and cut to a year as any that is larger" },
	{ "version:STSv1\nmode:enforce\nmax_age:0\nmx:test.example-", "names no host that a certificate can be for: it matches none, which is the safe side" },
};

static bool reads_record(struct slice text)
{
	struct slice id;
	return sts_record(text, &id);
}

static bool reads_policy(struct slice text)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct sts_policy p;
	bool good = sts_parse(text, &mem, &p);
	arena_free(&mem);
	return good;
}

static bool reads_places(struct slice text)
{
	struct slice places[TLS_REPORT_PLACES];
	return tls_report_places(text, places) > 0;
}

static struct row rows[] = {
	{ "mtasts/parse_test.go", "TestRecord", "MTA-STS records", reads_record, 0, 0, 0 },
	{ "mtasts/parse_test.go", "TestParsePolicy", "MTA-STS policies", reads_policy, 0, 0, 0 },
	{ "tlsrpt/parse_test.go", "TestRecord", "TLSRPT records", reads_places, 0, 0, 0 },
};

/* One case of the file: its members come one after the other, the input last. */
struct case_so_far {
	char file[64], test[64], kind[16];
	unsigned surprises;
};

static void keep(char *to, size_t room, struct slice value)
{
	snprintf(to, room, "%.*s", SLICE_FMT(value));
}

static void judge(struct case_so_far *c, struct slice input)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct row *r = &rows[i];
		if (strcmp(r->file, c->file) != 0 || strcmp(r->test, c->test) != 0)
			continue;
		bool same = r->reads(input) == (strcmp(c->kind, "bad") != 0), known = false;
		for (size_t k = 0; !same && !known && k < sizeof reasons / sizeof *reasons; k++) {
			known = slice_eq(slice_of(reasons[k].input), input);
			if (known)
				printf("  %s: \"%s\": %s\n", r->name, reasons[k].input, reasons[k].why);
		}
		r->count++;
		r->passed += same;
		r->reasoned += known;
		if (!same && !known)
			c->surprises++, printf("  differs: %s: %s \"%.*s\"\n", r->name, c->kind, SLICE_FMT(input));
	}
}

static bool take(void *arg, struct slice path, enum json_kind kind, struct slice value)
{
	struct case_so_far *c = arg;
	(void)kind;
	if (slice_ends(path, SLICE(".file")))
		keep(c->file, sizeof c->file, value);
	else if (slice_ends(path, SLICE(".test")))
		keep(c->test, sizeof c->test, value);
	else if (slice_ends(path, SLICE(".kind")))
		keep(c->kind, sizeof c->kind, value);
	else if (slice_ends(path, SLICE(".input")))
		judge(c, value);
	return true;
}

static void records_and_policies_are_judged_as_there_or_otherwise_for_a_reason(void **state)
{
	(void)state;
	char path[512];
	const char *top = getenv("PORTER_VECTORS");
	snprintf(path, sizeof path, "%s/vectors/records-mox/cases.json", top ? top : "../shared");
	FILE *f = fopen(path, "r");
	if (!f)
		skip();
	struct buf text = BUF_INIT(1 << 20);
	struct arena mem = ARENA_INIT(4 << 20);
	struct case_so_far c = { .surprises = 0 };
	char *to = buf_room(&text, 1 << 19);
	buf_used(&text, fread(to, 1, 1 << 19, f));
	fclose(f);
	assert_int_equal(json_each(buf_slice(&text), &mem, take, &c), 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		printf("row %s: %u of %u", rows[i].name, rows[i].passed, rows[i].count);
		printf(rows[i].reasoned ? ", %u differ for a reason\n" : "\n", rows[i].reasoned);
		assert_true(rows[i].count > 0);
	}
	buf_free(&text);
	arena_free(&mem);
	assert_int_equal(c.surprises, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(records_and_policies_are_judged_as_there_or_otherwise_for_a_reason) };
	return cmocka_run_group_tests_name("policy_records", tests, NULL, NULL);
}
