#ifndef CTL_CTL_H
#define CTL_CTL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/setting.h"
#include "base/slice.h"

/* porterctl: what a command is, and what all of them share. Each family of commands is a file ctl/ctl_*.c that exports one table; ctl/main_porterctl.c
 * lists the tables and finds the row whose words begin the command line ("queue list" before "queue"). */
struct ctl {
	char *directory;          /* of the configuration, absolute */
	bool json;                /* --json was given, anywhere */
	bool terminal;            /* standard error is one: progress bars, questions */
	bool yes;                 /* --yes was given: don't ask */
	struct arena mem;         /* lives as long as the program */
	struct slice conf;        /* text of porter.conf once ctl_settings was called */
};

/* Exit codes beside 0: 1 the answer is no, 2 could not tell; and of sysexits.h: */
enum { CTL_USAGE = 64, CTL_DATA = 65, CTL_NO_INPUT = 66, CTL_UNAVAILABLE = 69, CTL_IO = 74, CTL_TEMPFAIL = 75, CTL_CONFIG = 78 };

struct ctl_command {
	const char *name;         /* "queue list" */
	const char *usage;        /* behind the name: "[--json] ADDRESS" */
	const char *sentence;     /* for help and porterctl(8): its first sentence stands in the list of all commands, further paragraphs only where this one is asked for */
	int (*run)(struct ctl *c, int argc, char **argv); /* argv without the name's words; returns the exit code */
};
/* Tables end with a row whose name is NULL. */
extern const struct ctl_command *const ctl_tables[];

/* Reads porter.conf into every room's settings (ctl/settings_all.h); errors go to standard error. False: return CTL_CONFIG. */
bool ctl_settings(struct ctl *c);
/* The same, told to wrong instead; 0, -EINVAL, or -ENOENT where there is no porter.conf, which is told at once. */
int ctl_settings_told(struct ctl *c, struct complaints *wrong);
/* For questions to the running house alone: it serves by what it read before, so a porter.conf that is wrong now must not keep anybody from asking. */
bool ctl_settings_to_ask(struct ctl *c);

/* "porterctl: TEXT\n" on standard error; returns code. What to do next belongs into the text. */
int ctl_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes "--name" or "--name VALUE" ("--name=VALUE") out of the arguments. */
bool ctl_flag(int *argc, char **argv, const char *name);
const char *ctl_value(int *argc, char **argv, const char *name); /* NULL: not given. Without a value the program ends with usage */
/* The first argument that is an option still, or NULL. For the end of a command's own reading. */
const char *ctl_unknown_option(int argc, char **argv);

/* Asks the running house: who is "parent" or a role ("queue", "smtpd", ...), words what is asked. Returns the exit code of the answer with its text in
 * reply, or -errno: -ECONNREFUSED nothing runs here, -ETIMEDOUT. */
int ctl_ask(struct ctl *c, const char *who, const char *const *words, size_t count, struct buf *reply);
/* The same, with a message on standard error when nothing runs; the text is printed. For commands that are one question. */
int ctl_ask_and_print(struct ctl *c, const char *who, const char *const *words, size_t count);

/* Progress on a terminal: "what  43 %  [#####     ]"; done == total ends the line. arg is a struct ctl. */
void ctl_progress(void *arg, const char *what, uint64_t done, uint64_t total);

/* A question on the terminal, answered y or n; true with --yes; false where there is no terminal. */
bool ctl_confirm(struct ctl *c, const char *question);

/* A file's content, at most max bytes; "-" is standard input. 0 or -errno. */
int ctl_read_file(const char *path, size_t max, struct buf *out);
int ctl_read_open(int fd, size_t max, struct buf *out);

/* Labels of letters, digits, - and _, each of 63 bytes at most: a file's name that leads nowhere else, too. */
bool ctl_is_domain(struct slice name, size_t most);

/* ADDR:PORT (ADDR@PORT, ADDR) as libunbound wants it, in c->mem; p NULL: no such thing. */
struct slice ctl_resolver(struct ctl *c, struct slice text);

/* All complaints on standard error. */
void ctl_complain(const struct complaints *wrong);
void ctl_print(struct slice text); /* to standard output, whole */
#endif
