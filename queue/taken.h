#ifndef QUEUE_TAKEN_H
#define QUEUE_TAKEN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "queue/envelope.h"
#include "queue/journal.h"

/* What the schedule must know of a message: its waiting recipients by place, who its turns go by, whether it is held or its reports are due. Made from a file by taken_from, kept in rolls
 * (queue/roll.h), given to the schedule by queue_take. */
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
	struct taken_group *groups;
	size_t group_count;
};

/* state NULL: nothing happened to it yet. Views of e; the groups in mem; false past its ceiling. */
bool taken_from(const struct envelope *e, const struct message_state *state, struct arena *mem, struct taken *out);
/* A copy that lives in mem. */
struct taken taken_copy(struct arena *mem, const struct taken *t);
#endif
