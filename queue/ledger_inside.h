#ifndef QUEUE_LEDGER_INSIDE_H
#define QUEUE_LEDGER_INSIDE_H
#include "queue/ledger.h"
#include "queue/ledger_store.h"

/* Between the files of queue/ledger. What works in the ledger's thread answers 0, -EPROTO for a payload that no writer would write, or the store's error.
 *
 *	ledger.c          questions are collected, batches, opening and closing
 *	ledger_outcome.c  outcomes: look, decide, note, clear
 *	ledger_tables.c   what was sent, seen, asked, replied
 *	ledger_clean.c    what is too old goes, the hints as the tables have them
 *	ledger_store.c    Berkeley DB */
/* Ages of entries in steps of an eighth of a power of two: a year is 199. */
enum { LEDGER_AGES = 200 };

struct ledger_request {
	uint16_t type;
	char *payload;
	size_t n;
	bool durable;                            /* its answer promises a sync */
	ledger_done done;
	void *arg;
	struct buf answer;
	struct ledger_request *next;
};

struct ledger {
	struct loop *loop;
	struct worker *worker;
	char *folder;
	struct ledger_store *store;
	struct ledger_limits limits;
	void (*alert)(void *arg, struct slice text);
	void *arg;
	struct ledger_request *waiting, **waiting_end;  /* collected */
	struct ledger_request *batch;                   /* the worker's */
	bool busy, failed, anew, closing, crowded_now;
	uint64_t failed_ms;                      /* the worker's: when the store failed last; 0 never */
	bool doubt, doubt_now, sent_lost;        /* not all that was sent is in its table: asked for, under way, found by the worker */
	struct ledger_hints hints;               /* the loop's */
	uint8_t content_key[CRYPTO_MAC_KEY];     /* of those who ask */
	uint8_t added_bits[LEDGER_HINT_BYTES];   /* since a pass ended; the loop's */
	struct loop_timer *clean;
	/* the worker's: a walk through the tables for what is too old, and the hints as it finds them */
	bool clean_now, loaded, pass_over;
	unsigned clean_table;
	uint64_t life_s[LEDGER_TABLES];          /* of each, as long as it holds more than it may; 0: its usual one */
	uint32_t ages[LEDGER_AGES];              /* how many of each age this walk has met */
	bool crowded;                            /* a table holds more than it may: the walk goes on soon */
	char clean_at[LEDGER_MAX_KEY];
	size_t clean_at_n;
	uint8_t found_bits[LEDGER_HINT_BYTES];
	struct ledger_counts counts;
	int64_t since_s;
};

/* Values begin with the time of the entry. */
void ledger_add_time(struct buf *out, int64_t at_s);
int64_t ledger_time_of(struct slice value);

/* In the worker: the answer to one question. */
int ledger_do_look(struct ledger *l, struct slice payload, struct buf *answer);
int ledger_do_decide(struct ledger *l, struct slice payload, struct buf *answer);
int ledger_do_note(struct ledger *l, struct slice payload, struct buf *answer);
int ledger_do_clear(struct ledger *l, struct slice payload);
int ledger_do_table(struct ledger *l, struct ledger_request *r); /* the other tables' */
/* A value of the table of outcomes, for cleaning: its time and hint bit. False: it makes no sense. */
bool ledger_outcome_age(struct slice value, int64_t *at_s, uint64_t *bit);

/* From when on the table of what was sent is complete; later than before where it was cut. 0 or the store's error. */
int ledger_set_since(struct ledger *l, int64_t since_s);

/* A part of the walk through the tables. */
int ledger_clean_part(struct ledger *l);
#endif
