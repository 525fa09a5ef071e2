/* `porterctl auth reports`: aggregate reports that others sent (RFC 9990), out of mails, Maildirs or plain files, summed up by domain and source. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dmarc_report.h"
#include "base/hash.h"
#include "base/inflate.h"
#include "base/mail_date.h"
#include "base/mail_mime.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/ctl_auth.h"

enum { MAX_FILE = 32 << 20, MAX_SOURCES = 20000, MAX_REPORTS = 20000, SLOTS = 1 << 16 /* more than twice the sources */, MAX_TOLD = 50 };

struct source {
	struct slice domain, ip, from;
	uint64_t messages, passed, dkim, spf, quarantined, rejected;
};

struct summing {
	struct auth_tool *t;
	struct source *sources;
	struct slice *known;           /* reports */
	size_t count, reports, files, bad;
	uint32_t slots[SLOTS];         /* the source + 1; 0 free */
	struct hash_key key;
	int64_t begin_s, end_s;
	struct buf told;               /* the reports themselves */
	const char *path;              /* the file at hand */
	size_t told_bad;               /* what looked like a report and was none */
};

static struct slice keep(struct summing *k, struct slice s)
{
	return arena_copy(&k->t->mem, s);
}

static size_t first_slot(struct summing *k, struct slice domain, const struct dmarc_report_row *row)
{
	struct buf name = BUF_INIT(8192);
	buf_addf(&name, "%.*s\n%.*s\n%.*s", SLICE_FMT(domain), SLICE_FMT(row->header_from), SLICE_FMT(row->source_ip));
	for (size_t i = 0; i < name.n; i++)
		name.p[i] = text_lower_byte(name.p[i]);
	size_t at = (size_t)(hash_bytes(&k->key, buf_slice(&name)) % SLOTS);
	buf_free(&name);
	return at;
}

static struct source *find_source(struct summing *k, struct slice domain, const struct dmarc_report_row *row)
{
	size_t at = first_slot(k, domain, row);
	for (; k->slots[at]; at = (at + 1) % SLOTS) {
		struct source *s = &k->sources[k->slots[at] - 1];
		if (slice_eq(s->ip, row->source_ip) && slice_eq_nocase(s->domain, domain) && slice_eq_nocase(s->from, row->header_from))
			return s;
	}
	if (k->count == MAX_SOURCES)
		return NULL;
	k->sources = mem_grow(k->sources, k->count + 1, sizeof *k->sources);
	k->slots[at] = (uint32_t)k->count + 1;
	k->sources[k->count] = (struct source){ .domain = keep(k, domain), .ip = keep(k, row->source_ip), .from = keep(k, row->header_from) };
	return &k->sources[k->count++];
}

/* A report that was sent twice counts once. */
static bool is_known(struct summing *k, const struct dmarc_report *r)
{
	struct buf name = BUF_INIT(8192);
	buf_addf(&name, "%.*s\n%.*s\n%.*s", SLICE_FMT(r->org_name), SLICE_FMT(r->report_id), SLICE_FMT(r->domain));
	for (size_t i = 0; i < k->reports; i++)
		if (slice_eq(k->known[i], buf_slice(&name))) {
			buf_free(&name);
			return true;
		}
	k->known = mem_grow(k->known, k->reports + 1, sizeof *k->known);
	k->known[k->reports] = keep(k, buf_slice(&name));
	buf_free(&name);
	return false;
}

static void add_report(struct summing *k, const struct dmarc_report *r)
{
	uint64_t total = 0;
	if (is_known(k, r))
		return;
	k->reports++;
	if (!k->begin_s || r->begin_s < k->begin_s)
		k->begin_s = r->begin_s;
	if (r->end_s > k->end_s)
		k->end_s = r->end_s;
	for (size_t i = 0; i < r->row_count; i++) {
		const struct dmarc_report_row *row = &r->rows[i];
		struct source *s = find_source(k, r->domain, row);
		bool dkim = slice_eq(row->dkim, SLICE("pass")), spf = slice_eq(row->spf, SLICE("pass"));
		total += row->count;
		if (!s)
			continue;
		s->messages += row->count;
		s->passed += dkim || spf ? row->count : 0;
		s->dkim += dkim ? row->count : 0;
		s->spf += spf ? row->count : 0;
		s->quarantined += slice_eq(row->disposition, SLICE("quarantine")) ? row->count : 0;
		s->rejected += slice_eq(row->disposition, SLICE("reject")) ? row->count : 0;
	}
	if (k->t->ctl->json) {
		buf_add_cstr(&k->told, k->reports > 1 ? ",{" : "{");
		auth_json_str(&k->told, "org", r->org_name, true);
		auth_json_str(&k->told, "id", r->report_id, false);
		auth_json_str(&k->told, "domain", r->domain, false);
		auth_json_str(&k->told, "policy", r->p, false);
		buf_addf(&k->told, ",\"begin\":%lld,\"end\":%lld,\"messages\":%llu}", (long long)r->begin_s, (long long)r->end_s, (unsigned long long)total);
	}
}

/* A packed or plain XML file. */
static bool try_report(struct summing *k, struct slice data)
{
	struct buf xml = BUF_INIT(DMARC_REPORT_MAX_XML);
	struct arena mem = ARENA_INIT(256 << 20);
	struct dmarc_report r;
	const char *why = NULL;
	int error = inflate_any(data, &xml);
	bool good = !error && dmarc_report_read(buf_slice(&xml), &mem, &r, &why) == 0;
	if (good && k->reports < MAX_REPORTS)
		add_report(k, &r);
	if (!good && k->told_bad++ < MAX_TOLD)
		fprintf(stderr, "porterctl: auth: %s: %s\n", k->path, why ? why : error == -E2BIG ? "it is larger than 64 MiB when unpacked" : "it can't be unpacked");
	arena_free(&mem);
	buf_free(&xml);
	return good;
}

static bool is_report_part(const struct mail_part *p)
{
	static const struct slice types[] = { SLICE_INIT("application/gzip"), SLICE_INIT("application/x-gzip"), SLICE_INIT("application/zip"),
		                              SLICE_INIT("application/x-zip-compressed"), SLICE_INIT("text/xml"), SLICE_INIT("application/xml") };
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (slice_eq(p->type, types[i]))
			return true;
	return slice_ends_nocase(p->filename, SLICE(".gz")) || slice_ends_nocase(p->filename, SLICE(".zip")) || slice_ends_nocase(p->filename, SLICE(".xml"));
}

struct mail_state {
	struct summing *k;
	bool found;
};

static bool on_part(void *arg, const struct mail_part *p)
{
	struct mail_state *m = arg;
	struct buf data = BUF_INIT(MAX_FILE);
	if (is_report_part(p) && mail_mime_decode(p, &data) == 0)
		m->found |= try_report(m->k, buf_slice(&data));
	buf_free(&data);
	return true;
}

static void take_text(struct summing *k, struct slice text)
{
	struct arena mem = ARENA_INIT(16 << 20);
	struct mail_state m = { k, false };
	bool packed = slice_starts(text, SLICE("\x1f\x8b")) || slice_starts(text, SLICE("PK\x03\x04")) || slice_starts(slice_trim(text), SLICE("<"));
	k->files++;
	if (packed)
		m.found = try_report(k, text);
	else
		mail_mime_each(text, &mem, on_part, &m);
	k->bad += !m.found;
	arena_free(&mem);
}

static int take_file(struct summing *k, const char *path)
{
	k->path = path;
	struct buf text = BUF_INIT(0);
	int error = ctl_read_file(path, MAX_FILE, &text);
	if (error)
		return ctl_fail(CTL_NO_INPUT, "auth: %s: %s", path, strerror(-error));
	take_text(k, buf_slice(&text));
	buf_free(&text);
	return 0;
}

/* A folder's files, and those of a Maildir's new/ and cur/. */
static int take_folder(struct summing *k, const char *path, bool inside)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int code = 0;
	if (!d)
		return ctl_fail(CTL_NO_INPUT, "auth: %s can't be read", path);
	while (!code && (e = readdir(d))) {
		char name[PATH_MAX];
		struct stat st;
		if (e->d_name[0] == '.' || snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name || stat(name, &st))
			continue;
		if (S_ISREG(st.st_mode))
			code = take_file(k, name);
		else if (S_ISDIR(st.st_mode) && !inside && (strcmp(e->d_name, "new") == 0 || strcmp(e->d_name, "cur") == 0))
			code = take_folder(k, name, true);
	}
	closedir(d);
	return code;
}

static int by_count(const void *a, const void *b)
{
	const struct source *x = a, *y = b;
	int order = slice_cmp(x->domain, y->domain);
	return order ? order : x->messages < y->messages ? 1 : x->messages > y->messages ? -1 : slice_cmp(x->ip, y->ip);
}

static void tell_json(struct summing *k)
{
	struct buf *out = &k->t->out;
	buf_addf(out, "{\"files\":%zu,\"without\":%zu,\"begin\":%lld,\"end\":%lld,\"reports\":[%.*s],\"sources\":[", k->files, k->bad, (long long)k->begin_s,
	         (long long)k->end_s, SLICE_FMT(buf_slice(&k->told)));
	for (size_t i = 0; i < k->count; i++) {
		const struct source *s = &k->sources[i];
		buf_add_cstr(out, i ? ",{" : "{");
		auth_json_str(out, "domain", s->domain, true);
		auth_json_str(out, "source", s->ip, false);
		auth_json_str(out, "from", s->from, false);
		buf_addf(out, ",\"messages\":%llu,\"passed\":%llu,\"dkim\":%llu,\"spf\":%llu,\"quarantined\":%llu,\"rejected\":%llu}", (unsigned long long)s->messages,
		         (unsigned long long)s->passed, (unsigned long long)s->dkim, (unsigned long long)s->spf, (unsigned long long)s->quarantined,
		         (unsigned long long)s->rejected);
	}
	buf_add_cstr(out, "]}\n");
}

static void tell_words(struct summing *k)
{
	struct buf *out = &k->t->out;
	struct slice domain = SLICE("");
	if (!k->reports) {
		buf_addf(out, "no reports in %zu files\n", k->files);
		return;
	}
	buf_addf(out, "%zu reports in %zu files, ", k->reports, k->files);
	mail_date_print_iso(out, k->begin_s);
	buf_add_cstr(out, " to ");
	mail_date_print_iso(out, k->end_s);
	buf_addf(out, "; %zu files without\n", k->bad);
	for (size_t i = 0; i < k->count; i++) {
		const struct source *s = &k->sources[i];
		if (!slice_eq(domain, s->domain)) {
			domain = s->domain;
			text_add_escaped(out, domain);
			buf_add_cstr(out, "\n    messages     pass     dkim      spf  quarantined  rejected  source\n");
		}
		buf_addf(out, "    %8llu %8llu %8llu %8llu %12llu %9llu  ", (unsigned long long)s->messages, (unsigned long long)s->passed, (unsigned long long)s->dkim,
		         (unsigned long long)s->spf, (unsigned long long)s->quarantined, (unsigned long long)s->rejected);
		text_add_escaped(out, s->ip);
		if (!slice_eq_nocase(s->from, s->domain)) {
			buf_add_cstr(out, " as ");
			text_add_escaped(out, s->from);
		}
		buf_add_byte(out, '\n');
	}
}

int auth_reports(struct auth_tool *t)
{
	struct summing *k = MEM_NEW(struct summing);
	k->t = t;
	k->key = hash_key_random();
	buf_init(&k->told, 64 << 20);
	int code = t->o.word_count ? 0 : ctl_fail(CTL_USAGE, "auth: a file or folder of reports is missing; --help tells");
	for (size_t i = 0; i < t->o.word_count && !code; i++) {
		char *path = arena_cstr(&t->mem, t->o.words[i]);
		struct stat st;
		code = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? take_folder(k, path, false) : take_file(k, path);
	}
	if (!code) {
		if (k->count)
			qsort(k->sources, k->count, sizeof *k->sources, by_count);
		(t->ctl->json ? tell_json : tell_words)(k);
	}
	mem_free(k->sources);
	mem_free(k->known);
	buf_free(&k->told);
	mem_free(k);
	return code;
}
