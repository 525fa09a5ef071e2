/* DMARC's own reading of tag lists: tag names fold case, errors are ignored (RFC 9989, 4.8), so mail_tags is too strict here. */
#include "base/mail_dmarc_record.h"

#include <errno.h>

#include "base/scan.h"
#include "base/text.h"

/* The next tag of the list; a part without '=' has an empty name. False at the end. */
static bool next_tag(struct slice *in, struct slice *name, struct slice *value)
{
	if (!in->p)
		return false;
	struct slice rest, part = slice_cut(*in, ';', in);
	*name = slice_trim(slice_cut(part, '=', &rest));
	*value = slice_trim(rest);
	if (!rest.p)
		*name = SLICE("");
	return true;
}

bool dmarc_record_is(struct slice txt)
{
	struct slice name, value;
	return next_tag(&txt, &name, &value) && slice_eq_nocase(name, SLICE("v")) && slice_eq(value, SLICE("DMARC1"));
}

static bool read_policy(struct slice value, enum dmarc_policy *out)
{
	if (slice_eq_nocase(value, SLICE("none")))
		*out = DMARC_POLICY_NONE;
	else if (slice_eq_nocase(value, SLICE("quarantine")))
		*out = DMARC_POLICY_QUARANTINE;
	else if (slice_eq_nocase(value, SLICE("reject")))
		*out = DMARC_POLICY_REJECT;
	else
		return false;
	return true;
}

/* "!10m" at the end is obsolete and dropped; what has the wrong form makes the URI invalid. */
static bool drop_size(struct slice *uri)
{
	struct slice size;
	uint64_t n;
	*uri = slice_cut(*uri, '!', &size);
	if (!size.p)
		return true;
	if (!scan_uint(&size, UINT64_MAX, &n) || size.n > 1)
		return false;
	return !size.n || (size.p[0] && strchr("kmgtKMGT", size.p[0]));
}

/* scheme ":" and something printable behind it (RFC 3986, 3). */
static bool is_uri(struct slice s)
{
	size_t colon = slice_find(s, ':');
	if (colon == 0 || colon + 1 >= s.n || !text_is_alpha((unsigned char)s.p[0]))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (i < colon ? !text_is_alnum(c) && !strchr("+-.", c) : c <= ' ' || c >= 0x7f || strchr("<>\"\\^`{|}", c))
			return false;
	}
	return !slice_starts_nocase(s, SLICE("mailto:")) || slice_find(s, '@') < s.n;
}

static void read_uris(struct slice list, struct dmarc_record *r)
{
	while (list.p) {
		struct slice uri = slice_trim(slice_cut(list, ',', &list));
		if (drop_size(&uri) && is_uri(uri) && r->rua_count < DMARC_MAX_URIS)
			r->rua[r->rua_count++] = uri;
	}
}

struct reading {
	struct dmarc_record r;
	bool has_p, wrong;       /* wrong: an sp= or np= that is none */
};

static void read_tag(struct reading *d, struct slice name, struct slice value)
{
	struct dmarc_record *r = &d->r;
	if (slice_eq_nocase(name, SLICE("p")))
		d->has_p = read_policy(value, &r->p);
	else if (slice_eq_nocase(name, SLICE("sp")))
		d->wrong |= !(r->has_sp = read_policy(value, &r->sp));
	else if (slice_eq_nocase(name, SLICE("np")))
		d->wrong |= !(r->has_np = read_policy(value, &r->np));
	else if (slice_eq_nocase(name, SLICE("psd")))
		r->psd = slice_eq_nocase(value, SLICE("y")) ? DMARC_PSD_YES : slice_eq_nocase(value, SLICE("n")) ? DMARC_PSD_NO : DMARC_PSD_UNKNOWN;
	else if (slice_eq_nocase(name, SLICE("adkim")))
		r->strict_dkim = slice_eq_nocase(value, SLICE("s"));
	else if (slice_eq_nocase(name, SLICE("aspf")))
		r->strict_spf = slice_eq_nocase(value, SLICE("s"));
	else if (slice_eq_nocase(name, SLICE("t")))
		r->testing = slice_eq_nocase(value, SLICE("y"));
	else if (slice_eq_nocase(name, SLICE("rua")))
		read_uris(value, r);
}

int dmarc_record_parse(struct slice text, struct dmarc_record *out)
{
	struct reading d = { 0 };
	struct slice seen[32], name, value;
	size_t count = 0;
	if (!dmarc_record_is(text))
		return -EINVAL;
	while (next_tag(&text, &name, &value)) {
		for (size_t i = 0; i < count; i++)
			if (name.n && slice_eq_nocase(seen[i], name))
				return -EINVAL; /* 6376, 3.2: the list is invalid */
		if (count < sizeof seen / sizeof *seen)
			seen[count++] = name;
		read_tag(&d, name, value);
	}
	d.r.applies = (d.has_p && !d.wrong) || d.r.rua_count;
	if (!d.has_p || d.wrong)
		d.r.p = d.r.sp = d.r.np = DMARC_POLICY_NONE;
	if (!d.r.has_sp)
		d.r.sp = d.r.p;
	if (!d.r.has_np)
		d.r.np = d.r.sp;
	*out = d.r;
	return 0;
}

struct slice dmarc_uri_address(struct slice uri, struct arena *mem)
{
	if (!slice_starts_nocase(uri, SLICE("mailto:")))
		return SLICE("");
	uri = slice_skip(uri, 7);
	struct slice query;
	uri = slice_cut(uri, '?', &query);
	char *to = arena_new(mem, uri.n + 1);
	size_t n = 0;
	while (to && uri.n) {
		uint64_t byte = (unsigned char)uri.p[0];
		bool escaped = uri.p[0] == '%';
		uri = slice_skip(uri, 1);
		if (escaped && !scan_hex(&uri, 2, &byte))
			return SLICE("");
		if (byte <= ' ' || byte >= 0x7f)
			return SLICE("");
		to[n++] = (char)byte;
	}
	return to ? slice(to, n) : SLICE("");
}

const char *dmarc_policy_name(enum dmarc_policy p)
{
	switch (p) {
	case DMARC_POLICY_NONE: return "none";
	case DMARC_POLICY_QUARANTINE: return "quarantine";
	case DMARC_POLICY_REJECT: return "reject";
	}
	return "none";
}
