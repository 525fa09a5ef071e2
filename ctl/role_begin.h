#ifndef CTL_ROLE_BEGIN_H
#define CTL_ROLE_BEGIN_H
#include "base/house.h"

/* A child's process from its exec on: its log, its name, what the parent says first, then its role. log_option is "--log=FORM". Returns its exit code. */
int role_begin(const char *name, int (*role_main)(struct house *h), const char *log_option);
/* The main of a program, which is one role alone: what that doesn't need is neither in its memory (a library's relocations) nor in its reach. */
int role_program(const char *name, int (*role_main)(struct house *h), int argc, char **argv);
/* What ps, ss and top show; else it would be "exe", since a role is started by a descriptor. The kernel cuts it at 15 bytes. */
void role_name_process(const char *name);
/* A child's log goes to the parent's standard error, in the form that the parent names. */
void role_open_log(const char *option, const char *process);
#endif
