#ifndef CTL_ROLES_H
#define CTL_ROLES_H
#include <stdbool.h>
#include <stddef.h>

/* The processes of the house: one row for each; its program is porterd-NAME. The parent starts them in this order and stops them in the reverse. */
struct role {
	const char *name;
	bool per_core;             /* as many as the setting smtpd-processes says */
	const char *listeners;     /* blank-separated names of listeners that it gets */
	const char *files;         /* names of files (ctl/files.c) that it gets; "tls-cert:" stands for all of that kind */
	bool alone;                /* two of it must never run side by side: at reload the old one ends first */
	bool (*wanted)(void);      /* by the settings; NULL: always */
};
extern const struct role roles[];
extern const size_t role_count;

/* Who has a channel to whom. */
struct role_link {
	const char *one, *other;
};
extern const struct role_link role_links[];
extern const size_t role_link_count;
#endif
