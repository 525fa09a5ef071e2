#ifndef BASE_HOUSE_H
#define BASE_HOUSE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/slice.h"

/* The child's half of the house: what a process gets from the parent (etc/doc/architecture.md, "Processes"), and how it asks the parent for
 * something. A role's main is called before privileges are dropped: it opens what only it needs, calls house_restrict, and serves by house_run.
 *
 *	int smtpd_main(struct house *h)
 *	{
 *		... open maps ...
 *		house_restrict(h, &plan);
 *		return house_run(h, &handler, &self);
 *	}
 */

/* Messages between parent and child; payloads are base/field records with the tags below. */
enum house_message {
	HOUSE_START = 1,   /* down: role, index, directory, text, flags */
	HOUSE_LISTEN,      /* down: name, address; fd */
	HOUSE_PEER,        /* down: role, index; fd */
	HOUSE_FILE,        /* down: name; fd */
	HOUSE_GO,          /* down */
	HOUSE_READY,       /* up */
	HOUSE_MAPS,        /* down: number */
	HOUSE_DRAIN,       /* down */
	HOUSE_STOP,        /* down */
	HOUSE_CTL,         /* down: words; the answer has the same id */
	HOUSE_CTL_REPLY,   /* up: exit code, text */
	HOUSE_HELPER,      /* up: kind, user, words; fd becomes the helper's standard input */
	HOUSE_HELPER_DONE, /* down: wait status as waitpid gives it, or -errno */
	HOUSE_ALERT,       /* up: text */
	HOUSE_LOG_LEVEL,   /* down: number */
	HOUSE_CONNECT,     /* up: name of a Unix socket that the settings name */
	HOUSE_CONNECTED,   /* down: errno; fd with 0. The same id */
	HOUSE_LOCAL        /* down: name of a user of this system; fd of the connection that it made to run-directory/submit */
};
enum house_tag { HOUSE_TAG_ROLE = 1, HOUSE_TAG_INDEX, HOUSE_TAG_DIRECTORY, HOUSE_TAG_TEXT, HOUSE_TAG_NAME, HOUSE_TAG_ADDRESS, HOUSE_TAG_NUMBER,
	HOUSE_TAG_WORD, HOUSE_TAG_USER, HOUSE_TAG_KIND, HOUSE_TAG_PRIVATE };

struct house_listener {
	struct slice name;     /* "mx", "submission", "submissions", "http" */
	struct slice address;  /* as printed, for logs */
	int fd;                /* the role's to keep */
};

struct house_file {
	struct slice name;     /* "tls-key:default", "shared:harvest", ... */
	int fd;                /* -1 once taken */
};

struct house_peer {
	struct slice role;
	unsigned index;
	int fd;                /* -1 once taken */
};

enum { HOUSE_MAX_LISTENERS = 64, HOUSE_MAX_FILES = 6000, HOUSE_MAX_PEERS = 256 };

struct house_wish;
struct house {
	struct loop *loop;
	struct arena mem;             /* what lives as long as the process */
	struct slice role;
	unsigned index;
	struct slice directory;       /* the configuration directory */
	struct slice conf;            /* text of porter.conf, checked by the parent */
	bool privileged;              /* started by root: users, chroot and capabilities apply */
	struct house_listener listeners[HOUSE_MAX_LISTENERS];
	size_t listener_count;
	struct house_file *files;     /* the keeper has one for each key */
	size_t file_count;
	struct house_peer peers[HOUSE_MAX_PEERS]; /* those that came before house_run */
	size_t peer_count;
	uint64_t maps_generation;     /* verified by the parent; 0 none yet */

	struct ipc *parent;           /* from house_run on */
	struct house_wish *wishes;    /* open HOUSE_CONNECTs */
	uint64_t last_wish, question;
	const struct house_handler *handler;
	void *arg;
	int exit_code;
};

/* All in the loop. NULL members are for roles that don't care. */
struct house_handler {
	void (*on_peer)(void *arg, struct slice role, unsigned index, int fd); /* takes fd; a peer that was restarted comes again */
	void (*on_maps)(void *arg, uint64_t generation);
	void (*on_file)(void *arg, struct slice name, int fd); /* takes fd; a file that changed (a certificate, keys) came again */
	void (*on_drain)(void *arg);                 /* no new work; house_end when the last session ended. NULL: ends when the last peer has gone is the role's matter */
	void (*on_stop)(void *arg);                  /* end in order, by house_end. NULL: ends at once */
	/* porterctl's question; words[0] names it. Text (JSON) into answer; returns porterctl's exit code, -ENOSYS: not mine, or HOUSE_LATER: house_answer will tell,
	 * with what house_question says meanwhile. */
	int (*on_question)(void *arg, const struct slice *words, size_t count, struct buf *answer);
	void (*on_helper_done)(void *arg, uint64_t id, int status);
	void (*on_local)(void *arg, struct slice user, int fd); /* takes fd; who is at its other end is proved by the kernel */
};

enum { HOUSE_LATER = -1000000 };
uint64_t house_question(const struct house *h);          /* in on_question alone: this one's name */
void house_answer(struct house *h, uint64_t question, int code, struct slice text);

/* A child begins: reads everything up to HOUSE_GO from descriptor 3. 0 or -errno. */
int house_begin(struct house *h);

/* Drops what the role doesn't need, as base/proc says. Ends the process when that fails: nothing serves with more rights than planned. */
struct proc_plan;
void house_restrict(struct house *h, const struct proc_plan *plan);

/* Tells the parent that it serves, hands the first peers to the handler, and runs the loop until house_end. Returns the exit code. */
int house_run(struct house *h, const struct house_handler *handler, void *arg);
void house_end(struct house *h, int code);

/* A descriptor that the parent opened, or -1; it is the caller's from then on. */
int house_take_file(struct house *h, struct slice name);

/* A short-lived process: kind is a row of ctl/helpers.c, user a system user's name or "", words its arguments, fd its standard input (stays
 * the caller's), message the one that it is about, for the log, or "". The end comes by on_helper_done with the same id. */
int house_helper(struct house *h, uint64_t id, struct slice kind, struct slice user, struct slice message, const struct slice *words, size_t count, int fd);

/* A connection to a Unix socket outside of our root folder, made by the parent: path is one that the settings name. done is called once, later: a connected
 * non-blocking socket, the callee's, or -errno. Returns the question's name, never 0. */
uint64_t house_connect(struct house *h, struct slice path, void (*done)(void *arg, int fd), void *arg);
void house_connect_forget(struct house *h, uint64_t wish); /* done is not called; 0 and unknown ones are fine */

/* Something the postmaster should see: logged as an alert, counted, in `porterctl status`. */
void house_alert(struct house *h, struct slice text);

/* The settings that every role reads: fills the tables from h->conf. Ends the process if they don't parse, since the parent checked them. */
struct setting_table;
void house_settings(struct house *h, struct setting_table *const *tables, size_t count);
#endif
