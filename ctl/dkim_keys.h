#ifndef CTL_DKIM_KEYS_H
#define CTL_DKIM_KEYS_H
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/crypto.h"
#include "base/slice.h"
#include "ctl/ctl.h"

/* DKIM keys on disk: SELECTOR._domainkey.DOMAIN.pem in keys-directory, whole or not there at all. Beside one that has ceased to sign lies SELECTOR._domainkey.DOMAIN.old, whose time
 * is when: its record stays published for DKIM_OVERLAP_S from then, while mail that it signed is under way. */
enum { DKIM_MAX_KEYS = 64, DKIM_OVERLAP_S = 7 * 86400 };

struct dkim_key {
	struct slice selector;
	bool ed25519, readable;
	bool open;                     /* others than its owner may read it, or change it */
	unsigned mode, bits;
	struct slice record;           /* what DNS should say; "" where it can't be read */
	bool signing;                  /* in `signers` */
	const char *published;         /* "yes", "missing", "another key" ...; NULL not asked */
	int64_t made_s, old_s;         /* old_s 0: it has not ceased to sign */
};

struct dkim_keys {
	struct ctl *c;
	char folder[PATH_MAX];
	struct slice domain;           /* A-labels */
	struct dkim_key keys[DKIM_MAX_KEYS];
	size_t count;
};

/* One command at a time changes a folder of keys, until this program ends. An exit code; the folder is made where it is missing. */
int keys_lock(const char *folder);

/* All keys of k->domain, by selector. An exit code. */
int dkim_keys_read(struct dkim_keys *k);

/* A new key's file, which must not be there. An exit code. */
int dkim_keys_write(struct dkim_keys *k, struct slice selector, const struct crypto_key *key);

/* It signs no more, from now on. An exit code. */
int dkim_keys_retire(struct dkim_keys *k, struct slice selector);

/* Has it ceased to sign, and is the time over that its record has to stay? */
bool dkim_is_old(const struct dkim_key *k);
bool dkim_is_over(const struct dkim_key *k);

/* What is known of the keys, on standard output. */
void dkim_keys_tell(struct dkim_keys *all);

/* Its files go. An exit code. */
int dkim_keys_remove(struct dkim_keys *k, struct slice selector);
#endif
