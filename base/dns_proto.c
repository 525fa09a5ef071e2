/* Questions and answers as they go between processes. */
#include "base/dns_proto.h"

#include "base/field.h"

enum { TAG_TYPE = 1, TAG_NAME, TAG_ANSWER, TAG_NXDOMAIN, TAG_SECURE, TAG_WHY, TAG_TTL, TAG_CANONICAL, TAG_PREFERENCE, TAG_DATA };

/* The phrases of dns_answer.why; by number, since they live as long as the program. */
static const char *const reasons[] = { "servfail", "timeout", "bogus", "malformed", "too many" };
enum { REASONS = sizeof reasons / sizeof *reasons };

static bool read_type(struct slice v, enum dns_type *out)
{
	uint64_t n;
	if (!field_uint(v, 65535, &n))
		return false;
	*out = (enum dns_type)n;
	switch (*out) {
	case DNS_A:
	case DNS_CNAME:
	case DNS_PTR:
	case DNS_MX:
	case DNS_TXT:
	case DNS_AAAA:
	case DNS_TLSA:
		return true;
	}
	return false;
}

void dns_put_question(struct buf *b, enum dns_type type, struct slice name)
{
	field_add_uint(b, TAG_TYPE, type);
	field_add(b, TAG_NAME, name);
}

bool dns_get_question(struct slice in, enum dns_type *type, struct slice *name)
{
	uint8_t first, second;
	struct slice number;
	return field_next(&in, &first, &number) && first == TAG_TYPE && read_type(number, type) && field_next(&in, &second, name) && second == TAG_NAME && !in.n;
}

static size_t reason_number(const char *why)
{
	size_t i = 0;
	while (why && i < REASONS && !slice_eq(slice_of(reasons[i]), slice_of(why)))
		i++;
	return i < REASONS ? i : 0;
}

void dns_put_answer(struct buf *b, const struct dns_answer *a)
{
	field_add_uint(b, TAG_ANSWER, a->answer);
	field_add_uint(b, TAG_NXDOMAIN, a->nxdomain);
	field_add_uint(b, TAG_SECURE, a->secure);
	field_add_uint(b, TAG_TTL, a->ttl_s);
	if (a->answer == UNSURE)
		field_add_uint(b, TAG_WHY, reason_number(a->why));
	if (a->canonical.p)
		field_add(b, TAG_CANONICAL, a->canonical);
	for (size_t i = 0; i < a->count; i++) {
		if (a->records[i].preference)
			field_add_uint(b, TAG_PREFERENCE, a->records[i].preference);
		field_add(b, TAG_DATA, a->records[i].data);
	}
}

static size_t count_records(struct slice in)
{
	size_t count = 0;
	uint8_t tag;
	struct slice v;
	while (field_next(&in, &tag, &v))
		count += tag == TAG_DATA;
	return count;
}

static bool read_field(uint8_t tag, struct slice v, uint64_t *preference, struct dns_answer *a)
{
	uint64_t n = 0;
	bool good = tag == TAG_CANONICAL || tag == TAG_DATA || field_uint(v, UINT32_MAX, &n);
	switch (tag) {
	case TAG_ANSWER:
		a->answer = (enum answer)n;
		return good && n <= UNSURE;
	case TAG_NXDOMAIN:
		a->nxdomain = n;
		return good;
	case TAG_SECURE:
		a->secure = n;
		return good;
	case TAG_TTL:
		a->ttl_s = (uint32_t)n;
		return good;
	case TAG_WHY:
		a->why = n < REASONS ? reasons[n] : NULL;
		return good && a->why;
	case TAG_CANONICAL:
		a->canonical = v;
		return true;
	case TAG_PREFERENCE:
		*preference = n;
		return good && n <= UINT16_MAX;
	case TAG_DATA:
		a->records[a->count++] = (struct dns_record){ (uint16_t)*preference, v };
		*preference = 0;
		return true;
	}
	return false;
}

bool dns_get_answer(struct slice in, struct arena *mem, struct dns_answer *a)
{
	size_t count = count_records(in);
	uint64_t preference = 0;
	uint8_t tag;
	struct slice v;
	*a = (struct dns_answer){ .answer = UNSURE };
	a->records = count && count <= DNS_MAX_RECORDS ? ARENA_ARRAY(mem, struct dns_record, count) : NULL;
	if (count && !a->records)
		return false;
	while (field_next(&in, &tag, &v))
		if (!read_field(tag, v, &preference, a))
			return false;
	return !in.n && (a->answer != UNSURE || a->why) && (a->answer == FOUND) == (a->count > 0);
}
