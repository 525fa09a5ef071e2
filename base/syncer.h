#ifndef BASE_SYNCER_H
#define BASE_SYNCER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/loop.h"

/* Group commit: one thread for each file system that brings jobs onto it, many with one sync (etc/doc/architecture.md).
 *
 * A cycle: publish what the last cycle made durable; write what has arrived since; ONE sync; answer what this cycle published. So content
 * is durable before its name exists, a name is durable before anybody is told, and a stream of messages costs one sync a cycle. Nothing
 * waits for a timer: a batch is what arrived during the last sync. A failed sync fails all that stood on it: what it published is taken
 * back, what it wrote is dropped.
 *
 * How a batch is synced is chosen each time by what the two ways cost lately: each job by its own (fdatasync, fsync of the folders) or
 * the file system as a whole (syncfs). A lone message is thereby synced by its own; a store that syncfs does not serve always is.
 *
 * On a store that keeps order (base/file.h) a cycle is shorter: write all, let the contents reach the device side by side, publish, ONE sync of one mark, answer. The same promises
 * hold there, a job stays for one cycle instead of two, and there is nothing to choose. */
enum syncer_goal {
	SYNCER_RUN,      /* write alone, answered without a sync: a question, a pen, an abort */
	SYNCER_PREPARE,  /* write, sync */
	SYNCER_COMMIT,   /* publish, sync */
	SYNCER_DELIVER   /* write, sync, publish, sync */
};

/* Embedded in what is to be done. All but done run in the syncer's thread, one at a time; 0 or -errno. */
struct syncer_job;
struct syncer_verbs {
	int (*write)(struct syncer_job *j);         /* content on disk, in nobody's view; on failure nothing is left */
	int (*start_content)(struct syncer_job *j); /* what write did sets out for the device; it and the next may be NULL where there is no content */
	int (*await_content)(struct syncer_job *j); /* and has arrived */
	int (*publish)(struct syncer_job *j);       /* names appear; on failure none is left */
	int (*sync_content)(struct syncer_job *j);  /* make what write did durable, this job's alone */
	int (*sync_names)(struct syncer_job *j);    /* the same for publish */
	void (*retract)(struct syncer_job *j);      /* a sync failed: published names go, content is dropped */
	void (*settled)(struct syncer_job *j);      /* published and durable */
	void (*done)(struct syncer_job *j);         /* in the loop, once: j->error says how it ended */
};

struct syncer_job {
	const struct syncer_verbs *verbs;
	enum syncer_goal goal;
	unsigned names;          /* how many folders sync_names would sync: what it costs */
	int error;
	struct syncer_job *next;
};

/* How the syncer reaches its file system; the cost of syncfs is measured as it goes. */
struct syncer_store {
	int fd;                  /* a folder of ours on it, open since before the first write (syncfs reports errors since then); stays the caller's */
	bool ordered;            /* file_keeps_order, and file_sync_order works on fd */
	bool use_syncfs;         /* probed: it works here and is not absurdly slow */
	uint64_t file_us;        /* first guesses: one fdatasync; one syncfs */
	uint64_t syncfs_us;
};

/* How it went so far, for status lines and the bench. Read in the loop's thread. */
struct syncer_counts {
	uint64_t cycles, syncfs, order_syncs, file_syncs, jobs, failed;
};

struct syncer;
struct syncer *syncer_new(struct loop *l, const struct syncer_store *store, const char *name);

/* Hands a job over; it comes back through done, exactly once. */
void syncer_add(struct syncer *s, struct syncer_job *j);

/* Jobs handed over and not come back yet. */
size_t syncer_waiting(const struct syncer *s);
void syncer_count(struct syncer *s, struct syncer_counts *out);

/* Waits until a job is finished, if any is under way, and calls done for all that are. For the end of a process alone. */
void syncer_drain(struct syncer *s);

/* Drains, until nothing is under way, and ends the thread. */
void syncer_free(struct syncer *s);
#endif
