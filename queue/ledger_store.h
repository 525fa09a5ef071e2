#ifndef QUEUE_LEDGER_STORE_H
#define QUEUE_LEDGER_STORE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/hash.h"
#include "base/slice.h"

/* The ledger's tables on disk: a Berkeley DB environment, transactional, for one thread. Keys are digests under a key of the ledger's own, values begin with the time
 * of the entry (seconds, 8 bytes, big endian). Every call returns 0, -ENOENT where nothing is found, or -EIO: the environment is damaged. */
enum ledger_table { TABLE_OUTCOME, TABLE_SENT, TABLE_SEEN, TABLE_ASK, TABLE_REPLIED };
enum { LEDGER_TABLES = TABLE_REPLIED + 1, LEDGER_NAME = 16, LEDGER_MAX_KEY = 48, LEDGER_MAX_VALUE = 4096, LEDGER_TIME = 8 };

struct ledger_keys {
	unsigned char secret[32];    /* of the digests */
	struct hash_key hints;       /* of the hint bits */
};

struct ledger_store;
/* Removes all of it but its key; it must be closed. */
void ledger_store_empty(const char *folder);

/* Opens, with recovery; a damaged environment is removed and begun anew: *anew. */
int ledger_store_open(const char *folder, struct ledger_store **out, bool *anew);
void ledger_store_close(struct ledger_store *s);
const struct ledger_keys *ledger_store_keys(const struct ledger_store *s);

/* LEDGER_NAME bytes for up to three strings. */
void ledger_store_name(const struct ledger_store *s, unsigned char out[LEDGER_NAME], struct slice a, struct slice b, struct slice c);

/* One transaction at a time; end commits with a sync where durable; else what was written lives over the end of our
 * process, and becomes durable with the next one that is. */
int ledger_store_begin(struct ledger_store *s);
int ledger_store_end(struct ledger_store *s, bool durable);
void ledger_store_undo(struct ledger_store *s);

/* value: room for LEDGER_MAX_VALUE bytes; *n is its length. */
int ledger_store_get(struct ledger_store *s, enum ledger_table t, struct slice key, char *value, size_t *n);
int ledger_store_put(struct ledger_store *s, enum ledger_table t, struct slice key, struct slice value);
int ledger_store_remove(struct ledger_store *s, enum ledger_table t, struct slice key);

/* Entries from `from` on (a key, or a prefix), in order, until each says false or `most` were shown. *last is where it stopped ("" at the end of the table);
 * entries for which each sets *drop are removed. */
struct ledger_walk {
	bool (*each)(void *arg, struct slice key, struct slice value, bool *drop);
	void *arg;
	size_t most;
};
int ledger_store_walk(struct ledger_store *s, enum ledger_table t, struct slice from, const struct ledger_walk *w, char last[LEDGER_MAX_KEY], size_t *last_n);
#endif
