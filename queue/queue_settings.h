#ifndef QUEUE_QUEUE_SETTINGS_H
#define QUEUE_QUEUE_SETTINGS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/setting.h"

/* Settings of the queue, the gate and the ledger. */
struct queue_settings {
	uint64_t jobs, place_jobs;            /* out at once: in all, of one place */
	uint64_t lifetime_s, delay_notice_s;
	uint64_t retry_first_s, retry_most_s;
	uint64_t reserve, most_messages, user_held;
	struct slice reports;                 /* none | authenticated */
	uint64_t report_rate;
	bool digest;
	uint64_t dead_letter_s;
	uint64_t ledger_s, ledger_entries, sent_s, seen_s;
	struct slice vacations;               /* folder; "" none */
};

extern struct queue_settings queue_settings;
extern struct setting_table queue_setting_table;
#endif
