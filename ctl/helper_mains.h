#ifndef CTL_HELPER_MAINS_H
#define CTL_HELPER_MAINS_H

/* What porterd-helper is as a helper: of a kind that a role may ask for (ctl/helper_kinds.h), or of the parent's own, for what it has no library. Returns the exit code. */
int helper_main(const char *kind, int argc, char **argv);
#endif
