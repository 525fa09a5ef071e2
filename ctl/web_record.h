#ifndef CTL_WEB_RECORD_H
#define CTL_WEB_RECORD_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"
#include "ctl/rndr.h"

/* A check that was asked for by the page: kept from the asking on, so that its private link is permanent and a restart forgets nothing. In memory it is a
 * plain struct of bounded strings; on disk a base/field record with a version. */
enum { WEB_ID = 26, WEB_TOKEN = 26, WEB_MAX_NAME = 256, WEB_MAX_NOTE = 400 };

enum web_state {
	WEB_ASKED,      /* waits for consent */
	WEB_QUEUED,     /* consent is proved, waits for its turn */
	WEB_RUNNING,    /* after a restart: begun again */
	WEB_FINISHED,
	WEB_FAILED      /* `note` says why */
};
enum web_consent { WEB_CONSENT_DNS, WEB_CONSENT_MAIL };

struct web_row {
	enum rndr_verdict verdict;
	char note[WEB_MAX_NOTE];
	uint64_t sent_bytes, back_bytes, back_ms;
	uint32_t returns;
	bool body_back, deferred;
};

struct web_record {
	char id[WEB_ID + 1];           /* the private link; 128 random bits */
	char token[WEB_TOKEN + 1];     /* what DNS or the mail's link must show */
	enum web_state state;
	enum web_consent consent;
	char domain[WEB_MAX_NAME], host[WEB_MAX_NAME];
	char known[WEB_MAX_NAME], forward[WEB_MAX_NAME], full[WEB_MAX_NAME], dead_alias[WEB_MAX_NAME], vacation[WEB_MAX_NAME], deferred[WEB_MAX_NAME], relayed[WEB_MAX_NAME];
	char asker[64];                /* the network that asked, for limits and abuse */
	int64_t asked_s, began_s, ended_s;
	bool deaf;                     /* nothing listened for returns */
	char note[WEB_MAX_NOTE];
	struct web_row rows[RNDR_WAYS];
};

int web_record_put(struct buf *out, const struct web_record *r);
int web_record_get(struct slice record, struct web_record *out); /* -EPROTO for what put would not write */

/* Copies a result as it stands now. */
void web_record_take(struct web_record *r, const struct rndr_check *c);
struct slice web_note_of(const struct web_row *row); /* a row's note for people */
int web_record_answer(const struct web_record *r); /* 0 none, 1 backscatters, 2 could not tell: ctl/rndr.h */
void web_record_random(char *out, size_t n); /* n letters and digits of a base of 32, and a NUL */
#endif
