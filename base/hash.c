/* SipHash-2-4. */
#include "base/hash.h"

#include <assert.h>
#include <endian.h>
#include <string.h>
#include <sys/random.h>

static inline uint64_t rotate(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

struct state {
	uint64_t a, b, c, d;
};

static inline void mix(struct state *s)
{
	s->a += s->b, s->b = rotate(s->b, 13) ^ s->a, s->a = rotate(s->a, 32);
	s->c += s->d, s->d = rotate(s->d, 16) ^ s->c;
	s->a += s->d, s->d = rotate(s->d, 21) ^ s->a;
	s->c += s->b, s->b = rotate(s->b, 17) ^ s->c, s->c = rotate(s->c, 32);
}

static inline void absorb(struct state *s, uint64_t word)
{
	s->d ^= word;
	mix(s);
	mix(s);
	s->a ^= word;
}

static uint64_t word_at(const char *p)
{
	uint64_t word;
	memcpy(&word, p, sizeof word);
	return le64toh(word);
}

/* Fewer than eight bytes. */
static uint64_t rest_at(const char *p, size_t n)
{
	uint64_t word = 0;
	for (size_t i = n; i-- > 0;)
		word = word << 8 | (unsigned char)p[i];
	return word;
}

uint64_t hash_bytes(const struct hash_key *key, struct slice s)
{
	struct state state = { key->k0 ^ 0x736f6d6570736575, key->k1 ^ 0x646f72616e646f6d,
		               key->k0 ^ 0x6c7967656e657261, key->k1 ^ 0x7465646279746573 };
	const char *p = s.p;
	for (size_t left = s.n / 8; left--; p += 8)
		absorb(&state, word_at(p));
	absorb(&state, (uint64_t)s.n << 56 | rest_at(p, s.n % 8));
	state.c ^= 0xff;
	for (int i = 0; i < 4; i++)
		mix(&state);
	return state.a ^ state.b ^ state.c ^ state.d;
}

struct hash_key hash_key_random(void)
{
	struct hash_key key;
	ssize_t n = getrandom(&key, sizeof key, 0);
	assert(n == sizeof key);
	return key;
}
