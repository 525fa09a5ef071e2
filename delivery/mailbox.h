#ifndef DELIVERY_MAILBOX_H
#define DELIVERY_MAILBOX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/loop.h"
#include "base/slice.h"
#include "delivery/mailbox_house.h"

/* The mailbox process: takes the questions of delivery/mailbox_proto.h from any number of peers. */
struct mailbox_setup {
	struct slice mail_root;
	uint64_t reserve;          /* bytes of the mail root's file system that new mail leaves alone */
	struct slice host;         /* in file names */
	bool home;                 /* the process of a system user: the mail root is a home, LEAF_SYSTEM is its Maildir */
	struct slice program_user; /* programs run as */
	struct helper_starter helpers; /* for system users and programs; start NULL: none are served */
	void (*on_idle)(void *arg); /* the last peer is gone and nothing is under way; NULL if nobody cares */
	void *arg;
};

struct mailbox;

/* Opens the mail root, probes its file system, sweeps what a crash left in tmp/. -errno if no mail can be stored there. */
int mailbox_new(struct loop *l, const struct mailbox_setup *setup, struct mailbox **out);

/* A channel to one asker; fd becomes ours. */
void mailbox_add_peer(struct mailbox *m, int fd);
/* The queue's channel, by which it hands out jobs for mailboxes (delivery/mailbox_job.h); a later one replaces it. */
void mailbox_add_queue(struct mailbox *m, int fd);

/* The end of a short-lived process that helpers.start was asked for. */
void mailbox_helper_ended(struct mailbox *m, uint64_t id, int status);

/* Questions and transactions that are open. */
size_t mailbox_busy(const struct mailbox *m);

/* A JSON object for `porterctl status`. */
void mailbox_report(struct mailbox *m, struct buf *out);

bool mailbox_has_peers(const struct mailbox *m);

/* Cuts all peers off, finishes what was asked to commit, closes all. */
void mailbox_free(struct mailbox *m);

/* The role `mailbox` (delivery/mailbox_main.c). */
struct house;
int mailbox_main(struct house *h);
#endif
