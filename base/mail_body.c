/* Digests over a body: two canonicalisers at most, each feeding the digests of its form. */
#include "base/mail_body.h"

#include <assert.h>

#include "base/crypto.h"
#include "base/mem.h"

struct wish {
	enum mail_canon form;
	bool sha1;
	uint64_t length, left;    /* left: octets that still belong to it */
	struct crypto_hash *hash;
	struct mail_digest digest;
};

/* Short runs of a form are gathered: a digest's call costs more than they do. */
enum { SHORT_RUN = 32, GATHERED = 128 };
struct gathered {
	char bytes[GATHERED];
	size_t n;
};

struct mail_body {
	struct wish wishes[MAIL_BODY_MAX_DIGESTS];
	size_t count;
	struct mail_canon_body canon[2];
	struct gathered gathered[2];
	bool used[2], ended;
};

static void hash_form(struct mail_body *b, enum mail_canon form, const char *p, size_t n)
{
	for (size_t i = 0; i < b->count; i++) {
		struct wish *w = &b->wishes[i];
		if (w->form != form)
			continue;
		size_t take = n < w->left ? n : (size_t)w->left;
		crypto_hash_add(w->hash, slice(p, take));
		if (w->left != MAIL_BODY_WHOLE)
			w->left -= take;
	}
}

static void hash_gathered(struct mail_body *b, enum mail_canon form)
{
	struct gathered *g = &b->gathered[form];
	if (g->n)
		hash_form(b, form, g->bytes, g->n);
	g->n = 0;
}

static void sink_form(struct mail_body *b, enum mail_canon form, const char *p, size_t n)
{
	struct gathered *g = &b->gathered[form];
	if (n > SHORT_RUN || g->n + n > sizeof g->bytes)
		hash_gathered(b, form);
	if (n > SHORT_RUN) {
		hash_form(b, form, p, n);
		return;
	}
	memcpy(g->bytes + g->n, p, n);
	g->n += n;
}

static void sink_simple(void *arg, const char *p, size_t n)
{
	sink_form(arg, CANON_SIMPLE, p, n);
}

static void sink_relaxed(void *arg, const char *p, size_t n)
{
	sink_form(arg, CANON_RELAXED, p, n);
}

struct mail_body *mail_body_new(void)
{
	struct mail_body *b = mem_grow(NULL, 1, sizeof *b); /* most of it is room for digests that nobody will want: not cleared */
	b->count = 0;
	b->gathered[0].n = b->gathered[1].n = 0;
	b->used[0] = b->used[1] = b->ended = false;
	b->canon[CANON_SIMPLE] = (struct mail_canon_body){ .form = CANON_SIMPLE, .sink = sink_simple, .arg = b };
	b->canon[CANON_RELAXED] = (struct mail_canon_body){ .form = CANON_RELAXED, .sink = sink_relaxed, .arg = b };
	return b;
}

void mail_body_free(struct mail_body *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->count; i++)
		crypto_hash_drop(b->wishes[i].hash);
	mem_free(b);
}

int mail_body_want(struct mail_body *b, enum mail_canon form, bool sha1, uint64_t length)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->wishes[i].form == form && b->wishes[i].sha1 == sha1 && b->wishes[i].length == length)
			return (int)i;
	if (b->count == MAIL_BODY_MAX_DIGESTS)
		return -1;
	b->wishes[b->count] = (struct wish){ .form = form, .sha1 = sha1, .length = length, .left = length };
	b->wishes[b->count].hash = sha1 ? crypto_sha1_new() : crypto_sha256_new();
	b->used[form] = true;
	return (int)b->count++;
}

void mail_body_add(struct mail_body *b, struct slice chunk)
{
	for (int form = 0; form < 2; form++)
		if (b->used[form])
			mail_canon_add(&b->canon[form], chunk);
}

void mail_body_end(struct mail_body *b)
{
	for (int form = 0; form < 2; form++)
		if (b->used[form]) {
			mail_canon_end(&b->canon[form]);
			hash_gathered(b, (enum mail_canon)form);
		}
	for (size_t i = 0; i < b->count; i++) {
		struct wish *w = &b->wishes[i];
		w->digest.n = crypto_hash_end(w->hash, w->digest.bytes);
		w->hash = NULL;
	}
	b->ended = true;
}

bool mail_body_digest(const struct mail_body *b, int number, struct mail_digest *out)
{
	assert(b->ended && number >= 0 && (size_t)number < b->count);
	const struct wish *w = &b->wishes[number];
	*out = w->digest;
	return w->left == 0 || w->length == MAIL_BODY_WHOLE;
}
