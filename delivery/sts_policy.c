/* Policies and records of MTA-STS, read. */
#include "base/scan.h"
#include "base/text.h"
#include "delivery/sts.h"

static const uint64_t MOST_AGE_S = 9999999999; /* ten digits; more than STS_MAX_AGE_S is as much as that */

/* "key: value" lines that end with LF or CRLF; what isn't known is skipped (RFC 8461, 3.2). */
static bool next_field(struct slice *text, struct slice *key, struct slice *value)
{
	while (text->n) {
		struct slice line = slice_trim(slice_cut(*text, '\n', text)), rest = line;
		*key = slice_trim(slice_cut(rest, ':', &rest));
		*value = slice_trim(rest);
		if (rest.p)
			return true;
	}
	return false;
}

static bool read_mode(struct slice value, enum sts_mode *out)
{
	if (slice_eq(value, SLICE("enforce")))
		*out = STS_ENFORCE;
	else if (slice_eq(value, SLICE("testing")))
		*out = STS_TESTING;
	else if (slice_eq(value, SLICE("none")))
		*out = STS_NONE;
	else
		return false;
	return true;
}

static bool is_host_pattern(struct slice s)
{
	if (slice_starts(s, SLICE("*.")))
		s = slice_skip(s, 2);
	bool good = s.n > 0 && s.n <= 253;
	for (size_t i = 0; good && i < s.n; i++)
		good = text_is_alnum((unsigned char)s.p[i]) || s.p[i] == '-' || s.p[i] == '.' || s.p[i] == '_';
	return good;
}

bool sts_parse(struct slice text, struct arena *mem, struct sts_policy *out)
{
	struct slice key, value;
	bool version = false, mode = false, age = false;
	*out = (struct sts_policy){ .mode = STS_NONE };
	while (next_field(&text, &key, &value)) {
		if (slice_eq(key, SLICE("version"))) {
			version = version || slice_eq(value, SLICE("STSv1")); /* 3.2: of fields that come twice the first counts */
			if (!version)
				return false;
		} else if (slice_eq(key, SLICE("mode"))) {
			mode = mode || read_mode(value, &out->mode);
		} else if (slice_eq(key, SLICE("max_age"))) {
			age = age || scan_uint_all(value, MOST_AGE_S, &out->max_age_s);
		} else if (slice_eq(key, SLICE("mx"))) {
			if (!is_host_pattern(value) || out->mx_count == STS_MAX_MX)
				return false;
			out->mx[out->mx_count++] = text_lower(mem, value);
		}
	}
	out->max_age_s = out->max_age_s > STS_MAX_AGE_S ? STS_MAX_AGE_S : out->max_age_s;
	return version && mode && age && (out->mx_count || out->mode == STS_NONE);
}

bool sts_names(const struct sts_policy *p, struct slice host)
{
	struct slice parent = slice_skip(host, slice_find(host, '.'));
	for (size_t i = 0; i < p->mx_count; i++) {
		struct slice mx = p->mx[i];
		if (slice_eq_nocase(mx, host) || (slice_starts(mx, SLICE("*.")) && parent.n && slice_eq_nocase(slice_skip(mx, 1), parent)))
			return true;
	}
	return false;
}

bool sts_record(struct slice txt, struct slice *id)
{
	bool first = true, found = false;
	while (txt.n) {
		struct slice item = slice_trim(slice_cut(txt, ';', &txt)), value, key;
		value = item;
		key = slice_trim(slice_cut(value, '=', &value));
		value = slice_trim(value);
		if (first && !(slice_eq(key, SLICE("v")) && slice_eq(value, SLICE("STSv1"))))
			return false;
		first = false;
		if (!slice_eq(key, SLICE("id")) || found)
			continue;
		found = value.n > 0 && value.n <= 32;
		for (size_t i = 0; found && i < value.n; i++)
			found = text_is_alnum((unsigned char)value.p[i]);
		*id = value;
	}
	return found;
}
