#ifndef CTL_HELPER_KINDS_H
#define CTL_HELPER_KINDS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kinds of short-lived processes that a role may ask the parent for (base/house.h, house_helper). One row each; a role gets only the kinds that name it. */
struct helper_kind {
	const char *name;
	const char *role;             /* who may ask for it */
	bool ours;                    /* our own code, in porterd-helper; else the words are the program and its arguments */
	bool any_user;                /* the asker names the user; else `user` */
	const char *user;
	bool that_user;               /* as that one or not at all; the others run in an ordinary user's house as that user, as its roles do */
	uint64_t seconds;             /* of wall time, then it and all its children are killed */
	uint64_t memory;              /* bytes of address space; 0 none */
	const uint64_t *limit;        /* a setting in place of seconds; NULL: none */
	const uint64_t *processes;    /* a setting: how many its user may have; NULL: any number */
};
extern const struct helper_kind helper_kinds[];
extern const size_t helper_kind_count;
#endif
