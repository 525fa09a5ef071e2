#ifndef QUEUE_SCHEDULE_H
#define QUEUE_SCHEDULE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/heap.h"
#include "base/slice.h"
#include "queue/index.h"

/* When and in which order queued messages are tried. It knows no files and no processes: what is queued is told to it, what may be tried now is taken
 * from it. The waiting recipients of one message at one place are an item; an item waits in a heap of times until it is due, then in the lane of its
 * sender and place, ordered by MT-PRIORITY and by when it came there.
 *
 * Fairness is deficit round robin over senders (Shreedhar, Varghese 1995), the cost of an item being its recipients; a sender's turn goes around its
 * lanes. A place that has as many jobs out as it takes parks its lanes, and each job that ends brings one lane back, in turn. No sender holds more than
 * twice the slots that it leaves free, so that there is always one for somebody else. Thus one user's 100,000 messages don't delay another's one.
 *
 * Memory: a message with one recipient costs under 150 bytes, a place that nobody else has some 60 more. */

enum { SCHEDULE_ID = 16 };

struct place;
struct sender;
struct message;

enum item_state { ITEM_IDLE, ITEM_WAITING, ITEM_READY, ITEM_OUT };

struct item {
	struct heap_node node;       /* first. By time while it waits, by priority while it is ready */
	struct message *message;
	struct item *next;           /* of the same message */
	struct place *place;
	uint32_t recipients;
	uint8_t attempts, state;
	uint16_t appointed;          /* of a message's first, in use or not: the message counts among its sender's appointed */
};

struct message {
	struct index_node by_id;     /* first */
	char id[SCHEDULE_ID];
	struct sender *sender;
	uint32_t look_s;             /* the queue's: when somebody must be told something, tried or not (queue/lookout.c) */
	uint16_t out;                /* items that are out */
	int8_t priority;
	bool held : 1, gone : 1, settling : 1, wants_settling : 1, alone : 1; /* the queue's notes; gone: settled, its file is going */
	bool reread : 1;             /* its file was changed by an act while it was out or settling: then it is read anew */
	bool rereading : 1;          /* it is being read anew */
	bool hurry : 1;              /* and then tried at once */
	struct item first;           /* most messages have one item: it lies here, in use while its `message` is set; others hang on its `next` */
};

/* The items of a message, by `next`; NULL: no recipient waits any more. */
static inline struct item *message_items(struct message *m)
{
	return m->first.message ? &m->first : m->first.next;
}

struct schedule_limits {
	uint32_t jobs;               /* out at once, all in all */
	uint16_t place_jobs;         /* of one place, at most; less where the place says so (schedule_window) */
};

struct schedule;
struct schedule *schedule_new(const struct schedule_limits *limits);
void schedule_free(struct schedule *s);

/* A message comes; it has no items yet. NULL: the id is there already. sender: who the turns go by (login, or reverse-path). */
struct message *schedule_add(struct schedule *s, struct slice id, struct slice sender, int8_t priority);
struct message *schedule_find(struct schedule *s, struct slice id);
/* Its recipients at one place, to be tried at due_s (wall time). */
struct item *schedule_add_item(struct schedule *s, struct message *m, struct slice place, uint32_t recipients, uint8_t attempts, int64_t due_s);
/* So many of its recipients don't wait any more. */
void schedule_shrink(struct schedule *s, struct item *i, uint32_t by);
/* The item is over: none of its recipients waits any more. */
void schedule_remove_item(struct schedule *s, struct item *i);
/* The message with all its items; none may be out. */
void schedule_remove(struct schedule *s, struct message *m);

/* It waits for a time that its sender named (FUTURERELEASE), until one of its items is taken; and how many of a sender's do. */
void schedule_appoint(struct message *m);
size_t schedule_appointed(const struct schedule *s, struct slice sender);

/* An item that is not out is tried at due_s (0: now, before others that are due). Held messages stay where they are until release. */
void schedule_retry(struct schedule *s, struct item *i, int64_t due_s);
void schedule_hold(struct schedule *s, struct message *m, bool held);

/* The next item to try at now_s, which counts as out from here on; NULL: nothing now. */
struct item *schedule_take(struct schedule *s, int64_t now_s);
/* This one, which is not out, whatever the limits say: it is looked at, and not tried. */
void schedule_take_this(struct schedule *s, struct item *i);
/* Its attempt ended; it waits until due_s (removed by schedule_remove_item, if it is over, after this). */
void schedule_back(struct schedule *s, struct item *i, int64_t due_s);

/* What a place said: how many jobs it takes (0: as many as the limits say), and not before rest_until_s. */
void schedule_window(struct schedule *s, struct item *i, uint32_t window, int64_t rest_until_s);
/* By the postmaster: nothing goes to this place until resumed. A place need not have messages. */
void schedule_pause(struct schedule *s, struct slice place, bool paused);

/* When schedule_take may have something again without anything else happening: wall time; INT64_MAX: never. */
int64_t schedule_next_s(const struct schedule *s);

/* When a waiting item is due; 0: at once, or it doesn't wait for a time. */
int64_t schedule_due_s(const struct item *i);

struct slice schedule_place_name(const struct item *i);
struct slice schedule_sender_name(const struct message *m);

struct schedule_counts {
	size_t messages, items, recipients, ready, out, places, senders, held;
};
void schedule_count(const struct schedule *s, struct schedule_counts *out);

/* Some messages, about `most`. Begin with a zeroed cursor; true: there are more. The cursor begins anew, counting `anew`, where the table has grown meanwhile: what
 * was told is told again. */
struct schedule_cursor {
	uint64_t size, at, anew;
};
bool schedule_some(const struct schedule *s, struct schedule_cursor *c, size_t most, void (*each)(void *arg, struct message *m), void *arg);

/* Every message, every paused place; nothing may be added or removed meanwhile. */
void schedule_each(const struct schedule *s, bool (*each)(void *arg, struct message *m), void *arg);
void schedule_each_paused(const struct schedule *s, bool (*each)(void *arg, struct slice place), void *arg);
#endif
