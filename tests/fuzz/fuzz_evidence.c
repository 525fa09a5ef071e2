/* libFuzzer targets for everything that strangers write into mail and DNS. One program a target: -DTARGET=spf|tags|key|header|address|signature|arc|dmarc|
 * authres|report|date|zone. Each reads the bytes as that thing and looks at all that came out of it; the finding is a crash, a sanitizer's word, or time. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mail_address.h"
#include "base/mail_arc.h"
#include "base/mail_author.h"
#include "base/mail_authres.h"
#include "base/mail_check.h"
#include "base/mail_date.h"
#include "base/mail_dmarc_record.h"
#include "base/mail_header.h"
#include "base/mail_key.h"
#include "base/mail_signature.h"
#include "base/mail_spf_record.h"
#include "base/mail_tags.h"
#include "base/dmarc_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sum; /* so that what was read is used */

static void look(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		sum += (unsigned char)s.p[i];
}

static void spf(struct slice in, struct arena *mem)
{
	struct spf_record r;
	const char *why = NULL;
	struct slice at;
	struct spf_names n = { .local_part = SLICE("a.b"), .sender_domain = SLICE("x.test"), .helo = SLICE("h.test"), .domain = SLICE("d.test"), .validated = SLICE("") };
	if (!spf_record_is(in) || spf_record_parse(in, mem, &r, &why, &at))
		return;
	for (size_t i = 0; i < r.count; i++) {
		struct buf out = BUF_INIT(8192);
		look(r.terms[i].text);
		spf_macro_expand(r.terms[i].target, &n, &out);
		look(buf_slice(&out));
		buf_free(&out);
	}
}

static void tags(struct slice in, struct arena *mem)
{
	struct mail_tags t;
	struct buf out = BUF_INIT(1 << 16);
	(void)mem;
	if (mail_tags_parse(in, &t) == 0)
		for (size_t i = 0; i < t.count; i++) {
			struct slice list = t.tags[i].value, item;
			while (mail_tags_item(&list, ':', &item))
				look(item);
			mail_tags_base64(t.tags[i].value, &out);
		}
	buf_free(&out);
}

static void key(struct slice in, struct arena *mem)
{
	static uint8_t bytes[256];
	const char *why;
	unsigned bits = 0;
	struct mail_signature s = { .algorithm = ALGORITHM_RSA_SHA256, .signature = slice((char *)bytes, 256) };
	struct mail_digest d = { .n = 32 };
	(void)mem;
	struct mail_key *k = mail_key_find(in, &why);
	if (k) {
		s.algorithm = mail_key_record(k)->ed25519 ? ALGORITHM_ED25519_SHA256 : ALGORITHM_RSA_SHA256;
		mail_key_verify(k, &s, &d, true, &bits);
		mail_key_suits(mail_key_record(k), SLICE("ann@x.test"));
	}
}

static void header(struct slice in, struct arena *mem)
{
	struct mail_header h;
	if (mail_header_parse(in, 1000, mem, &h))
		return;
	for (size_t i = 0; i < h.count; i++) {
		look(h.fields[i].raw);
		look(mail_field_unfold(&h.fields[i], mem));
	}
	look(h.body);
	mail_header_end(in);
}

static void address(struct slice in, struct arena *mem)
{
	struct mail_address *list = NULL;
	size_t count = 0;
	if (mail_address_parse(in, 100, mem, &list, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		look(list[i].name);
		look(list[i].local_part);
		look(list[i].domain);
	}
}

/* From, read both ways: where each finds one domain it is the same. */
static void author(struct slice in, struct arena *mem)
{
	struct mail_header h;
	struct slice shown, written;
	const char *why;
	if (mail_header_parse(in, 20, mem, &h))
		return;
	int a = mail_author_shown(&h, mem, &shown, &why), b = mail_author_written(&h, mem, &written);
	if (a == 0 && b == 0 && !slice_eq_nocase(shown, written))
		abort();
	for (size_t i = 0; i < h.count; i++)
		sum += mail_author_shows_at(h.fields[i].value);
}

static void signature(struct slice in, struct arena *mem)
{
	struct mail_header h;
	struct mail_signature s;
	struct mail_digest d;
	const char *why;
	if (mail_header_parse(in, 200, mem, &h))
		return;
	struct mail_names *names = mail_names_new(&h, mem);
	for (size_t i = 0; i < h.count && names; i++)
		if (mail_signature_parse(SIGNATURE_DKIM, &h.fields[i], mem, i & 1, &s, &why) == 0)
			mail_signature_digest(&s, &h, names, &h.fields[i], &d);
}

static void arc(struct slice in, struct arena *mem)
{
	struct mail_header h;
	struct arc_chain c;
	struct mail_digest d;
	if (mail_header_parse(in, 400, mem, &h))
		return;
	arc_collect(&h, mem, &c);
	for (size_t i = 0; !c.wrong && i < c.count; i++)
		arc_seal_digest(&c, i + 1, &d);
}

static void dmarc(struct slice in, struct arena *mem)
{
	struct dmarc_record r;
	if (dmarc_record_parse(in, &r))
		return;
	for (size_t i = 0; i < r.rua_count; i++)
		look(dmarc_uri_address(r.rua[i], mem));
}

static void authres(struct slice in, struct arena *mem)
{
	struct authres_item item;
	struct slice id;
	(void)mem;
	authres_is_ours(in, SLICE("mx.example.test"));
	authres_id(in, &id);
	if (!authres_skip_id(&in))
		return;
	while (authres_next(&in, &item)) {
		look(item.method);
		look(authres_find(&item, SLICE("header.d")));
	}
}

static void report(struct slice in, struct arena *mem)
{
	struct dmarc_report r;
	const char *why;
	if (dmarc_report_read(in, mem, &r, &why) == 0)
		for (size_t i = 0; i < r.row_count; i++)
			look(r.rows[i].header_from);
}

static void date(struct slice in, struct arena *mem)
{
	int64_t t;
	int zone;
	(void)mem;
	sum += mail_date_parse(in, &t, &zone);
	sum += mail_date_parse_iso(in, &t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena mem = ARENA_INIT(8 << 20);
	char *copy = malloc(size ? size : 1); /* a block of its own: reading past its end is seen */
	memcpy(copy, data, size);
	static void (*const all[])(struct slice, struct arena *) = { spf, tags, key, header, address, author, signature, arc, dmarc, authres, report, date };
	(void)all;
	TARGET(slice(copy, size), &mem);
	arena_free(&mem);
	free(copy);
	return 0;
}
