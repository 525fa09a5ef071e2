#ifndef QUEUE_SPOOL_H
#define QUEUE_SPOOL_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/pen.h"
#include "base/syncer.h"
#include "queue/envelope.h"
#include "queue/journal.h"

/* The spool: one file for each message. A message is ours exactly while its name exists below queue/ (or dead/).
 *
 *	where                 state of the message                         who brings it there                       after a crash
 *	(unnamed file)        being received; nobody's                     spool_pen, spool_put: write               gone by itself
 *	queue/XX/ID           ours: waiting, trying, held                  spool_put: publish, then the 250          kept, scheduled again
 *	made/ID               a report that its message hasn't noted yet   spool_put: publish; then EVENT_REPORTED  into the queue if it is noted, else removed
 *	queue/XX/ID, a report that is noted in its message                 spool_bring (rename)                     kept, scheduled again
 *	queue/XX/ID, settled  every recipient done or failed and reported  EVENT_ records, then spool_remove         removed when next looked at
 *	dead/ID               dead letter: a report was withheld           spool_bring (rename)                      kept
 *	aside/ID              damaged, foreign or of another version       spool_scan, spool_read's callers          kept for a person
 *	rolls/XX              what the schedule must know of queue/XX      roll_write (queue/roll.h)                 believed as far as it holds; may be thrown away
 *	drop/NAME             handed in by sendmail while nobody served    sendmail (rename)                         taken in at start
 *	tmp/NAME              staged on file systems without unnamed files spool_pen                                 removed at start
 *
 * The file: a head of 64 bytes {magic, version, offset and length of the content, length and checksum of the envelope, checksum of the content, checksum of the head}, the content
 * (CRLF line ends, as it goes on the wire, our own fields in front), the envelope record, then events. Files of version 1, without a checksum of the content, are read, too. Content may begin behind the head with a
 * gap, so that whoever writes it can put a header section of unknown length in front at the end. */
enum { SPOOL_HEAD = 64, SPOOL_ID_MAX = 32, SPOOL_JOURNAL_MAX = 16 << 20 };

struct spool;
enum spool_folder { SPOOL_QUEUE, SPOOL_DEAD, SPOOL_ASIDE, SPOOL_MADE };

/* dir: the spool folder, taken over. Makes what is missing below it, removes leftovers of tmp/. 0 or -errno. */
int spool_open(struct loop *l, int dir, struct spool **out);
/* To look only, beside a running queue or without one: changes nothing, has no syncer. */
int spool_open_to_look(int dir, struct spool **out);
void spool_close(struct spool *s);
struct syncer *spool_syncer(struct spool *s);

/* An empty unnamed file to write content into, from SPOOL_HEAD or further on. */
int spool_pen(struct spool *s, struct pen *out);

/* Puts a message in. Either content is given, or a pen that holds it at content_offset. done is called in the loop with job->error: 0 means that it
 * is durably ours. The strings that envelope points to and content stay the caller's until done. */
struct spool_put {
	struct syncer_job job;               /* first */
	struct spool *spool;
	const struct envelope *envelope;
	bool hop_down;
	struct pen pen;                      /* PEN_NONE: one is made from content */
	struct slice content;
	uint64_t content_offset, content_length; /* with a pen, or of `copy` */
	int copy;                            /* -1, or a file whose content (at content_offset) is copied into a pen of our own; the caller's */
	enum spool_folder where;             /* SPOOL_QUEUE; SPOOL_DEAD: a dead letter from the start; SPOOL_MADE: a report, until its message has noted it (spool_bring) */
	void (*done)(struct spool_put *p);
};
void spool_put(struct spool *s, struct spool_put *p, enum syncer_goal goal); /* PREPARE, COMMIT or DELIVER */
void spool_put_drop(struct spool_put *p);                                    /* after done of PREPARE, instead of COMMIT */

/* In queue/ already, as a crash may have left it: from now on it is durable. 0, -ENOENT, -errno. Blocks. */
int spool_sync_message(struct spool *s, struct slice id);

/* A message as it lies there. raw holds what the views point to; mem the arrays. */
struct spool_message {
	int fd;                              /* read-only; the caller's */
	uint64_t content_offset, content_length;
	struct envelope envelope;
	struct message_state state;
	struct slice content;                /* where it was read along with the rest, since it is small; else p is NULL */
	uint64_t content_check;
	bool has_check;                      /* not in files of version 1 */
	struct slice journal;                /* its sound events, for spool_read's caller to walk */
	uint64_t sound_size;                 /* of the file, up to the last sound event */
	bool torn;                           /* what follows is not: half an event, which a crash left */
};

/* Opens and checks. -ENOENT: not there. -EBADMSG: damaged, foreign or of another version; *why says what. May block a little: for workers, or few. */
int spool_read(struct spool *s, enum spool_folder where, struct slice id, struct buf *raw, struct arena *mem, struct spool_message *out, const char **why);

/* The content is what was put in: it is read whole. Asked before it is delivered. 0, or -EBADMSG with *why; for a worker. */
int spool_verify(const struct spool_message *m, const char **why);

/* Appends an event. durable: it must survive a power cut (a recipient that is done); others cost at worst an attempt. done in the loop. */
struct spool_append {
	struct syncer_job job;               /* first */
	struct spool *spool;
	char id[SPOOL_ID_MAX + 1];
	int fd;                              /* set by the verbs */
	struct buf records;                  /* framed events; freed by the caller in done */
	void (*done)(struct spool_append *a);
};
void spool_append(struct spool *s, struct spool_append *a, bool durable);

/* Cuts a torn end off, before anything is appended behind it, where nobody would read it. For a worker, at start. 0 or -errno. */
int spool_cut(struct spool *s, struct slice id, uint64_t sound_size);

/* A name that goes for ever, or to another folder: durably, together with what else is being synced. done in the loop with job->error; -ENOENT: there was none, which is
 * no error of a settled message, and none of a report that is brought from made/ once more, after a sync that failed. */
struct spool_gone {
	struct syncer_job job;               /* first */
	struct spool *spool;
	char id[SPOOL_ID_MAX + 1];
	enum spool_folder from, to;          /* set by spool_bring, spool_forget */
	void (*done)(struct spool_gone *g);
};
void spool_forget(struct spool *s, struct spool_gone *g, enum spool_folder from);
/* To dead/ (its reason was appended before), to aside/, back from dead/; a report from made/ into the queue, now that its message knows of it: neither can be made a
 * second time nor be missing. */
void spool_bring(struct spool *s, struct spool_gone *g, enum spool_folder from, enum spool_folder to);

/* The name's own status, also of a link. 0 or -errno. */
int spool_stat(struct spool *s, enum spool_folder where, struct slice id, struct stat *st);

/* The same at once, and removing without a sync: for a worker. 0 or -errno. */
int spool_remove(struct spool *s, enum spool_folder where, struct slice id);
int spool_move(struct spool *s, enum spool_folder from, enum spool_folder to, struct slice id);

/* Messages below one of queue/'s folders, "XX": for several workers side by side. */
int spool_shards(struct spool *s, bool (*found)(void *arg, struct slice name), void *arg);
int spool_scan_shard(struct spool *s, struct slice shard, bool (*found)(void *arg, struct slice id), void *arg);

/* Walks a folder: found is called for each name, in no order, until it returns false. For a worker. */
int spool_scan(struct spool *s, enum spool_folder where, bool (*found)(void *arg, struct slice id), void *arg);
#endif
