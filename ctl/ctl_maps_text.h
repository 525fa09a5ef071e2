#ifndef CTL_CTL_MAPS_TEXT_H
#define CTL_CTL_MAPS_TEXT_H
#include "ctl/ctl.h"
#include "maps/map.h"

/* Editing text maps in place: comments and order stay, one editor at a time, all or nothing. An edit begins with maps that can be read, changes the content of
 * some in memory, and is finished by writing them, compiling, and, if the compiler refuses, putting back what was there. */
enum { EDIT_MAX_FILES = 4 };

struct edited {
	unsigned id;
	char *path;
	bool existed;
	struct buf before, now;
};

struct edit {
	struct ctl *c;
	struct map_set *set;      /* as it stood before */
	int lock;
	struct edited files[EDIT_MAX_FILES];
	size_t count;
};

/* False: told on standard error, *code is the exit code, nothing is to be ended. */
bool edit_begin(struct ctl *c, struct edit *e, int *code);

/* Is there an entry? (key in any form that the map takes.) Its canonical key, its line, and its value as written, includes not replaced. UNSURE: told. */
enum answer edit_find(struct edit *e, unsigned id, const char *key, struct slice *canonical, uint32_t *line, struct slice *value);

/* A new entry behind the last one of the same domain, or at the end. */
int edit_add(struct edit *e, unsigned id, struct slice key, struct slice value);
/* Its first line becomes "KEY VALUE" (the key as written, a comment behind it stays), its continuation lines go. */
int edit_replace(struct edit *e, unsigned id, uint32_t line, struct slice value);
int edit_remove(struct edit *e, unsigned id, uint32_t line);

/* The whole of a map's text, also of one that is not named anywhere yet. */
int edit_whole(struct edit *e, struct slice name, struct slice text);

/* Writes, compiles, tells the running porterd; or puts everything back. The exit code. Ends the edit. */
int edit_finish(struct edit *e);
void edit_drop(struct edit *e);
#endif
