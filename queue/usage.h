#ifndef QUEUE_USAGE_H
#define QUEUE_USAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/slice.h"
#include "base/setting.h"

/* What each user has handed in: messages and recipients of the last hour and of the last day, and the limits of settings user-*. A user is a login, or "unix:NAME"
 * behind the sendmail command. The counts lie in a table of fixed size, a file of the spool that all smtpd processes map, so they live over restarts; each set of
 * eight entries has a lock that is stolen from a process that died holding it, and in a full set the user who was seen longest ago goes.
 *
 * "The last hour" slides: this clock hour's count, and of the one before as much as of it lies within sixty minutes. A message counts when its content is complete,
 * whether or not it can be delivered then. smtpd's check `usage` asks at MAIL and RCPT, so that nothing is sent in vain, and at the dot, where it takes what it
 * allows in one step; the queue (drop_in.c) when it takes a file in. */
enum usage_what { USAGE_MESSAGES, USAGE_RECIPIENTS, USAGE_WHATS };
enum usage_window { USAGE_HOUR, USAGE_DAY, USAGE_WINDOWS };
enum { USAGE_MAX_NAME = 96, USAGE_ENTRIES = 8192, USAGE_FORM = 1 };

struct usage_counts {
	uint64_t of[USAGE_WINDOWS][USAGE_WHATS];
};

struct usage_user {
	char name[USAGE_MAX_NAME];
	struct usage_counts counts;
};

struct usage;
size_t usage_size(void);
/* A view of shared memory that is zeroed when new. NULL: it is of another form. memory outlives the view. */
struct usage *usage_attach(void *memory, size_t size);
void usage_detach(struct usage *u);

/* Would so much more go past a limit (0: none)? True: it would, *window and *what say which. add: if it would not, it is counted in the same step. */
bool usage_over(struct usage *u, struct slice who, const struct usage_counts *limits, uint64_t messages, uint64_t recipients, bool add, int64_t now_s,
                enum usage_window *window, enum usage_what *what);

/* Those who have handed in something within the day, most recipients first, at most max. */
size_t usage_list(struct usage *u, struct usage_user *out, size_t max, int64_t now_s);

/* What was counted has not been taken after all. */
void usage_give_back(struct usage *u, struct slice who, uint64_t messages, uint64_t recipients, int64_t now_s);

/* "Too many messages: ann may hand in 3 an hour": for whoever is refused, and for the log. */
void usage_words(struct buf *out, struct slice who, enum usage_window window, enum usage_what what);

/* The table that the parent handed over, for this process's life. NULL, and an error in the log: there is none. */
struct house;
struct usage *usage_take(struct house *h);

extern struct usage_counts usage_limits;          /* the settings user-* */
extern struct setting_table usage_setting_table;
#endif
