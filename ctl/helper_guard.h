#ifndef CTL_HELPER_GUARD_H
#define CTL_HELPER_GUARD_H
#include <sys/types.h>

/* Between the parent and a foreign program stands a process that adopts whatever the program starts and lets go, in a session of its own or not (PR_SET_CHILD_SUBREAPER), and ends
 * all of it with the program. SIGTERM ends it before its time, and so does the parent's death. Called in the new process: returns in the program's, with the pid to end with; the guard
 * itself ends as the program did. */
pid_t helper_guard(pid_t parent);
#endif
