#ifndef CTL_HELPER_GUARD_H
#define CTL_HELPER_GUARD_H

/* Between the parent and a foreign program stands a process that adopts whatever the program starts and lets go, in a session of its own or not (PR_SET_CHILD_SUBREAPER), and ends
 * all of it with the program. SIGTERM ends it before its time. Called in the new process: returns in the program's; the guard itself ends as the program did. */
void helper_guard(void);
#endif
