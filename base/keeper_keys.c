/* The file of keys for tags: reading a line, and adding a new key in front. */
#include "base/keeper_keys.h"

#include <errno.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "base/text.h"

static bool is_comment(struct slice line)
{
	return line.n == 0 || line.p[0] == '#';
}

static int parse_line(struct slice line, struct keeper_mac_key *key)
{
	struct buf bytes = BUF_INIT(KEEPER_MAC_KEY);
	key->purpose = slice_cut(line, ' ', &line);
	struct slice number = slice_cut(line, ' ', &line);
	bool good = key->purpose.n && number.n == 1 && text_is_digit((unsigned char)number.p[0]) && text_hex_decode(line, &bytes) && bytes.n == KEEPER_MAC_KEY;
	if (good) {
		key->number = (unsigned)(number.p[0] - '0');
		memcpy(key->key, bytes.p, KEEPER_MAC_KEY);
	}
	if (bytes.p)
		mem_wipe(bytes.p, bytes.n);
	buf_free(&bytes);
	return good ? 1 : -EINVAL;
}

int keeper_keys_next(struct slice *text, struct keeper_mac_key *key)
{
	while (text->n) {
		struct slice line = slice_trim(slice_cut(*text, '\n', text));
		if (!is_comment(line))
			return parse_line(line, key);
	}
	return 0;
}

static void add_line(struct buf *out, const struct keeper_mac_key *key)
{
	buf_add(out, key->purpose);
	buf_addf(out, " %u ", key->number);
	text_add_hex(out, slice((const char *)key->key, KEEPER_MAC_KEY));
	buf_add_byte(out, '\n');
}

int keeper_keys_rotate(struct slice text, struct slice purpose, unsigned keep, struct buf *out)
{
	struct keeper_mac_key made = { .purpose = purpose }, key;
	unsigned kept = 1;
	bool first = true;
	struct buf old = BUF_INIT(KEEPER_MAX_KEYS_TEXT);
	int got;
	while ((got = keeper_keys_next(&text, &key)) > 0) {
		bool same = slice_eq(key.purpose, purpose);
		if (same && first)
			made.number = (key.number + 1) % 10;
		first = first && !same;
		if (!same || kept++ < keep)
			add_line(&old, &key);
	}
	crypto_random(made.key, sizeof made.key);
	if (got == 0) {
		add_line(out, &made);
		buf_add(out, buf_slice(&old));
	}
	got = got < 0 ? got : buf_full(out) || buf_full(&old) ? -EMSGSIZE : 0;
	mem_wipe(&made, sizeof made);
	mem_wipe(&key, sizeof key);
	if (old.p)
		mem_wipe(old.p, old.n);
	buf_free(&old);
	return got;
}
