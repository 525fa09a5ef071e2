/* SipHash-2-4. */
#include "base/hash.h"

#include <assert.h>
#include <sys/random.h>

static inline uint64_t rotate(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

struct state {
	uint64_t a, b, c, d;
};

static inline void rounds(struct state *s, unsigned count)
{
	while (count--) {
		s->a += s->b, s->b = rotate(s->b, 13) ^ s->a, s->a = rotate(s->a, 32);
		s->c += s->d, s->d = rotate(s->d, 16) ^ s->c;
		s->a += s->d, s->d = rotate(s->d, 21) ^ s->a;
		s->c += s->b, s->b = rotate(s->b, 17) ^ s->c, s->c = rotate(s->c, 32);
	}
}

static inline void absorb(struct state *s, uint64_t word)
{
	s->d ^= word;
	rounds(s, 2);
	s->a ^= word;
}

static uint64_t little_endian(const char *p, size_t n)
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
	uint64_t length = (uint64_t)s.n << 56;
	for (; s.n >= 8; s = slice_skip(s, 8))
		absorb(&state, little_endian(s.p, 8));
	absorb(&state, length | little_endian(s.p, s.n));
	state.c ^= 0xff;
	rounds(&state, 4);
	return state.a ^ state.b ^ state.c ^ state.d;
}

struct hash_key hash_key_random(void)
{
	struct hash_key key;
	ssize_t n = getrandom(&key, sizeof key, 0);
	assert(n == sizeof key);
	return key;
}
