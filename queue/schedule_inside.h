#ifndef QUEUE_SCHEDULE_INSIDE_H
#define QUEUE_SCHEDULE_INSIDE_H
#include "base/hash.h"
#include "queue/schedule.h"

/* What the two files of the schedule share, and nobody else.
 *
 *	schedule_lanes.c   places and senders by name; lanes, the rings they stand in, and the ring of senders whose turn comes
 *	schedule.c         messages and their items: when they are due, which is taken next */
enum { SCHEDULE_QUANTUM = 20 /* recipients that a sender may have tried in one turn */ };

/* A name that many refer to. */
struct place {
	struct index_node by_name;   /* first */
	struct lane *parked;         /* the last of a ring of them: small, since there may be a place for each message */
	uint32_t refs, rest_s;       /* rest_s: seconds since 1970, enough until 2106 */
	uint16_t out, window, n;
	bool paused;
	char name[];
};

struct sender {
	struct index_node by_name;   /* first */
	uint32_t refs, out, appointed;
	int64_t deficit;
	struct lane *lanes;          /* the last of a ring of those that may be taken from */
	struct sender *next;         /* in the ring */
	bool in_ring;
	uint16_t n;
	char name[];
};

enum lane_state { LANE_OUTSIDE, LANE_OPEN, LANE_PARKED };

/* Exists while an item of its sender and place is ready. */
struct lane {
	struct index_node by_pair;   /* first */
	struct sender *sender;
	struct place *place;
	struct lane *next, *before;  /* in the ring of the sender's, or of the place's parked ones */
	struct heap ready;
	enum lane_state state;
};

struct schedule {
	struct hash_key key;
	struct schedule_limits limits;
	struct index messages, places, senders, lanes;
	struct heap waiting;
	struct sender *ring, **ring_last;
	uint64_t sequence;
	size_t items, recipients, ready, out, held;
};

static inline struct lane *first_of(struct lane *last)
{
	return last ? last->next : NULL;
}

void schedule_init_names(struct schedule *s);

/* Made if need be, and referred to once more. The last reference takes it away. */
struct place *schedule_need_place(struct schedule *s, struct slice name);
void schedule_drop_place(struct schedule *s, struct place *p);
struct sender *schedule_need_sender(struct schedule *s, struct slice name);
void schedule_drop_sender(struct schedule *s, struct sender *p);
struct sender *schedule_find_sender(const struct schedule *s, struct slice name);

/* A place that is full, or paused, parks its lanes. */
uint32_t schedule_place_limit(const struct schedule *s, const struct place *p);
bool schedule_is_full(const struct schedule *s, const struct place *p);

struct lane *schedule_find_lane(const struct schedule *s, struct sender *sender, struct place *place);
struct lane *schedule_need_lane(struct schedule *s, struct sender *sender, struct place *place);
void schedule_drop_empty_lane(struct schedule *s, struct lane *l);
/* To the end of the ring of that state; an open lane brings its sender into the ring of turns. */
void schedule_lane_to(struct schedule *s, struct lane *l, enum lane_state state);
void schedule_leave_ring(struct schedule *s, struct sender *p);
void schedule_ring_turn(struct schedule *s);
#endif
