#ifndef DELIVERY_SRS_H
#define DELIVERY_SRS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* The Sender Rewriting Scheme: reverse-paths of forwards, so that SPF passes and reports come back here; and BATV's prvs tags on our own. What
 * is hashed here the keeper's keys hash (base/keeper_proto.h); the hash is a truncated HMAC-SHA256 in the length that everybody uses, in letters that survive case folding.
 * A tag is no evidence when used as a reverse-path (rule.md): tags can be read and replayed.
 *
 *	SRS0=HHHH=TT=host=user@ours            a forward of user@host
 *	SRS1=HHHH=first=rest@ours              a forward of SRS0 rest@first: the report goes to first, which made the SRS0
 *	prvs=KDDDSSSSSS=user@ours              K number of the key, DDD the day it ends, modulo 1000, S HMAC-SHA1 (the draft's form)
 */
enum { SRS_HASH = 4, SRS_VALID_DAYS = 21, BATV_VALID_DAYS = 7 };

/* NOT: no tag of this kind; FORGED: no key of ours made it; OLD: made by us, but too long ago. */
enum srs_answer { SRS_GOOD, SRS_NOT, SRS_FORGED, SRS_OLD, SRS_EARLY }; /* early: made later than now, so one of the clocks was wrong */

/* What a forward of local@domain is called: head, hash of data, tail. proven goes into the hash: was the sender's evidence at least `spf` when it
 * was forwarded? Only then may a report that comes back go on to it (rule.md). -EINVAL: the null path, or no domain; -EMSGSIZE: too long. */
enum { SRS_MAX_TEXT = 700 };
struct srs_plan {
	char data[SRS_MAX_TEXT + 16], tail[SRS_MAX_TEXT];
	size_t data_n, tail_n;
	const char *head;         /* "SRS0=" or "SRS1=" */
};
int srs_plan_forward(struct slice local, struct slice domain, bool proven, int64_t now_s, struct srs_plan *out);
int srs_print(const struct srs_plan *p, const uint8_t mac[32], struct buf *out);

/* A local-part of ours, taken apart; its data for either kind of hash is made by srs_plan_check. */
struct srs_found {
	struct slice hash, local, domain; /* what a report to it goes back to; in mem */
	struct slice a, b, c;             /* what was hashed */
	enum srs_answer age;      /* SRS_GOOD, SRS_OLD, SRS_EARLY; SRS_GOOD for SRS1, whose age is another host's to judge */
};
/* SRS_NOT, SRS_FORGED for a broken form, SRS_GOOD: *out is set and the hash is to be checked. */
enum srs_answer srs_read(struct slice local, int64_t now_s, struct arena *mem, struct srs_found *out);
int srs_plan_check(const struct srs_found *f, bool proven, struct srs_plan *out);
bool srs_matches(const struct srs_found *f, const uint8_t mac[32]);

/* BATV: number of the key and address give the bytes to hash (HMAC-SHA1), the first three bytes of the hash the tag. */
enum { BATV_MAX_DATA = 600 };
size_t batv_data(unsigned number, struct slice local, struct slice domain, int64_t now_s, char out[BATV_MAX_DATA]); /* 0: too long */
int batv_print(const uint8_t mac[3], const char *data, struct slice local, struct buf *out);
/* SRS_GOOD: *number, *hash (6 hexadecimal digits) and *plain are set, and the hash of the data is to be compared. */
enum srs_answer batv_read(struct slice local, struct slice domain, int64_t now_s, unsigned *number, struct slice *hash, struct slice *plain, char data[BATV_MAX_DATA], size_t *n);
bool batv_matches(struct slice hash, const uint8_t mac[3]);
#endif
