#ifndef QUEUE_ROLL_H
#define QUEUE_ROLL_H
#include <sys/stat.h>
#include "base/buf.h"
#include "queue/spool.h"
#include "queue/taken.h"

/* The roll of one of queue/'s folders, rolls/XX: what the schedule must know of each message there, beside the marks by which its file is known to be the one of
 * which that was true (inode, size, time of its last change, which nobody can set). At start a message whose marks still hold is taken from the roll, any other is
 * read: so a roll may be old, torn, of another spool or another version, or missing, and may be thrown away at any time; what is in doubt is read. It is never
 * synced. Nothing is delivered by it: an attempt reads the message itself.
 *
 * Who calls: rolls.c writes them, while the queue runs and at its end; scan.c reads them at start. What the schedule knows is told to porterctl in the same form
 * (survey.c).
 *
 * The file: a head {magic and version, count, length and checksum of what follows}, then one field for each message, in order of ids. */
enum { ROLL_MAX = 64 << 20, ROLL_NAME = 2 };

struct roll_mark {
	uint64_t inode, size;
	int64_t changed_s;
	uint32_t changed_ns;
};

struct roll_entry {
	struct roll_mark mark;
	struct taken taken;
};

/* False: it is no plain file of the spool's owner, and has no mark. */
bool roll_mark_of(struct spool *s, const struct stat *st, struct roll_mark *out);

/* Writing: begin, entries in order of ids, end. An entry that is too large is left out (-EMSGSIZE), and read at start. */
void roll_begin(struct buf *out);
int roll_add(struct buf *out, const struct roll_entry *e);
/* The checksum, by which a roll is known to be the one that lies there already. */
uint64_t roll_end(struct buf *out);

/* A roll that was read. Ready when zeroed: it knows nobody. */
struct roll {
	struct buf text;
	struct arena mem;
	struct roll_entry *entries;
	size_t count;
};
/* 0, or -EBADMSG for anything that the writer would not write. text is taken over, also where it is bad. ordered: by id, as roll_find wants it. */
int roll_parse(struct buf *text, bool ordered, struct roll *out);
/* The message's entry; NULL: it has none. */
const struct roll_entry *roll_find(const struct roll *r, struct slice id);
bool roll_holds(const struct roll_entry *e, const struct roll_mark *m);
void roll_free(struct roll *r);

/* Files below rolls/; for workers. Writing replaces at once; nobody may see half of it. Reading: -ENOENT, -EBADMSG also for a link or somebody else's file. */
int roll_write(struct spool *s, struct slice folder, struct slice text);
int roll_read(struct spool *s, struct slice folder, struct roll *out);
int roll_remove(struct spool *s, struct slice folder);
#endif
