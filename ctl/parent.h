#ifndef CTL_PARENT_H
#define CTL_PARENT_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/arena.h"
#include "base/house.h"
#include "base/loop.h"
#include "ctl/roles.h"

/* The parent: starts, watches, restarts and ends the other processes. It reads settings and file names, never network bytes or content.
 *
 *	ctl/parent.c      start, signals, reload, stop
 *	ctl/child.c       one process: fork, exec, what it is told, its end and its return
 *	ctl/log_place.c   where events go
 *	ctl/listeners.c   sockets, opened here alone, kept over reloads
 *	ctl/files.c       memory that processes share, and which files who gets
 *	ctl/key_files.c   certificates and private keys
 *	ctl/generation.c  map generations: verified in a process of its own, then told to all
 *	ctl/control.c     the control socket
 *	ctl/connect.c     connections to Unix sockets for others
 *	ctl/submit.c      the socket of the sendmail command
 *	ctl/helpers.c     short-lived processes; a foreign program has a guard (ctl/helper_guard.c) */
enum { PARENT_MAX_ALERTS = 50, PARENT_MAX_ROLES = 16 };

struct parent;
struct child {
	struct parent *parent;
	const struct role *role;
	unsigned index;
	unsigned epoch;              /* which reload it belongs to; older ones drain */
	pid_t pid;                   /* 0: to be started again */
	struct ipc *channel;
	bool ready, draining, gone;  /* gone: its end is wanted */
	unsigned restarts;
	uint64_t started_ms, wait_ms;
	struct loop_timer *again;
	struct child *next;
};

struct alert {
	int64_t at_s;
	char text[400];
	uint64_t count;
};

struct listener_set;
struct crowd;
struct file_set;
struct key_files;
struct control;
struct submit;
struct helper;
struct parent {
	struct loop *loop;
	char *directory;             /* configuration, absolute */
	char *program;               /* our own binary */
	int helper_program, programs[PARENT_MAX_ROLES]; /* opened at the start: porterd-helper, and of each role its own */
	struct arena mem;            /* settings: a new one at each reload */
	struct slice conf;
	unsigned epoch, processes;
	int spool;                   /* the spool's folder, locked; -1 before */
	struct child *children;
	struct listener_set *listeners;
	struct file_set *files;
	struct key_files *keys;
	struct attacks *attacks;     /* the account of attacks, to look at; NULL: there is none */
	struct crowd *crowd;         /* sessions of all smtpd processes, to forget those of one that ended; NULL: there is none */
	struct control *control;
	struct submit *submit;
	struct helper *helpers;
	pid_t verifier;
	uint64_t generation, verifying;
	int log_level;               /* -1: as set */
	bool json;                   /* porterd --json */
	int own_stderr;              /* what porterd was started with */
	bool syslog_away;            /* as far as we know */
	struct loop_timer *syslog_look;
	bool stopping, announced;
	struct loop_timer *patience;
	int exit_code;
	uint64_t started_ms;
	struct alert alerts[PARENT_MAX_ALERTS];
	size_t alert_count;
	void (*on_serving)(struct parent *p); /* once, when every child is ready */
};

/* Runs until it is stopped; returns porterd's exit code. */
int parent_run(char *directory, char *program, bool json, void (*on_serving)(struct parent *p));
void parent_alert(struct parent *p, struct slice text);
int parent_reload(struct parent *p, struct buf *answer); /* porterctl's exit code */
void parent_stop(struct parent *p);
void parent_child_ready(struct parent *p);
void parent_child_ended(struct parent *p);   /* one that drained, or while stopping */

/* child.c */
struct child *child_new(struct parent *p, const struct role *r, unsigned index);
void child_start(struct child *c);
void child_told_all(struct parent *p, uint16_t type, uint64_t number);
void child_drain(struct child *c);
void child_stop(struct child *c);
bool child_reap(struct parent *p, pid_t pid, int status); /* true: it was one of them */
void child_free(struct child *c);
void child_send_file(struct child *c, struct slice name, int fd);
void child_send_local(struct child *c, struct slice user, int fd);
int child_ask(struct child *c, const struct slice *words, size_t count, void (*done)(void *arg, struct child *c, int code, struct slice text), void *arg, uint64_t *id);
void child_forget(struct parent *p, void *arg); /* nobody waits for answers with this arg any more */

/* listeners.c: opens what the settings name. 0, or -errno with a line on standard error. */
int listeners_open(struct parent *p);
void listeners_give(struct parent *p, struct child *c);
void listeners_close(struct parent *p);

/* log_place.c: what the settings name takes the place of descriptor 2, also at a reload. 0, or -errno, told, and all is as before */
int log_place_open(struct parent *p, struct buf *told);
void log_place_say(const struct parent *p, const char *text); /* to whoever started porterd, where the log is elsewhere */

/* files.c */
int files_open(struct parent *p);
/* A spool has one porterd: the folder stays locked as long as the parent lives, however it ends. told gets the line that says why not. */
int spool_claim(struct parent *p, struct buf *told);
void files_give(struct parent *p, struct child *c);
void files_child_ended(struct parent *p, pid_t pid); /* before another process can have that number */
bool files_wants(const struct role *r, const char *name);

/* key_files.c: certificates and private keys; again at each reload */
void key_files_open(struct parent *p);
void key_files_give(struct parent *p, struct child *c);

/* connect.c: Unix sockets that the settings name, for children whose root folder doesn't hold them. Answers by HOUSE_CONNECTED */
void connect_for(struct child *c, uint64_t id, struct slice path);

/* generation.c */
int generation_begin(struct parent *p);      /* at start: blocks until one is verified. 0 or -errno, told */
int generation_switch(struct parent *p, struct buf *answer); /* looks at `current`, verifies, tells all */
bool generation_reap(struct parent *p, pid_t pid, int status);

/* control.c */
int control_open(struct parent *p);
void control_close(struct parent *p);
void control_verified(struct parent *p, bool good); /* the verifier of new maps has ended, and all are told: who waits for them hears */

/* submit.c: run-directory/submit, where users of this system hand in mail; each connection goes to an smtpd with the user's name */
int submit_open(struct parent *p);
void submit_close(struct parent *p);

/* programs.c: what is executed. 0, or -errno with a line on standard error */
enum { PROGRAMS_MAX_WORDS = 8 };
int programs_open(struct parent *p);
int programs_find(const char *program, const char *name);                             /* porterd-NAME of this porterd, opened to be executed */
void programs_exec(int program, char **argv);                                         /* returns when it fails */
pid_t programs_run(struct parent *p, const char *kind, const char *const *words);     /* a helper (ctl/helper_mains.c) as who we are; words end with NULL */

/* helpers.c */
void helper_start_for(struct child *c, uint64_t id, struct slice kind, struct slice user, struct slice message, const struct slice *words, size_t count, int fd);
bool helper_reap(struct parent *p, pid_t pid, int status);
void helper_child_gone(struct parent *p, struct child *c);
#endif
