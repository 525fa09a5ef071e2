/* The counts, and the report as JSON. */
#include "delivery/tls_report.h"

#include <string.h>

#include "base/mail_date.h"
#include "base/mem.h"
#include "base/text.h"

enum { DAY_S = 86400, VERSION = 3 };
static const char magic[8] = "porTLSRP";

struct head {
	char magic[8];
	uint32_t version, size;
	uint32_t left_out;
	uint32_t tellings;       /* the same of these, behind the days */
	uint64_t used;           /* days behind this one were never written: nothing looks at their pages */
};

struct tls_report {
	struct head *head;
	struct tls_report_day *days;
	struct tls_report_telling *tellings;
	void *own;               /* where nobody gave memory */
};

static const char *const results[] = { "success", "starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
	"validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid" };

const char *tls_report_result_name(enum tls_report_result r)
{
	return results[r];
}

enum tls_report_result tls_report_result_of(struct slice phrase)
{
	static const struct {
		const char *part;
		enum tls_report_result result;
	} known[] = { { "hostname mismatch", TLS_REPORT_HOST_MISMATCH }, { "expired", TLS_REPORT_EXPIRED }, { "self-signed", TLS_REPORT_NOT_TRUSTED },
		{ "self signed", TLS_REPORT_NOT_TRUSTED }, { "issuer certificate", TLS_REPORT_NOT_TRUSTED }, { "certificate chain", TLS_REPORT_NOT_TRUSTED } };
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (slice_find_slice(phrase, slice_of(known[i].part)) < phrase.n)
			return known[i].result;
	return TLS_REPORT_VALIDATION;
}

/* -- counts ----------------------------------------------------------------------------------------------------------------------------------- */

size_t tls_report_size(void)
{
	return sizeof(struct head) + TLS_REPORT_DOMAINS * sizeof(struct tls_report_day) + TLS_REPORT_TELLINGS * sizeof(struct tls_report_telling);
}

/* Whatever the file says: strings end. */
static void end_strings(struct tls_report_telling *x)
{
	if (!x->began_s)
		return;
	x->id[sizeof x->id - 1] = x->place[sizeof x->place - 1] = x->day.domain[sizeof x->day.domain - 1] = '\0';
	x->pause_s = x->pause_s && x->pause_s <= DAY_S ? x->pause_s : DAY_S;
}

struct tls_report *tls_report_attach(void *memory, size_t size)
{
	struct tls_report *r = MEM_NEW(struct tls_report);
	if (!memory || size < tls_report_size())
		memory = r->own = mem_new(tls_report_size());
	r->head = memory;
	r->days = (struct tls_report_day *)(r->head + 1);
	r->tellings = (struct tls_report_telling *)(r->days + TLS_REPORT_DOMAINS);
	if (memcmp(r->head->magic, magic, sizeof magic) != 0 || r->head->version != VERSION || r->head->size != sizeof(struct tls_report_day)) {
		*r->head = (struct head){ .used = 0 };
		memcpy(r->head->magic, magic, sizeof magic);
		r->head->version = VERSION;
		r->head->size = sizeof(struct tls_report_day);
	}
	if (r->head->tellings > TLS_REPORT_TELLINGS)
		r->head->tellings = TLS_REPORT_TELLINGS;
	for (size_t i = 0; i < r->head->tellings; i++)
		end_strings(&r->tellings[i]);
	if (r->head->used > TLS_REPORT_DOMAINS)
		r->head->used = TLS_REPORT_DOMAINS;
	return r;
}

void tls_report_free(struct tls_report *r)
{
	if (r)
		mem_free(r->own);
	mem_free(r);
}

static void put(char *to, size_t size, struct slice s)
{
	size_t n = s.n < size ? s.n : size - 1;
	if (n)
		memcpy(to, s.p, n);
	to[n] = '\0';
}

/* Strings of the file may have lost their end. */
static struct slice get(const char *from, size_t size)
{
	return slice(from, strnlen(from, size));
}

static struct tls_report_day *find(struct tls_report *r, const struct tls_report_event *e, uint32_t day)
{
	struct tls_report_day *empty = NULL;
	for (size_t i = 0; i < r->head->used; i++) {
		struct tls_report_day *d = &r->days[i];
		if (d->day == day && d->policy == e->policy && slice_eq_nocase(get(d->domain, sizeof d->domain), e->domain))
			return d;
		if (!d->day && !empty)
			empty = d;
	}
	if (!empty && r->head->used < TLS_REPORT_DOMAINS)
		empty = &r->days[r->head->used++];
	if (!empty) {
		r->head->left_out++;
		return NULL;
	}
	memset(empty, 0, sizeof *empty);
	empty->policy = (uint8_t)e->policy;
	put(empty->domain, sizeof empty->domain, e->domain);
	put(empty->policy_text, sizeof empty->policy_text, e->policy_text);
	empty->day = day;
	return empty;
}

/* Those without room of their own count with the last. */
static void note_failure(struct tls_report_day *d, const struct tls_report_event *e)
{
	struct tls_report_failure *f = d->failures;
	for (size_t i = 0; i < TLS_REPORT_FAILURES; i++) {
		f = &d->failures[i];
		if (!f->count || (f->result == e->result && slice_eq_nocase(get(f->host, sizeof f->host), e->host) && slice_eq(get(f->ip, sizeof f->ip), e->ip) &&
		                  slice_eq(get(f->from, sizeof f->from), e->from)))
			break;
	}
	if (!f->count) {
		f->result = (uint8_t)e->result;
		put(f->host, sizeof f->host, e->host);
		put(f->ip, sizeof f->ip, e->ip);
		put(f->from, sizeof f->from, e->from);
	}
	f->count++;
}

void tls_report_note(struct tls_report *r, const struct tls_report_event *e, int64_t now_s)
{
	struct tls_report_day *d = r && e->domain.n && e->domain.n < TLS_REPORT_NAME ? find(r, e, (uint32_t)(now_s / DAY_S)) : NULL;
	if (!d)
		return;
	if (e->result == TLS_REPORT_SUCCESS) {
		d->good++;
		return;
	}
	d->bad++;
	note_failure(d, e);
}

bool tls_report_over(const struct tls_report *r, size_t *at, int64_t now_s, struct tls_report_day *out)
{
	for (size_t i = *at; i < r->head->used; i++)
		if (r->days[i].day && r->days[i].day < now_s / DAY_S) {
			*out = r->days[i];
			out->domain[sizeof out->domain - 1] = '\0';
			*at = i;
			return true;
		}
	return false;
}

void tls_report_drop(struct tls_report *r, size_t at)
{
	memset(&r->days[at], 0, sizeof r->days[at]);
}

struct tls_report_telling *tls_report_tellings(struct tls_report *r, size_t *count)
{
	*count = r->head->tellings;
	return r->tellings;
}

size_t tls_report_room(const struct tls_report *r)
{
	size_t n = TLS_REPORT_TELLINGS;
	for (size_t i = 0; i < r->head->tellings; i++)
		n -= r->tellings[i].began_s != 0;
	return n;
}

struct tls_report_telling *tls_report_begin(struct tls_report *r, const struct tls_report_day *d, struct slice id, struct slice place, int64_t now_s, uint64_t pause_s)
{
	struct tls_report_telling *x = r->tellings, *end = x + r->head->tellings;
	while (x < end && x->began_s)
		x++;
	if (x == r->tellings + TLS_REPORT_TELLINGS || id.n >= TLS_REPORT_ID || place.n >= TLS_REPORT_PLACE)
		return NULL;
	*x = (struct tls_report_telling){ .again_s = now_s, .pause_s = pause_s, .day = *d };
	put(x->id, sizeof x->id, id);
	put(x->place, sizeof x->place, place);
	x->began_s = now_s;
	r->head->tellings += x == end;
	return x;
}

/* -- the report -------------------------------------------------------------------------------------------------------------------------------- */

static void add_member(struct buf *out, const char *name, struct slice value)
{
	buf_addf(out, "\"%s\":", name);
	text_add_json(out, value);
}

static void add_time(struct buf *out, const char *name, int64_t t)
{
	struct buf text = BUF_INIT(40);
	mail_date_print_iso(&text, t);
	add_member(out, name, buf_slice(&text));
	buf_free(&text);
}

/* The patterns once more, where readers look for them. */
static void add_mx_hosts(struct buf *out, struct slice lines)
{
	const char *before = "";
	buf_add_cstr(out, ",\"mx-host\":[");
	while (lines.n) {
		struct slice line = slice_trim(slice_cut(lines, '\n', &lines));
		if (!slice_starts(line, SLICE("mx: ")))
			continue;
		buf_add_cstr(out, before);
		text_add_json(out, slice_skip(line, 4));
		before = ",";
	}
	buf_add_byte(out, ']');
}

static void add_policy(struct buf *out, const struct tls_report_day *d)
{
	static const char *const names[] = { "no-policy-found", "tlsa", "sts" };
	struct slice lines = get(d->policy_text, sizeof d->policy_text);
	bool first = true;
	buf_add_cstr(out, "\"policy\":{");
	add_member(out, "policy-type", slice_of(names[d->policy <= TLS_REPORT_STS ? d->policy : 0]));
	if (lines.n)
		buf_add_cstr(out, ",\"policy-string\":[");
	for (bool any = lines.n > 0; lines.n; first = false) {
		if (!first)
			buf_add_byte(out, ',');
		text_add_json(out, slice_trim(slice_cut(lines, '\n', &lines)));
		if (any && !lines.n)
			buf_add_byte(out, ']');
	}
	buf_add_byte(out, ',');
	add_member(out, "policy-domain", get(d->domain, sizeof d->domain));
	if (d->policy == TLS_REPORT_STS)
		add_mx_hosts(out, get(d->policy_text, sizeof d->policy_text));
	buf_add_byte(out, '}');
}

static void add_known(struct buf *out, const char *name, struct slice value)
{
	if (!value.n)
		return;
	add_member(out, name, value);
	buf_add_byte(out, ',');
}

static void add_failures(struct buf *out, const struct tls_report_day *d)
{
	buf_add_cstr(out, ",\"failure-details\":[");
	for (size_t i = 0; i < TLS_REPORT_FAILURES && d->failures[i].count; i++) {
		const struct tls_report_failure *f = &d->failures[i];
		buf_add_cstr(out, i ? ",{" : "{");
		add_member(out, "result-type", slice_of(results[f->result <= TLS_REPORT_WEBPKI ? f->result : TLS_REPORT_VALIDATION]));
		buf_add_byte(out, ',');
		add_known(out, "sending-mta-ip", get(f->from, sizeof f->from));
		add_known(out, "receiving-ip", get(f->ip, sizeof f->ip));
		add_member(out, "receiving-mx-hostname", get(f->host, sizeof f->host));
		buf_addf(out, ",\"failed-session-count\":%llu}", (unsigned long long)f->count);
	}
	buf_add_byte(out, ']');
}

void tls_report_json(const struct tls_report_day *d, struct slice organisation, struct slice contact, struct slice id, struct buf *out)
{
	int64_t start = (int64_t)d->day * DAY_S;
	buf_add_byte(out, '{');
	add_member(out, "organization-name", organisation);
	buf_add_cstr(out, ",\"date-range\":{");
	add_time(out, "start-datetime", start);
	buf_add_byte(out, ',');
	add_time(out, "end-datetime", start + DAY_S - 1);
	buf_add_cstr(out, "},");
	add_member(out, "contact-info", contact);
	buf_add_byte(out, ',');
	add_member(out, "report-id", id);
	buf_add_cstr(out, ",\"policies\":[{");
	add_policy(out, d);
	buf_addf(out, ",\"summary\":{\"total-successful-session-count\":%llu,\"total-failure-session-count\":%llu}", (unsigned long long)d->good,
	         (unsigned long long)d->bad);
	if (d->failures[0].count)
		add_failures(out, d);
	buf_add_cstr(out, "}]}\n");
}

/* -- who wants one --------------------------------------------------------------------------------------------------------------------------------- */

static size_t read_places(struct slice list, struct slice places[TLS_REPORT_PLACES])
{
	size_t n = 0;
	while (list.n && n < TLS_REPORT_PLACES) {
		struct slice place = slice_trim(slice_cut(list, ',', &list));
		bool known = slice_starts_nocase(place, SLICE("mailto:")) || slice_starts_nocase(place, SLICE("https://"));
		bool good = known && place.n <= 500;
		for (size_t i = 0; good && i < place.n; i++)
			good = place.p[i] > 0x20 && place.p[i] < 0x7f;
		if (good)
			places[n++] = place;
	}
	return n;
}

size_t tls_report_places(struct slice txt, struct slice places[TLS_REPORT_PLACES])
{
	bool first = true;
	while (txt.n) {
		struct slice value = slice_trim(slice_cut(txt, ';', &txt)), key = slice_trim(slice_cut(value, '=', &value));
		if (first && !(slice_eq(key, SLICE("v")) && slice_eq(slice_trim(value), SLICE("TLSRPTv1"))))
			return 0;
		first = false;
		if (slice_eq(key, SLICE("rua")))
			return read_places(slice_trim(value), places);
	}
	return 0;
}
