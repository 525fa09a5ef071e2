#ifndef DELIVERY_MAILBOX_HOUSE_H
#define DELIVERY_MAILBOX_HOUSE_H
#include <stdbool.h>
#include "base/loop.h"
#include "delivery/mailbox_stores.h"

/* Starts a short-lived process (base/house.h: house_helper): 0, and later its end comes through helper_ended with the same id; or -errno. */
struct helper_starter {
	int (*start)(void *arg, uint64_t id, struct slice kind, struct slice user, struct slice message, const struct slice *words, size_t count, int fd);
	void *arg;
};

struct helper_run;
struct line;
struct mbox_parcel;

/* The transactions whose program has said yes lately, for who asks after a crash of his; an own one forgets them. */
enum { RAN_MAX = 256, RAN_ID = 32 };
struct ran {
	char ids[RAN_MAX][RAN_ID];
	size_t next;
};

/* What all transactions of the process share. */
struct transaction_house {
	struct loop *loop;
	struct mailbox_stores *stores;
	struct worker *slow;          /* what may take a while: mbox files, copies for programs */
	struct slice host;            /* in file names */
	uint64_t reserve;             /* bytes of a file system that new mail leaves alone */
	size_t waiting_bytes;         /* inline content in memory */
	bool home;                    /* this is a system user's own process: its mailbox is Maildir in the mail root */
	struct slice program_user;    /* programs run as */
	struct helper_starter helpers;
	struct ran ran;               /* program_parcel.c */
	struct mbox_parcel *boxes;    /* mbox_parcel.c: those that wait for a file or have it, in the order they came */
	bool boxes_due;               /* and they will be looked at */
	uint64_t last_helper;
	struct helper_run *running;
	struct line *resting;         /* system_parcel.c: processes of users that were asked and may be asked again */
	size_t resting_count;
};

/* ended is called once, in the loop, never from inside this call: status as waitpid gives it, or -errno when it did not start. */
void helper_begin(struct transaction_house *house, struct slice kind, struct slice user, struct slice message, const struct slice *words, size_t count, int fd,
                  void (*ended)(void *arg, int status), void *arg);

/* Nobody waits for its end any more. */
void helper_forget(struct transaction_house *house, void *arg);

/* At the end of the process: nobody waits for any. */
void helper_forget_all(struct transaction_house *house);

/* From whoever started it. Unknown ids are fine. */
void helper_ended(struct transaction_house *house, uint64_t id, int status);
#endif
