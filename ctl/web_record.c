/* The record of a check: on disk and back, with every length checked. */
#include "ctl/web_record.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/field.h"

enum { VERSION = 2 };
enum tag { TAG_VERSION = 1, TAG_STRING, TAG_NUMBER, TAG_ROW, TAG_NOTE };

/* The strings in the order in which they are written. */
enum { STRINGS = 13, NUMBERS = 6 };
static void strings_of(struct web_record *r, char *at[STRINGS], size_t size[STRINGS])
{
	char *const where[STRINGS] = { r->id, r->token, r->domain, r->host, r->known, r->forward, r->full, r->dead_alias, r->vacation, r->deferred, r->relayed, r->asker, r->note };
	const size_t sizes[STRINGS] = { sizeof r->id, sizeof r->token, WEB_MAX_NAME, WEB_MAX_NAME, WEB_MAX_NAME, WEB_MAX_NAME, WEB_MAX_NAME, WEB_MAX_NAME,
		                        WEB_MAX_NAME, WEB_MAX_NAME, WEB_MAX_NAME, sizeof r->asker, sizeof r->note };
	memcpy(at, where, sizeof where);
	memcpy(size, sizes, sizeof sizes);
}

static void put_row(struct buf *out, const struct web_row *row)
{
	struct buf b = BUF_INIT(1000);
	field_add_uint(&b, TAG_NUMBER, (uint64_t)row->verdict);
	field_add_uint(&b, TAG_NUMBER, row->sent_bytes);
	field_add_uint(&b, TAG_NUMBER, row->back_bytes);
	field_add_uint(&b, TAG_NUMBER, row->back_ms);
	field_add_uint(&b, TAG_NUMBER, row->returns);
	field_add_uint(&b, TAG_NUMBER, (row->body_back ? 1u : 0u) | (row->deferred ? 2u : 0u));
	field_add(&b, TAG_NOTE, slice_of(row->note));
	field_add(out, TAG_ROW, buf_slice(&b));
	buf_free(&b);
}

int web_record_put(struct buf *out, const struct web_record *r)
{
	struct web_record copy = *r;
	char *at[STRINGS];
	size_t size[STRINGS];
	strings_of(&copy, at, size);
	field_add_uint(out, TAG_VERSION, VERSION);
	for (size_t i = 0; i < STRINGS; i++)
		field_add(out, TAG_STRING, slice_of(at[i]));
	const uint64_t numbers[NUMBERS] = { (uint64_t)r->state, (uint64_t)r->consent, (uint64_t)r->asked_s, (uint64_t)r->began_s, (uint64_t)r->ended_s, r->deaf };
	for (size_t i = 0; i < NUMBERS; i++)
		field_add_uint(out, TAG_NUMBER, numbers[i]);
	for (size_t w = 0; w < RNDR_WAYS; w++)
		put_row(out, &r->rows[w]);
	return buf_full(out) ? -EMSGSIZE : 0;
}

static bool get_string(struct slice *in, uint8_t wanted, char *to, size_t size)
{
	uint8_t tag;
	struct slice value;
	if (!field_next(in, &tag, &value) || tag != wanted || value.n >= size || slice_find(value, '\0') < value.n)
		return false;
	if (value.n)
		memcpy(to, value.p, value.n);
	to[value.n] = '\0';
	return true;
}

static bool get_number(struct slice *in, uint64_t max, uint64_t *out)
{
	uint8_t tag;
	struct slice value;
	return field_next(in, &tag, &value) && tag == TAG_NUMBER && field_uint(value, max, out);
}

static bool get_row(struct slice *in, struct web_row *row)
{
	uint8_t tag;
	struct slice value;
	uint64_t verdict, returns, bits;
	if (!field_next(in, &tag, &value) || tag != TAG_ROW)
		return false;
	if (!get_number(&value, RNDR_VERDICTS - 1, &verdict) || !get_number(&value, UINT64_MAX, &row->sent_bytes) ||
	    !get_number(&value, UINT64_MAX, &row->back_bytes) || !get_number(&value, UINT64_MAX, &row->back_ms) || !get_number(&value, UINT32_MAX, &returns) ||
	    !get_number(&value, 3, &bits) || !get_string(&value, TAG_NOTE, row->note, sizeof row->note) || value.n)
		return false;
	row->verdict = (enum rndr_verdict)verdict;
	row->returns = (uint32_t)returns;
	row->body_back = bits & 1;
	row->deferred = bits & 2;
	return true;
}

int web_record_get(struct slice in, struct web_record *out)
{
	struct web_record r = { .state = WEB_ASKED };
	char *at[STRINGS];
	size_t size[STRINGS];
	uint8_t tag;
	struct slice value;
	uint64_t version, numbers[NUMBERS];
	strings_of(&r, at, size);
	if (!field_next(&in, &tag, &value) || tag != TAG_VERSION || !field_uint(value, UINT8_MAX, &version) || version != VERSION)
		return -EPROTO;
	for (size_t i = 0; i < STRINGS; i++)
		if (!get_string(&in, TAG_STRING, at[i], size[i]))
			return -EPROTO;
	for (size_t i = 0; i < NUMBERS; i++)
		if (!get_number(&in, i == 0 ? WEB_FAILED : i == 1 ? WEB_CONSENT_MAIL : i == 5 ? 1 : INT64_MAX, &numbers[i]))
			return -EPROTO;
	for (size_t w = 0; w < RNDR_WAYS; w++)
		if (!get_row(&in, &r.rows[w]))
			return -EPROTO;
	if (in.n || strlen(r.id) != WEB_ID || strlen(r.token) != WEB_TOKEN)
		return -EPROTO;
	r.state = (enum web_state)numbers[0];
	r.consent = (enum web_consent)numbers[1];
	r.asked_s = (int64_t)numbers[2];
	r.began_s = (int64_t)numbers[3];
	r.ended_s = (int64_t)numbers[4];
	r.deaf = numbers[5];
	*out = r;
	return 0;
}

void web_record_take(struct web_record *r, const struct rndr_check *c)
{
	for (unsigned w = 0; w < RNDR_WAYS; w++) {
		const struct rndr_result *from = rndr_check_result(c, (enum rndr_way)w);
		struct web_row *row = &r->rows[w];
		*row = (struct web_row){ .verdict = from->verdict, .sent_bytes = from->sent_bytes, .back_bytes = from->back_bytes, .back_ms = from->back_ms,
			                 .returns = from->returns, .body_back = from->body_back, .deferred = from->deferred };
		struct slice note = slice_head(buf_slice(&from->note), WEB_MAX_NOTE - 1);
		if (note.n)
			memcpy(row->note, note.p, note.n);
	}
}

/* The page has no options: what the command calls one is a field of its form. */
struct slice web_note_of(const struct web_row *row)
{
	bool wants = row->verdict == RNDR_COULD_NOT && slice_starts(slice_of(row->note), SLICE("needs --"));
	return wants ? SLICE("needs an address that was not given (first page, more ways)") : slice_of(row->note);
}

int web_record_answer(const struct web_record *r)
{
	enum rndr_verdict verdicts[RNDR_WAYS];
	for (unsigned w = 0; w < RNDR_WAYS; w++)
		verdicts[w] = r->rows[w].verdict;
	return rndr_answer(verdicts, 0, r->deaf);
}

void web_record_random(char *out, size_t n)
{
	static const char digits[] = "abcdefghjkmnpqrstuvwxyz234567890";
	unsigned char random[64];
	size_t want = n < sizeof random ? n : sizeof random;
	if (getrandom(random, want, 0) != (ssize_t)want)
		abort();        /* the kernel has no random numbers: nothing secret can be made */
	for (size_t i = 0; i < want; i++)
		out[i] = digits[random[i] % 32];
	out[want] = '\0';
}
