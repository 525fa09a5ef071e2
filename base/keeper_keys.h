#ifndef BASE_KEEPER_KEYS_H
#define BASE_KEEPER_KEYS_H
#include "base/buf.h"
#include "base/slice.h"

/* The file of keys for tags (SRS, BATV): one a line, `purpose number hex`, newest first within a purpose; numbers 0..9 go round, so that a tag can name
 * its key. The parent makes it at first start (0600, root) and gives it to the keeper as "mac-keys". */
enum { KEEPER_MAC_KEY = 32, KEEPER_MAX_KEYS_TEXT = 64 << 10 };
struct keeper_mac_key {
	struct slice purpose;      /* a view of the text */
	unsigned number;
	unsigned char key[KEEPER_MAC_KEY];
};

/* The next key of *text; 1 one, 0 the end, -EINVAL a bad line. */
int keeper_keys_next(struct slice *text, struct keeper_mac_key *key);

/* text with a new random key of purpose in front, and at most `keep` of that purpose. 0 or -EINVAL, -EMSGSIZE. */
int keeper_keys_rotate(struct slice text, struct slice purpose, unsigned keep, struct buf *out);
#endif
