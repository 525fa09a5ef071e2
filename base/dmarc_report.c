/* Aggregate reports. The reader is a flat loop over tags that knows where it is by a stack of names; what it doesn't know it reads over. */
#include "base/dmarc_report.h"

#include <errno.h>

#include "base/scan.h"
#include "base/text.h"

/* -- reading -------------------------------------------------------------------------------------------------------------- */

struct reader {
	struct slice in;
	struct arena *mem;
	struct dmarc_report *r;
	struct slice stack[DMARC_REPORT_MAX_DEPTH];
	size_t depth, room;
	struct slice text;             /* of the element that is open, raw */
	const char *wrong;
};

/* Where a value goes: the last names of its path. */
struct place {
	const char *parent, *name;
	size_t offset;
};
#define REPORT(parent, name, field) { parent, name, offsetof(struct dmarc_report, field) }
#define ROW(parent, name, field) { parent, name, offsetof(struct dmarc_report_row, field) }
static const struct place report_places[] = {
	REPORT("report_metadata", "org_name", org_name), REPORT("report_metadata", "email", email), REPORT("report_metadata", "report_id", report_id),
	REPORT("policy_published", "domain", domain), REPORT("policy_published", "p", p), REPORT("policy_published", "sp", sp),
	REPORT("policy_published", "np", np), REPORT("policy_published", "adkim", adkim), REPORT("policy_published", "aspf", aspf),
	REPORT("policy_published", "testing", testing), REPORT("policy_published", "discovery_method", discovery),
};
static const struct place row_places[] = {
	ROW("row", "source_ip", source_ip), ROW("policy_evaluated", "disposition", disposition), ROW("policy_evaluated", "dkim", dkim),
	ROW("policy_evaluated", "spf", spf), ROW("reason", "type", reason), ROW("identifiers", "header_from", header_from),
	ROW("identifiers", "envelope_from", envelope_from), ROW("dkim", "domain", dkim_domain), ROW("dkim", "selector", dkim_selector),
	ROW("dkim", "result", dkim_result), ROW("spf", "domain", spf_domain), ROW("spf", "result", spf_result),
};

static bool fail(struct reader *x, const char *why)
{
	x->wrong = why;
	return false;
}

/* One of the five entities or a character reference at the front of *in (behind '&'). */
static bool read_entity(struct slice *in, struct buf *out)
{
	static const struct { struct slice word; char c; } known[] = { { SLICE_INIT("lt;"), '<' }, { SLICE_INIT("gt;"), '>' }, { SLICE_INIT("amp;"), '&' },
		                                                       { SLICE_INIT("quot;"), '"' }, { SLICE_INIT("apos;"), '\'' } };
	uint64_t code;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (slice_starts(*in, known[i].word)) {
			buf_add_byte(out, known[i].c);
			*in = slice_skip(*in, known[i].word.n);
			return true;
		}
	if (!scan_byte(in, '#') || !scan_uint(in, 126, &code) || code < 32 || !scan_byte(in, ';'))
		return false;
	return buf_add_byte(out, (char)code) == 0;
}

/* The text of an element: trimmed, entities replaced, at most 1,000 bytes. */
static struct slice value_of(struct reader *x)
{
	struct slice in = slice_trim(x->text);
	if (slice_find(in, '&') == in.n)
		return arena_copy(x->mem, slice_head(in, 1000));
	struct buf b = BUF_INIT(1000);
	while (in.n && !buf_full(&b)) {
		char c = in.p[0];
		in = slice_skip(in, 1);
		if (c != '&')
			buf_add_byte(&b, c);
		else if (!read_entity(&in, &b))
			break;
	}
	struct slice v = arena_copy(x->mem, buf_slice(&b));
	buf_free(&b);
	return v;
}

static struct dmarc_report_row *add_row(struct reader *x)
{
	struct dmarc_report *r = x->r;
	if (r->row_count == DMARC_REPORT_MAX_ROWS)
		return NULL;
	if (r->row_count == x->room) {
		x->room = x->room ? x->room * 2 : 16;
		struct dmarc_report_row *more = ARENA_ARRAY(x->mem, struct dmarc_report_row, x->room);
		if (!more)
			return NULL;
		if (r->row_count)
			memcpy(more, r->rows, r->row_count * sizeof *more);
		r->rows = more;
	}
	struct dmarc_report_row *row = &r->rows[r->row_count++];
	struct slice none = SLICE("");
	*row = (struct dmarc_report_row){ none, 0, none, none, none, none, none, none, none, none, none, none, none };
	return row;
}

static void put(const struct place *places, size_t count, struct slice parent, struct slice name, void *target, struct reader *x)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(name, slice_of(places[i].name)) && slice_eq(parent, slice_of(places[i].parent))) {
			struct slice *v = (struct slice *)(void *)((char *)target + places[i].offset);
			if (!v->n)
				*v = value_of(x);
		}
}

/* An element ended: its value, if it is one that counts. */
static void take_value(struct reader *x)
{
	struct slice name = x->stack[x->depth - 1], parent = x->depth > 1 ? x->stack[x->depth - 2] : SLICE("");
	uint64_t v;
	struct dmarc_report *r = x->r;
	if (slice_eq(parent, SLICE("date_range")) && scan_uint_all(slice_trim(x->text), INT64_MAX, &v))
		*(slice_eq(name, SLICE("begin")) ? &r->begin_s : &r->end_s) = (int64_t)v;
	put(report_places, sizeof report_places / sizeof *report_places, parent, name, r, x);
	if (!r->row_count)
		return;
	struct dmarc_report_row *row = &r->rows[r->row_count - 1];
	if (slice_eq(parent, SLICE("row")) && slice_eq(name, SLICE("count")) && scan_uint_all(slice_trim(x->text), INT32_MAX, &v))
		row->count = v;
	/* `dkim` stands in policy_evaluated, too: there it is a value, in auth_results a parent */
	put(row_places, sizeof row_places / sizeof *row_places, parent, name, row, x);
}

static bool open_element(struct reader *x, struct slice name)
{
	if (x->depth == DMARC_REPORT_MAX_DEPTH)
		return fail(x, "elements too deep");
	x->stack[x->depth++] = name;
	if (slice_eq(name, SLICE("record")) && x->depth == 2 && !add_row(x))
		return fail(x, "too many records");
	x->text = SLICE("");
	return true;
}

static bool close_element(struct reader *x, struct slice name)
{
	if (!x->depth || !slice_eq(x->stack[x->depth - 1], name))
		return fail(x, "elements cross each other");
	take_value(x);
	x->depth--;
	x->text = SLICE("");
	return true;
}

static struct slice local_name(struct slice tag)
{
	size_t n = 0;
	while (n < tag.n && !memchr(" \t\r\n/", tag.p[n], 5))
		n++;
	tag = slice_head(tag, n);
	size_t colon = slice_rfind(tag, ':');
	return colon < tag.n ? slice_skip(tag, colon + 1) : tag;
}

/* The end of a tag: the '>' outside of quotes. */
static size_t tag_end(struct slice in)
{
	char quote = 0;
	for (size_t i = 0; i < in.n; i++)
		if (quote)
			quote = in.p[i] == quote ? 0 : quote;
		else if (in.p[i] == '"' || in.p[i] == '\'')
			quote = in.p[i];
		else if (in.p[i] == '>')
			return i;
	return in.n;
}

static bool skip_to(struct reader *x, struct slice mark)
{
	size_t at = slice_find_slice(x->in, mark);
	if (at == x->in.n)
		return fail(x, "something has no end");
	x->in = slice_skip(x->in, at + mark.n);
	return true;
}

/* Behind a '<'. */
static bool take_tag(struct reader *x)
{
	if (slice_starts(x->in, SLICE("!--")))
		return skip_to(x, SLICE("-->"));
	if (slice_starts(x->in, SLICE("?")))
		return skip_to(x, SLICE("?>"));
	if (slice_starts(x->in, SLICE("!")))
		return fail(x, "declarations are not read");
	size_t end = tag_end(x->in);
	if (end == x->in.n)
		return fail(x, "a tag has no end");
	struct slice tag = slice_head(x->in, end);
	x->in = slice_skip(x->in, end + 1);
	if (tag.n && tag.p[0] == '/')
		return close_element(x, local_name(slice_skip(tag, 1)));
	struct slice name = local_name(tag);
	if (!name.n || name.n > 64)
		return fail(x, "a tag has no name");
	if (!open_element(x, name))
		return false;
	return tag.p[tag.n - 1] != '/' || close_element(x, name);
}

int dmarc_report_read(struct slice xml, struct arena *mem, struct dmarc_report *out, const char **why)
{
	struct slice none = SLICE("");
	struct dmarc_report r = { none, none, none, 0, 0, none, none, none, none, none, none, none, none, NULL, 0 };
	struct reader x = { .in = xml, .mem = mem, .r = &r, .text = SLICE("") };
	if (xml.n > DMARC_REPORT_MAX_XML) {
		*why = "report too large";
		return -E2BIG;
	}
	while (x.in.n && !x.wrong) {
		size_t at = slice_find(x.in, '<');
		bool more = at < x.in.n;
		x.text = slice_head(x.in, at);
		x.in = slice_skip(x.in, at + 1);
		if (more && !take_tag(&x))
			break;
	}
	if (!x.wrong && (x.depth || !r.domain.n || !r.report_id.n))
		x.wrong = x.depth ? "elements are left open" : "no aggregate report";
	*why = x.wrong;
	if (x.wrong)
		return slice_eq(slice_of(x.wrong), SLICE("too many records")) ? -E2BIG : -EINVAL;
	*out = r;
	return 0;
}

/* -- writing -------------------------------------------------------------------------------------------------------------- */

/* <name>value</name>, what can't stand in XML left out; nothing for an empty value. */
static void element(struct buf *out, const char *name, struct slice value)
{
	if (!value.n)
		return;
	buf_addf(out, "<%s>", name);
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		if (c == '<' || c == '>' || c == '&')
			buf_add_cstr(out, c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&amp;");
		else if (c >= 0x20 && c < 0x7f)
			buf_add_byte(out, (char)c);
	}
	buf_addf(out, "</%s>\n", name);
}

static void number(struct buf *out, const char *name, uint64_t v)
{
	buf_addf(out, "<%s>%llu</%s>\n", name, (unsigned long long)v, name);
}

static void write_row(const struct dmarc_report_row *r, struct buf *out)
{
	buf_add_cstr(out, "<record>\n<row>\n");
	element(out, "source_ip", r->source_ip);
	number(out, "count", r->count);
	buf_add_cstr(out, "<policy_evaluated>\n");
	element(out, "disposition", r->disposition);
	element(out, "dkim", r->dkim);
	element(out, "spf", r->spf);
	if (r->reason.n) {
		buf_add_cstr(out, "<reason>\n");
		element(out, "type", r->reason);
		buf_add_cstr(out, "</reason>\n");
	}
	buf_add_cstr(out, "</policy_evaluated>\n</row>\n<identifiers>\n");
	element(out, "header_from", r->header_from);
	element(out, "envelope_from", r->envelope_from);
	buf_add_cstr(out, "</identifiers>\n<auth_results>\n");
	if (r->dkim_domain.n) {
		buf_add_cstr(out, "<dkim>\n");
		element(out, "domain", r->dkim_domain);
		element(out, "selector", r->dkim_selector);
		element(out, "result", r->dkim_result);
		buf_add_cstr(out, "</dkim>\n");
	}
	if (r->spf_domain.n) {
		buf_add_cstr(out, "<spf>\n");
		element(out, "domain", r->spf_domain);
		buf_add_cstr(out, "<scope>mfrom</scope>\n");
		element(out, "result", r->spf_result);
		buf_add_cstr(out, "</spf>\n");
	}
	buf_add_cstr(out, "</auth_results>\n</record>\n");
}

int dmarc_report_write(const struct dmarc_report *r, struct buf *out)
{
	buf_add_cstr(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n<version>1.0</version>\n<report_metadata>\n");
	element(out, "org_name", r->org_name);
	element(out, "email", r->email);
	element(out, "report_id", r->report_id);
	buf_add_cstr(out, "<date_range>\n");
	number(out, "begin", (uint64_t)r->begin_s);
	number(out, "end", (uint64_t)r->end_s);
	buf_add_cstr(out, "</date_range>\n<generator>Porter</generator>\n</report_metadata>\n<policy_published>\n");
	element(out, "domain", r->domain);
	element(out, "p", r->p);
	element(out, "sp", r->sp);
	element(out, "np", r->np);
	element(out, "adkim", r->adkim);
	element(out, "aspf", r->aspf);
	element(out, "discovery_method", r->discovery);
	element(out, "testing", r->testing);
	buf_add_cstr(out, "</policy_published>\n");
	for (size_t i = 0; i < r->row_count; i++)
		write_row(&r->rows[i], out);
	buf_add_cstr(out, "</feedback>\n");
	return buf_full(out) ? -EMSGSIZE : 0;
}
