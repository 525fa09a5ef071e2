/* One aggregate report as a mail for each of its destinations: up to 8 MiB of XML, which take tens of milliseconds to write and pack. In a worker. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/inflate.h"
#include "base/mem.h"
#include "base/text.h"
#include "queue/feedback.h"
#include "queue/report.h"

enum { DAY_S = 86400, MAX_MAIL = 24 << 20, MAX_LINE = 57 /* bytes in a line of base64 */ };

static void write_mail(const struct feedback_house *h, const struct feedback_batch *b, struct slice to, struct slice id, struct slice packed, struct buf *out)
{
	struct buf subject = BUF_INIT(1000);
	struct slice domain = b->first.report.domain;
	int64_t begin_s = b->day * DAY_S, end_s = begin_s + DAY_S - 1;
	buf_addf(&subject, "Report Domain: %.*s Submitter: %.*s Report-ID: <%.*s>", SLICE_FMT(domain), SLICE_FMT(h->name), SLICE_FMT(id));
	report_write_head(out, &(struct report_head){ .host = h->name, .from = h->postmaster, .to = to, .id = id, .subject = buf_slice(&subject), .now_s = clock_wall_s(),
	                                              .auto_submitted = "auto-generated" });
	buf_addf(out, "Content-Type: multipart/mixed; boundary=\"=_%.*s\"\r\n\r\n--=_%.*s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
	         "A DMARC aggregate report for %.*s by %.*s: %llu messages.\r\n\r\n--=_%.*s\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n"
	         "Content-Disposition: attachment;\r\n\tfilename=\"%.*s!%.*s!%lld!%lld.xml.gz\"\r\n\r\n",
	         SLICE_FMT(id), SLICE_FMT(id), SLICE_FMT(domain), SLICE_FMT(h->name), (unsigned long long)b->messages, SLICE_FMT(id), SLICE_FMT(h->name),
	         SLICE_FMT(domain), (long long)begin_s, (long long)end_s);
	for (struct slice rest = packed; rest.n; rest = slice_skip(rest, MAX_LINE)) {
		text_add_base64(out, slice_head(rest, MAX_LINE));
		buf_add_cstr(out, "\r\n");
	}
	buf_addf(out, "--=_%.*s--\r\n", SLICE_FMT(id));
	buf_free(&subject);
}

/* A Report-ID never comes twice (RFC 9990, 3.5.1): a domain may get several reports for one day. */
static void write_report(const struct feedback_house *h, const struct feedback_batch *b, struct buf *xml)
{
	struct unique unique = unique_new();
	struct buf id = BUF_INIT(400);
	buf_addf(&id, "%lld.%.*s.%.*s", (long long)b->day, SLICE_FMT(b->first.report.domain), SLICE_FMT(unique_slice(&unique)));
	struct dmarc_report r = b->first.report;
	r.org_name = h->name;
	r.email = h->postmaster;
	r.report_id = buf_slice(&id);
	r.begin_s = b->day * DAY_S;
	r.end_s = r.begin_s + DAY_S - 1;
	r.rows = b->rows;
	r.row_count = b->count;
	dmarc_report_write(&r, xml); /* fits: feedback_store_take weighed it */
	buf_free(&id);
}

int feedback_report_make(const struct feedback_house *h, const struct feedback_batch *b, struct feedback_made *out)
{
	struct buf xml = BUF_INIT(FEEDBACK_MAX_XML + 10000), packed = BUF_INIT(FEEDBACK_MAX_XML + 10000);
	write_report(h, b, &xml);
	int error = buf_full(&xml) ? -EMSGSIZE : deflate_gzip(buf_slice(&xml), &packed);
	*out = (struct feedback_made){ .domain = mem_copy(b->first.report.domain.p, b->first.report.domain.n), .messages = b->messages, .error = error };
	for (size_t i = 0; i < b->first.to_count && !error; i++) {
		struct feedback_mail *m = &out->mails[out->count++];
		struct slice to = b->first.to[i];
		*m = (struct feedback_mail){ unique_new(), mem_copy(to.p, to.n), BUF_INIT(MAX_MAIL) };
		write_mail(h, b, to, unique_slice(&m->id), buf_slice(&packed), &m->text);
	}
	buf_free(&xml);
	buf_free(&packed);
	return error;
}

void feedback_made_free(struct feedback_made *m)
{
	for (size_t i = 0; i < m->count; i++) {
		mem_free(m->mails[i].to);
		buf_free(&m->mails[i].text);
	}
	mem_free(m->domain);
	*m = (struct feedback_made){ .count = 0 };
}
