#ifndef DELIVERY_GROUPS_H
#define DELIVERY_GROUPS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/slice.h"

/* Houses of mail hosts: ten thousand domains may have their MX at one provider, whose patience is one. A host's house is its name without the first label
 * ("mail.protection.big.example" of "one-example.mail.protection.big.example"), an address is a house of its own. Which house a place leads to is learnt from the
 * host that answered for it, so a place is free until then. A house has a window, which grows with each success and is halved by 421, silence and hosts that are
 * down, and a pace: its rate is at most the setting hop-rate, is halved when the house says that messages come too fast (once for all that were on their way then),
 * and grows by a tenth a minute of what it was, while messages are taken. Without a setting it is free again at twice what was too fast.
 *
 * Both tables are of fixed size: a place that is forgotten is free once, a house is forgotten only while nothing is on its way there. Used by delivery/job alone. */
enum { GROUP_NAME = 80 };

struct group {
	uint64_t key;                  /* 0: free */
	char name[GROUP_NAME];
	unsigned window, running;
	uint64_t next_ms, used_ms;     /* by its pace: not before */
	uint64_t rate_m, knee_m;       /* thousandths of a message a minute: allowed, 0 hop-rate alone says; and when it was last too fast */
	uint64_t cut_ms, grown_ms;
	uint64_t minute;               /* how many went within this one and the one before */
	unsigned sent[2];
};

struct groups;
/* most: the largest window; a_minute: messages to one house, 0 any. */
struct groups *groups_new(unsigned most, uint64_t a_minute);
void groups_free(struct groups *g);

struct group *groups_of_place(struct groups *g, struct slice place);  /* NULL: not known */
void groups_learn(struct groups *g, struct slice place, struct slice host);

/* How long the next one must wait, 0: it may go. UINT64_MAX: until one has come back. NULL is free. */
uint64_t group_wait_ms(const struct group *x, uint64_t now_ms);
void group_enter(struct groups *g, struct group *x, uint64_t now_ms);   /* NULL is fine */
void group_leave(struct groups *g, struct group *x, bool failed);

/* What came back of one that had entered at entered_ms: taken, or refused since they come too fast. NULL is fine. */
enum group_word { GROUP_TAKEN, GROUP_TOO_FAST };
void group_heard(struct groups *g, struct group *x, enum group_word word, uint64_t entered_ms, uint64_t now_ms);

void groups_report(const struct groups *g, struct buf *json);
#endif
