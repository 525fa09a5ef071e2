#ifndef BASE_DMARC_REPORT_H
#define BASE_DMARC_REPORT_H
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* DMARC aggregate reports (RFC 9990, and RFC 7489's older form): written and read. A report is hostile XML: no document types, no entities but the
 * five, bounded depth and rows. */
enum { DMARC_REPORT_MAX_ROWS = 100000, DMARC_REPORT_MAX_DEPTH = 16, DMARC_REPORT_MAX_XML = 64 << 20 };

struct dmarc_report_row {
	struct slice source_ip;
	uint64_t count;
	struct slice disposition;      /* none pass quarantine reject */
	struct slice dkim, spf;        /* aligned: pass fail */
	struct slice reason;           /* type of the override; "" none */
	struct slice header_from, envelope_from;
	struct slice dkim_domain, dkim_selector, dkim_result; /* of the first signature */
	struct slice spf_domain, spf_result;
};

struct dmarc_report {
	struct slice org_name, email, report_id;
	int64_t begin_s, end_s;
	struct slice domain, p, sp, np, adkim, aspf, testing, discovery;
	struct dmarc_report_row *rows;
	size_t row_count;
};

/* 0: strings live in mem. -EINVAL: no such report, *why is a fixed phrase; -E2BIG: too much. */
int dmarc_report_read(struct slice xml, struct arena *mem, struct dmarc_report *out, const char **why);

/* By RFC 9990's schema. 0 or -EMSGSIZE. */
int dmarc_report_write(const struct dmarc_report *r, struct buf *out);
#endif
