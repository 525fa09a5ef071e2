#ifndef CTL_CTL_MAPS_H
#define CTL_CTL_MAPS_H
#include <stdbool.h>
#include "base/mail_path.h"
#include "ctl/ctl.h"
#include "maps/compile.h"
#include "maps/map.h"

/* What the commands about maps share. */

/* The generation that serves, or --text: the text as it stands. False: told on standard error, *code is the exit code. */
bool maps_open(struct ctl *c, bool text, struct map_set **out, int *code);

/* Compiles, publishes, tells a running porterd; complaints go to standard error. The exit code. Quiet says nothing when all is well. */
int maps_publish(struct ctl *c, bool quiet);

/* What a compile of this configuration does: directories, progress, our own listeners. */
struct compile_plan maps_plan(struct ctl *c);

/* A running porterd takes the generation that is current; that none runs is fine. The exit code. */
int maps_tell(struct ctl *c);

/* A next hop that is one of our own listeners (prove). */
struct maps_own;
struct maps_own *maps_own_new(struct ctl *c);
bool maps_is_ourselves(const struct maps_own *o, struct slice place);

/* "ADDRESS", "<ADDRESS>" as people type it. False: told on standard error. */
bool maps_read_path(struct ctl *c, const char *text, struct mail_path *out);

/* The file sync, whose lines say where maps come from; that there is none is fine. False: told. */
bool maps_check_sync(struct ctl *c, struct complaints *wrong);

/* DIRECTORY/NAME of a text map, in c->mem. */
char *maps_path(struct ctl *c, struct slice name);
#endif
