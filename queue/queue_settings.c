/* The settings of the queue process. */
#include "queue/queue_settings.h"

#include <stddef.h>

struct queue_settings queue_settings;

#define AT(member) offsetof(struct queue_settings, member)

static const struct setting rows[] = {
	{ "queue-jobs", SETTING_UINT, AT(jobs), "200", 1, 20000, NULL, NULL, "Deliveries that are tried side by side, in all." },
	{ "queue-place-jobs", SETTING_UINT, AT(place_jobs), "20", 1, 1000, NULL, NULL, "And to one destination; it may ask for less." },
	{ "queue-lifetime", SETTING_SPAN, AT(lifetime_s), "5d", 60, 31536000, NULL, NULL,
	  "How long delivery is tried (RFC 5321 4.5.4.1: 4 to 5 days at least) before the sender gets a report." },
	{ "queue-delay-notice", SETTING_SPAN, AT(delay_notice_s), "4h", 0, 31536000, NULL, NULL,
	  "After this time an authenticated sender is told that a message still waits; 0 never." },
	{ "queue-retry-first", SETTING_SPAN, AT(retry_first_s), "2m", 1, 86400, NULL, NULL, "Time to the second attempt; it doubles with each one." },
	{ "queue-retry-most", SETTING_SPAN, AT(retry_most_s), "2h", 1, 604800, NULL, NULL, "And never gets longer than this." },
	{ "queue-reserve", SETTING_SIZE, AT(reserve), "64M", 0, UINT64_C(1) << 50, NULL, NULL,
	  "Free space of the spool's file system that new mail leaves alone: below it senders are answered 452." },
	{ "queue-messages", SETTING_UINT, AT(most_messages), "0", 0, UINT64_C(1) << 32, NULL, NULL, "The most messages that may wait; 0 is no limit." },
	{ "user-held-messages", SETTING_UINT, AT(user_held), "0", 0, 100000000, NULL, NULL,
	  "The most messages of one user (a login, or another proven sender) that may wait for a time that he named (FUTURERELEASE: HOLDFOR, HOLDUNTIL, up to 30 days ahead); a further one is answered 452 at "
	  "the end of its content. 0 is no limit. They count within user-messages-day and its like, too, on the day they are handed in." },
	{ "reports", SETTING_WORD, AT(reports), "authenticated", 0, 0, "none authenticated", NULL,
	  "Who gets reports of failed and delayed mail: proven senders, or nobody. What is not sent is a dead letter. With none a user whose message could not be delivered is never told: he takes it "
	  "for delivered, until the postmaster reads the dead letters and tells him; delay notices, reports on success, automatic replies and what inner servers report are lost as well. It spares "
	  "strangers nothing, since they get no reports either way. There is no value that reports to everybody." },
	{ "report-rate", SETTING_UINT, AT(report_rate), "100", 1, 1000000, NULL, NULL, "Reports an hour to one reverse-path." },
	{ "digest", SETTING_BOOL, AT(digest), "yes", 0, 0, NULL, NULL, "Whether the postmaster gets a daily digest where there were dead letters or attacks." },
	{ "dead-letter-time", SETTING_SPAN, AT(dead_letter_s), "30d", 3600, 315360000, NULL, NULL, "How long dead letters are kept." },
	{ "ledger-time", SETTING_SPAN, AT(ledger_s), "5d", 3600, 2592000, NULL, NULL,
	  "How long outcomes of transactions with several destinations are remembered for the client's retry." },
	{ "ledger-entries", SETTING_UINT, AT(ledger_entries), "1000000", 1000, 100000000, NULL, NULL, "The most entries of each table of the ledger; the oldest go first." },
	{ "sent-time", SETTING_SPAN, AT(sent_s), "14d", 3600, 31536000, NULL, NULL, "How long sent Message-IDs are remembered, to tell reports on our mail from others." },
	{ "seen-time", SETTING_SPAN, AT(seen_s), "14d", 3600, 31536000, NULL, NULL, "How long a proven sender may be answered automatically from inside." },
	{ "vacation-directory", SETTING_PATH, AT(vacations), "vacation", 0, 0, NULL, NULL,
	  "The folder of vacation texts, one file for each recipient, named by the address; it need not exist." },
};

struct setting_table queue_setting_table = { "queue", rows, sizeof rows / sizeof rows[0], &queue_settings };
