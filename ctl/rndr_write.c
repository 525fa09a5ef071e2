/* The result of a check in words and as JSON. */
#include "base/text.h"
#include "ctl/rndr.h"

static void add_size(struct buf *out, uint64_t bytes)
{
	if (bytes < 10000)
		buf_addf(out, "%llu bytes", (unsigned long long)bytes);
	else
		buf_addf(out, "%llu KiB", (unsigned long long)(bytes + 512) / 1024);
}

/* What came back, in words: the amplification is what the victim got for each byte that the attacker sent. */
static void add_return(struct buf *out, const struct rndr_result *r)
{
	buf_addf(out, "%u %s of ", r->returns, r->returns == 1 ? "return" : "returns");
	add_size(out, r->back_bytes);
	buf_addf(out, " after %llu.%llu s", (unsigned long long)r->back_ms / 1000, (unsigned long long)r->back_ms % 1000 / 100);
	if (r->sent_bytes)
		buf_addf(out, ", %llu %% of what was sent", (unsigned long long)(r->back_bytes * 100 / r->sent_bytes));
	buf_add(out, r->body_back ? SLICE("; the spam's body was in it") : SLICE("; without the spam's body"));
}

struct slice rndr_silence(enum rndr_way way)
{
	return rndr_way_is_lost(way) ? SLICE(" (a suspected drop, unproved: nobody can have this message, and nothing came back while the check listened)")
	                             : SLICE(" (delivered, or dropped: from outside that can't be told)");
}

static void write_row(const struct rndr_check *c, enum rndr_way way, struct buf *out)
{
	const struct rndr_result *r = rndr_check_result(c, way);
	struct slice verdict = rndr_verdict_name(r->verdict);
	buf_addf(out, "  %-12.*s %-21.*s %.*s\n", SLICE_FMT(rndr_ways[way].word), SLICE_FMT(verdict), SLICE_FMT(rndr_ways[way].sentence));
	buf_addf(out, "  %-12s %-21s ", "", "");
	if (r->verdict == RNDR_BOUNCED)
		add_return(out, r);
	else
		buf_add(out, buf_slice(&r->note));
	if (r->verdict == RNDR_SILENT)
		buf_add(out, rndr_silence(way));
	if (r->deferred)
		buf_add(out, SLICE(" (deferred at first, and tried again)"));
	buf_add(out, SLICE("\n"));
}

void rndr_write_text(const struct rndr_check *c, struct buf *out)
{
	const struct rndr_setup *s = rndr_check_setup(c);
	struct rndr_sum sum = rndr_check_sum(c);
	buf_addf(out, "Reverse NDR check of %.*s for %.*s\n\n", SLICE_FMT(s->host), SLICE_FMT(s->domain));
	for (unsigned w = 0; w < RNDR_WAYS; w++)
		if (rndr_check_wants(c, (enum rndr_way)w))
			write_row(c, (enum rndr_way)w, out);
	buf_addf(out, "\n%u refused in session, %u accepted and silent, %u accepted and bounced, %u could not be tested.\n", sum.count[RNDR_REFUSED],
	         sum.count[RNDR_SILENT], sum.count[RNDR_BOUNCED], sum.count[RNDR_COULD_NOT]);
	static const char *const results[] = {
		"No backscatter was seen.\n",
		"This server backscatters: spammers can make it send their mail to people whose address they forge.\n",
		"Too little could be tested to tell.\n",
	};
	buf_addf(out, "%s", results[sum.exit_code]);
}

static void json_key(struct buf *out, const char *key, struct slice value)
{
	buf_addf(out, "\"%s\":", key);
	text_add_json(out, value);
	buf_add(out, SLICE(","));
}

static void json_row(const struct rndr_check *c, enum rndr_way way, struct buf *out)
{
	const struct rndr_result *r = rndr_check_result(c, way);
	buf_add(out, SLICE("{"));
	json_key(out, "way", rndr_ways[way].word);
	json_key(out, "what", rndr_ways[way].sentence);
	json_key(out, "verdict", rndr_verdict_name(r->verdict));
	json_key(out, "note", buf_slice(&r->note));
	buf_addf(out, "\"deferred\":%s,\"sent_bytes\":%llu,\"returns\":%u,\"returned_bytes\":%llu,\"returned_after_ms\":%llu,\"body_returned\":%s}",
	         r->deferred ? "true" : "false", (unsigned long long)r->sent_bytes, r->returns, (unsigned long long)r->back_bytes,
	         (unsigned long long)r->back_ms, r->body_back ? "true" : "false");
}

void rndr_write_json(const struct rndr_check *c, struct buf *out)
{
	static const struct slice results[] = { SLICE_INIT("none"), SLICE_INIT("backscatters"), SLICE_INIT("unsure") };
	const struct rndr_setup *s = rndr_check_setup(c);
	struct rndr_sum sum = rndr_check_sum(c);
	buf_add(out, SLICE("{"));
	json_key(out, "host", s->host);
	json_key(out, "domain", s->domain);
	json_key(out, "result", results[sum.exit_code]);
	buf_addf(out, "\"done\":%s,\"decided\":%u,\"total\":%u,\"leaks\":%u,\"refused\":%u,\"silent\":%u,\"bounced\":%u,\"could_not\":%u,\"ways\":[",
	         sum.done ? "true" : "false", sum.decided, sum.total, sum.count[RNDR_BOUNCED], sum.count[RNDR_REFUSED], sum.count[RNDR_SILENT],
	         sum.count[RNDR_BOUNCED], sum.count[RNDR_COULD_NOT]);
	bool first = true;
	for (unsigned w = 0; w < RNDR_WAYS; w++) {
		if (!rndr_check_wants(c, (enum rndr_way)w))
			continue;
		if (!first)
			buf_add(out, SLICE(","));
		first = false;
		json_row(c, (enum rndr_way)w, out);
	}
	buf_add(out, SLICE("]}\n"));
}
