#ifndef MAPS_MAP_BDB_H
#define MAPS_MAP_BDB_H
#include "maps/map.h"

/* The Berkeley DB backend of compiled maps. A file is a B-tree written once in the order of keys; records are {u8 version, u32 line, value}, length-checked when
 * read. Reading goes through pages mapped into the process (DB_RDONLY below set_mp_mmapsize), so a look-up costs no system call once they are there. */
struct map_bdb_env;
struct map_bdb_env *map_bdb_env_new(void);           /* private, no files; NULL if Berkeley DB refuses */
void map_bdb_env_free(struct map_bdb_env *e);

struct map_bdb;
int map_bdb_open(struct map_bdb_env *e, const char *path, struct map_bdb **out); /* 0, -ENOENT, -EBADMSG: no map of ours */
void map_bdb_close(struct map_bdb *m);
enum answer map_bdb_find(struct map_bdb *m, struct slice key, struct arena *mem, struct map_entry *out);
enum answer map_bdb_each(struct map_bdb *m, bool (*each)(void *arg, const struct map_entry *e), void *arg);

/* One record as it stands in a file; false: of another version, or too short. *value is a view into it. */
bool map_bdb_read_record(struct slice record, struct slice *value, uint32_t *line);

/* Writing a new file. Keys come in their order. */
struct map_bdb_writer;
int map_bdb_create(const char *path, struct map_bdb_writer **out);
int map_bdb_add(struct map_bdb_writer *w, const struct map_entry *e);
int map_bdb_finish(struct map_bdb_writer *w);        /* writes all and closes; w is gone in any case */
#endif
