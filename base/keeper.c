/* The process `keeper`: private keys, and nothing but signatures leaves it. It opens no file and no socket, runs one question after another, and
 * knows TLS keys by their public half, DKIM keys by their DNS name, keys for tags by purpose and number. */
#include "base/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/field.h"
#include "base/ipc.h"
#include "base/keeper_keys.h"
#include "base/keeper_proto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/tls_key.h"

enum { MAX_KEYS = HOUSE_MAX_FILES, MAX_FILE = 64 << 10, MAX_NAME = 512, MAX_ANSWER = 2048 };

/* A TLS or DKIM key, by the file it came from. */
struct held {
	struct buf file;              /* "tls-key:0", "dkim-key:s._domainkey.example.org" */
	uint8_t id[32];
	struct crypto_key *key;
};

struct self {
	struct house *house;
	struct held keys[MAX_KEYS];
	size_t count;
	struct buf mac_text;          /* what the views in macs point into */
	struct keeper_mac_key macs[KEEPER_MAX_MACS * 4];
	size_t mac_count;
	uint64_t signed_tls, signed_dkim, macs_made, refused;
};

/* -- files ------------------------------------------------------------------------------------------------------------------------------ */

static int read_file(int fd, struct buf *out)
{
	ssize_t n = 1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	while (n > 0) {
		char *room = buf_room(out, 4096);
		if (!room)
			return -EFBIG;
		n = read(fd, room, 4096);
		if (n > 0)
			buf_used(out, (size_t)n);
	}
	return n < 0 ? -errno : 0;
}

static void wipe(struct buf *b)
{
	if (b->p)
		mem_wipe(b->p, b->cap);
	buf_free(b);
}

static struct held *held_by_file(struct self *k, struct slice file)
{
	for (size_t i = 0; i < k->count; i++)
		if (slice_eq(buf_slice(&k->keys[i].file), file))
			return &k->keys[i];
	return NULL;
}

/* Servers show the old certificate for a moment longer than we have the new key: the one before stays, as "FILE~". */
static void keep_old(struct self *k, struct held *h)
{
	char name[MAX_NAME + 2];
	int n = snprintf(name, sizeof name, "%.*s~", (int)h->file.n, h->file.p);
	struct held *old = held_by_file(k, slice(name, (size_t)n));
	if (!old && k->count < MAX_KEYS) {
		old = &k->keys[k->count++];
		buf_init(&old->file, MAX_NAME + 2);
		buf_add(&old->file, slice(name, (size_t)n));
	}
	if (!old)
		return;
	crypto_key_free(old->key);
	old->key = h->key;
	memcpy(old->id, h->id, sizeof old->id);
	h->key = NULL;
}

static int put_key(struct self *k, struct slice file, struct crypto_key *key)
{
	struct held *h = held_by_file(k, file);
	if (!h && (k->count == MAX_KEYS || file.n > MAX_NAME))
		return -ENOSPC;
	if (!h) {
		h = &k->keys[k->count++];
		buf_init(&h->file, MAX_NAME);
		buf_add(&h->file, file);
	} else if (slice_starts(file, SLICE("tls-key:")))
		keep_old(k, h);
	crypto_key_free(h->key);
	h->key = key;
	tls_key_id_of(key, h->id);
	return 0;
}

static int put_macs(struct self *k, struct slice text)
{
	struct buf copy = BUF_INIT(KEEPER_MAX_KEYS_TEXT);
	struct keeper_mac_key macs[KEEPER_MAX_MACS * 4];
	size_t n = 0;
	int got = buf_add(&copy, text);
	struct slice rest = buf_slice(&copy);
	while (!got && n < sizeof macs / sizeof macs[0] && (got = keeper_keys_next(&rest, &macs[n])) > 0) {
		n++;
		got = 0;
	}
	if (got < 0) {
		wipe(&copy);
		return got;
	}
	wipe(&k->mac_text);
	k->mac_text = copy;
	memcpy(k->macs, macs, sizeof macs);
	k->mac_count = n;
	mem_wipe(macs, sizeof macs);
	return 0;
}

static int take_text(struct self *k, struct slice name, struct slice text)
{
	if (slice_eq(name, SLICE("mac-keys")))
		return put_macs(k, text);
	struct crypto_key *key = crypto_key_private_pem(text);
	int error = key ? put_key(k, name, key) : -EINVAL;
	if (error)
		crypto_key_free(key);
	return error;
}

/* A bad file leaves the key that was there: a mistake in a new one stops nothing. */
static void take_file(void *arg, struct slice name, int fd)
{
	struct self *k = arg;
	struct buf text = BUF_INIT(MAX_FILE + 4096);
	int error = fd < 0 ? -EBADF : read_file(fd, &text);
	error = error ? error : take_text(k, name, buf_slice(&text));
	wipe(&text);
	if (fd >= 0)
		close(fd);
	if (error)
		log_event(LOG_ERROR, "key-refused", LOG_STR("key", name), LOG_ERRNO(error), LOG_END);
	else
		log_event(LOG_DEBUG, "key-taken", LOG_STR("key", name), LOG_END);
}

/* -- questions ------------------------------------------------------------------------------------------------------------------------- */

struct question {
	struct slice key, data;
	uint64_t scheme, number;
	bool has_number;
};

static bool read_question(struct slice in, struct question *q)
{
	uint8_t tag;
	struct slice v;
	*q = (struct question){ 0 };
	while (field_next(&in, &tag, &v)) {
		if (tag == KEEPER_TAG_KEY)
			q->key = v;
		else if (tag == KEEPER_TAG_DATA)
			q->data = v;
		else if (tag == KEEPER_TAG_NUMBER && field_uint(v, KEEPER_MAX_MACS, &q->number))
			q->has_number = true;
		else if (tag != KEEPER_TAG_SCHEME || !field_uint(v, 0xffff, &q->scheme))
			return false;
	}
	return in.n == 0 && q->key.n <= MAX_NAME && q->data.n <= KEEPER_MAX_DATA;
}

static int sign_tls(struct self *k, const struct question *q, struct buf *out)
{
	if (q->key.n != 32 || !tls_key_may_sign(q->data))
		return -EINVAL;
	for (size_t i = 0; i < k->count; i++)
		if (slice_starts(buf_slice(&k->keys[i].file), SLICE("tls-key:")) && memcmp(k->keys[i].id, q->key.p, 32) == 0) {
			k->signed_tls++;
			return tls_key_sign(k->keys[i].key, (unsigned)q->scheme, q->data, out);
		}
	return -ENOENT;
}

static int sign_dkim(struct self *k, const struct question *q, struct buf *out)
{
	char file[MAX_NAME + 16];
	int n = snprintf(file, sizeof file, "dkim-key:%.*s", SLICE_FMT(q->key));
	struct held *h = held_by_file(k, slice(file, (size_t)n));
	if (!h)
		return -ENOENT;
	if (q->data.n != CRYPTO_SHA256)
		return -EINVAL;
	k->signed_dkim++;
	return crypto_sign_digest(h->key, q->data, out);
}

static int make_mac(struct self *k, struct question *q, struct buf *out)
{
	uint8_t mac[CRYPTO_SHA256];
	for (size_t i = 0; i < k->mac_count; i++) {
		const struct keeper_mac_key *m = &k->macs[i];
		struct slice key = slice((const char *)m->key, KEEPER_MAC_KEY);
		if (!slice_eq(m->purpose, q->key) || (q->has_number && q->number != m->number))
			continue;
		k->macs_made++;
		q->number = m->number;
		if (q->scheme == 256)
			crypto_hmac_sha256(key, q->data, mac);
		else if (q->scheme == 1)
			crypto_hmac_sha1(key, q->data, mac);
		else
			return -EINVAL;
		return buf_add(out, slice((const char *)mac, q->scheme == 1 ? CRYPTO_SHA1 : CRYPTO_SHA256));
	}
	return -ENOENT;
}

static int answer(struct self *k, unsigned type, struct question *q, struct buf *out)
{
	switch (type) {
	case KEEPER_SIGN_TLS:
		return sign_tls(k, q, out);
	case KEEPER_SIGN_DKIM:
		return sign_dkim(k, q, out);
	case KEEPER_MAC:
		return make_mac(k, q, out);
	}
	return -EPROTO;
}

static int from_peer(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct self *k = arg;
	struct question q;
	struct buf made = BUF_INIT(MAX_ANSWER), payload = BUF_INIT(MAX_ANSWER + 64);
	int error = read_question(m->payload, &q) ? answer(k, m->type, &q, &made) : -EPROTO;
	if (error == -EPROTO)
		return error;
	if (error)
		k->refused++;
	field_add_uint(&payload, KEEPER_TAG_ERROR, (uint64_t)-error);
	field_add(&payload, KEEPER_TAG_DATA, error ? SLICE_NONE : buf_slice(&made));
	field_add_uint(&payload, KEEPER_TAG_NUMBER, q.number);
	ipc_send(from, KEEPER_ANSWER, m->id, buf_slice(&payload), -1);
	buf_free(&made);
	buf_free(&payload);
	return 0;
}

static void peer_gone(void *arg, struct ipc *which)
{
	(void)arg;
	ipc_free(which);
}

/* -- the role --------------------------------------------------------------------------------------------------------------------------- */

static void on_peer(void *arg, struct slice role, unsigned index, int fd)
{
	static const struct ipc_handler handler = { from_peer, peer_gone };
	struct self *k = arg;
	(void)role, (void)index;
	ipc_new(k->house->loop, fd, &handler, k);
}

static int on_question(void *arg, const struct slice *words, size_t count, struct buf *out)
{
	struct self *k = arg;
	if (count != 1 || !slice_eq(words[0], SLICE("status")))
		return -ENOSYS;
	buf_addf(out, "{\"keys\":%zu,\"mac_keys\":%zu,\"signed_tls\":%llu,\"signed_dkim\":%llu,\"macs\":%llu,\"refused\":%llu}", k->count, k->mac_count,
	         (unsigned long long)k->signed_tls, (unsigned long long)k->signed_dkim, (unsigned long long)k->macs_made, (unsigned long long)k->refused);
	return 0;
}

/* OpenSSL reads its configuration when it is first used: that has to happen while files can be opened. */
static void warm_up(void)
{
	uint8_t d[CRYPTO_SHA256];
	struct buf signature = BUF_INIT(CRYPTO_MAX_SIGNATURE);
	struct crypto_key *k = crypto_key_generate_ed25519();
	crypto_hmac_sha256(SLICE("k"), SLICE("x"), d);
	if (k)
		crypto_sign_digest(k, slice((const char *)d, sizeof d), &signature);
	crypto_key_free(k);
	buf_free(&signature);
}

int keeper_main(struct house *h)
{
	static const struct house_handler handler = { .on_peer = on_peer, .on_file = take_file, .on_question = on_question };
	static const struct proc_plan plan = { "_porterkey", -1, PROC_CALLS_PURE };
	static struct self self;
	self.house = h;
	buf_init(&self.mac_text, KEEPER_MAX_KEYS_TEXT);
	warm_up();
	for (size_t i = 0; i < h->file_count; i++) {
		struct slice name = h->files[i].name;
		if (slice_starts(name, SLICE("tls-key:")) || slice_starts(name, SLICE("dkim-key:")) || slice_eq(name, SLICE("mac-keys")))
			take_file(&self, name, house_take_file(h, name));
	}
	house_restrict(h, &plan);
	return house_run(h, &handler, &self);
}
