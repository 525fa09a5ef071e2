#ifndef QUEUE_TAKEN_H
#define QUEUE_TAKEN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "queue/envelope.h"
#include "queue/journal.h"

/* What the schedule must know of a message: its waiting recipients by place, who its turns go by, whether it is held or its reports are due. Made from a file by
 * taken_from, kept in rolls (queue/roll.h), given to the schedule by queue_take. */
struct taken_group {
	struct slice place;
	uint32_t recipients;
	uint8_t attempts;
	int64_t next_s;
};
struct taken {
	struct slice id, sender;
	int8_t priority;
	bool held, wants_settling;
	int64_t look_s;              /* taken_look_s */
	struct taken_group *groups;
	size_t group_count;
};

/* state NULL: nothing happened to it yet. Views of e; the groups in mem; false past its ceiling. */
bool taken_from(const struct envelope *e, const struct message_state *state, struct arena *mem, struct taken *out);
/* When somebody must be told something, whether it was tried or not: the delay (unless it was told), the end of the time. */
int64_t taken_look_s(const struct envelope *e, const struct message_state *state, bool told);
/* The moment for a delay notice to whom it may concern; INT64_MAX: never. Time on hold (RFC 4865) is no delay; RFC 2852, 4.1.4.2: by-mode N means notify and go on. */
int64_t taken_delay_s(const struct envelope *e);
/* A copy that lives in mem. */
struct taken taken_copy(struct arena *mem, const struct taken *t);
#endif
