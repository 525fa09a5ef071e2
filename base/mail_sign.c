/* Signature fields, written. ARC's tags come in alphabetical order and folds, as its test suite has them; DKIM's signature stands last. */
#include "base/mail_sign.h"

#include <errno.h>

#include "base/text.h"

static void add_time(struct buf *out, const char *tag, int64_t t)
{
	if (t > 0)
		buf_addf(out, "; %s=%lld", tag, (long long)t);
}

/* Text in lines of at most `width` bytes. */
static void add_folded(struct buf *out, struct slice text, size_t width)
{
	while (text.n) {
		buf_add(out, slice_head(text, width));
		text = slice_skip(text, width);
		if (text.n)
			buf_add_cstr(out, "\r\n\t");
	}
}

/* A list of names, broken behind colons. */
static void add_names(struct buf *out, struct slice names)
{
	size_t column = 0;
	while (names.p) {
		struct slice name = slice_cut(names, ':', &names);
		if (column + name.n > 66 && column) {
			buf_add_cstr(out, "\r\n\t ");
			column = 0;
		}
		buf_add(out, name);
		if (names.p)
			buf_add_byte(out, ':');
		column += name.n + 1;
	}
}

static const char *form_name(enum mail_canon form)
{
	return form == CANON_RELAXED ? "relaxed" : "simple";
}

static void add_digest(struct buf *out, const struct mail_digest *d)
{
	text_add_base64(out, slice((const char *)d->bytes, d->n));
}

static size_t write_dkim(const struct mail_sign *p, const struct mail_digest *body, struct buf *out)
{
	buf_addf(out, "DKIM-Signature: v=1; a=%s; c=%s/%s; d=%.*s;\r\n\ts=%.*s", mail_algorithm_name(p->algorithm), form_name(p->header_form),
	         form_name(p->body_form), SLICE_FMT(p->domain), SLICE_FMT(p->selector));
	if (p->identity.n)
		buf_addf(out, "; i=%.*s", SLICE_FMT(p->identity));
	add_time(out, "t", p->made_s);
	add_time(out, "x", p->expires_s);
	buf_add_cstr(out, ";\r\n\th=");
	add_names(out, p->names);
	buf_add_cstr(out, ";\r\n\tbh=");
	add_digest(out, body);
	buf_add_cstr(out, ";\r\n\tb=");
	size_t at = out->n;
	buf_add_cstr(out, "\r\n");
	return at;
}

static size_t write_arc_message(const struct mail_sign *p, const struct mail_digest *body, struct buf *out)
{
	buf_addf(out, "ARC-Message-Signature: a=%s;\r\n\tb=", mail_algorithm_name(p->algorithm));
	size_t at = out->n;
	buf_add_cstr(out, ";\r\n\tbh=");
	add_digest(out, body);
	buf_addf(out, "; c=%s/%s;\r\n\td=%.*s; h=", form_name(p->header_form), form_name(p->body_form), SLICE_FMT(p->domain));
	add_names(out, p->names);
	buf_addf(out, ";\r\n i=%u; s=%.*s", p->instance, SLICE_FMT(p->selector));
	add_time(out, "t", p->made_s);
	buf_add_cstr(out, "\r\n");
	return at;
}

static size_t write_arc_seal(const struct mail_sign *p, struct buf *out)
{
	buf_addf(out, "ARC-Seal: a=%s;\r\n\tb=", mail_algorithm_name(p->algorithm));
	size_t at = out->n;
	buf_addf(out, "; cv=%s; d=%.*s; i=%u; s=%.*s", arc_cv_name(p->cv), SLICE_FMT(p->domain), p->instance, SLICE_FMT(p->selector));
	add_time(out, "t", p->made_s);
	buf_add_cstr(out, "\r\n");
	return at;
}

struct mail_field mail_sign_field(struct slice text)
{
	struct mail_field f = { 0 };
	mail_field_next(&text, &f);
	return f;
}

int mail_sign_message(const struct mail_sign *p, const struct mail_header *h, const struct mail_digest *body, struct buf *field, size_t *at,
                      struct mail_digest *digest)
{
	size_t start = field->n;
	size_t place = p->kind == SIGNATURE_DKIM ? write_dkim(p, body, field) : write_arc_message(p, body, field);
	struct arena mem = ARENA_INIT(4 << 20);
	struct mail_names *names = mail_names_new(h, &mem);
	if (buf_full(field) || !names) {
		arena_free(&mem);
		return -EMSGSIZE;
	}
	struct mail_field own = mail_sign_field(slice(field->p + start, field->n - start));
	struct mail_signature s = { .algorithm = p->algorithm, .header_form = p->header_form, .names = p->names, .without = slice(field->p + place, 0) };
	mail_signature_digest(&s, h, names, &own, digest);
	arena_free(&mem);
	*at = place;
	return 0;
}

int mail_sign_seal(const struct mail_sign *p, const struct arc_chain *chain, const struct mail_field *results, const struct mail_field *message,
                   struct buf *field, size_t *at, struct mail_digest *digest)
{
	size_t start = field->n, place = write_arc_seal(p, field);
	if (buf_full(field) || p->instance == 0 || p->instance > ARC_MAX_INSTANCE)
		return -EMSGSIZE;
	struct mail_field own = mail_sign_field(slice(field->p + start, field->n - start));
	struct arc_set sets[ARC_MAX_INSTANCE] = { 0 };
	for (size_t i = 0; p->cv != ARC_CV_FAIL && i + 1 < p->instance; i++)
		sets[i] = chain->sets[i];
	sets[p->instance - 1] = (struct arc_set){ .results = results, .message = message, .seal = &own };
	sets[p->instance - 1].seal_signature = (struct mail_signature){ .cv = p->cv, .without = slice(field->p + place, 0) };
	struct arc_chain whole = { .sets = sets, .count = p->instance };
	arc_seal_digest(&whole, p->instance, digest);
	*at = place;
	return 0;
}

int mail_sign_end(enum mail_signature_kind kind, struct buf *field, size_t at, struct slice signature)
{
	struct buf text = BUF_INIT(4096), folded = BUF_INIT(8192);
	text_add_base64(&text, signature);
	add_folded(&folded, buf_slice(&text), kind == SIGNATURE_DKIM ? 72 : text.n + 1);
	int failed = buf_full(&text) || buf_full(&folded) ? -EMSGSIZE : buf_room(field, folded.n) ? 0 : -EMSGSIZE;
	if (!failed) {
		memmove(field->p + at + folded.n, field->p + at, field->n - at);
		memcpy(field->p + at, folded.p, folded.n);
		buf_used(field, folded.n);
	}
	buf_free(&text);
	buf_free(&folded);
	return failed;
}

int mail_sign_names(const struct mail_header *h, bool arc, struct buf *out)
{
	static const struct { struct slice name; bool oversign; } known[] = {
		{ SLICE_INIT("From"), true }, { SLICE_INIT("Sender"), false }, { SLICE_INIT("Reply-To"), true }, { SLICE_INIT("To"), true },
		{ SLICE_INIT("Cc"), true }, { SLICE_INIT("Subject"), true }, { SLICE_INIT("Date"), true }, { SLICE_INIT("Message-ID"), true },
		{ SLICE_INIT("In-Reply-To"), false }, { SLICE_INIT("References"), false }, { SLICE_INIT("MIME-Version"), true },
		{ SLICE_INIT("Content-Type"), true }, { SLICE_INIT("Content-Transfer-Encoding"), true }, { SLICE_INIT("List-Id"), false },
		{ SLICE_INIT("List-Unsubscribe"), false }, { SLICE_INIT("List-Unsubscribe-Post"), false }, { SLICE_INIT("List-Post"), false },
		{ SLICE_INIT("Auto-Submitted"), false }, { SLICE_INIT("DKIM-Signature"), false },
	};
	size_t start = out->n;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		bool own = slice_eq(known[i].name, SLICE("DKIM-Signature"));
		size_t times = own && !arc ? 0 : mail_header_count(h, known[i].name);
		times = (times > 16 ? 16 : times) + (known[i].oversign && !arc);
		for (size_t k = 0; k < times; k++) {
			if (out->n > start)
				buf_add_byte(out, ':');
			buf_add(out, known[i].name);
		}
	}
	return buf_full(out) ? -EMSGSIZE : 0;
}
