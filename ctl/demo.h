#ifndef CTL_DEMO_H
#define CTL_DEMO_H
#include <stdbool.h>

#define DEMO_MARK "# The demo of Porter: example.test on loopback.\n" /* its porter.conf begins so */

/* `porterd demo DIR`: a configuration that serves example.test on loopback. Makes what is missing in DIR and keeps what is there. Returns the exit code. */
int demo_make(const char *dir, unsigned port_base);

/* Whether a configuration directory is a demo's; and the lines that tell a newcomer what to try, printed once it serves. */
bool demo_is(const char *directory);
void demo_print_hints(void);
#endif
