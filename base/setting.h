#ifndef BASE_SETTING_H
#define BASE_SETTING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* Settings: each room has one table (name, type, default, range, one sentence) that fills one struct of that room. porter.conf(5) is made from
 * the tables, `check` reads by them, and nothing else in the house parses porter.conf.
 *
 * porter.conf: one setting a line, `name value`; `#` begins a comment at the start of a line or behind blanks; a setting may stand once. */
enum setting_type {
	SETTING_BOOL,   /* bool: yes | no */
	SETTING_UINT,   /* uint64_t, min..max */
	SETTING_SIZE,   /* uint64_t bytes: 10M */
	SETTING_SPAN,   /* uint64_t seconds: 5m */
	SETTING_TEXT,   /* struct slice, any */
	SETTING_WORD,   /* struct slice, one of `words` (blank separated in the table) */
	SETTING_DOMAIN, /* struct slice, a host name, lower case */
	SETTING_PATH,   /* struct slice, made absolute: relative ones start at the configuration directory */
	SETTING_LIST    /* struct slice, blank-separated items; checked by `check` */
};

struct setting {
	const char *name;
	enum setting_type type;
	size_t offset;              /* in the room's struct */
	const char *preset;         /* the default, as text */
	uint64_t min, max;          /* UINT, SIZE, SPAN */
	const char *words;          /* WORD */
	const char *(*check)(struct slice value); /* NULL, or returns NULL / a fixed phrase that says what is wrong */
	const char *sentence;       /* for porter.conf(5) */
};

struct setting_table {
	const char *room;           /* "smtpd": a section of porter.conf(5) */
	const struct setting *rows;
	size_t count;
	void *target;               /* the room's struct, filled in place */
};

/* Collects errors as "file:line: text\n", sorted by file and line, the first 50 of them and then a count. */
struct complaints {
	struct buf text;
	size_t count;
};
void complaint_add(struct complaints *c, struct slice file, size_t line, const char *format, ...) __attribute__((format(printf, 4, 5)));
void complaint_join(struct complaints *c, const struct complaints *more);
void complaint_free(struct complaints *c);

/* Fills every table's struct: defaults first, then text (the content of porter.conf; file is its name in complaints; directory is
 * what relative paths start at). Strings live in mem. Returns 0, or -EINVAL with all errors in complaints. */
int setting_read(struct slice text, struct slice file, struct slice directory, struct setting_table *const *tables, size_t count,
                 struct arena *mem, struct complaints *wrong);

/* The same for a process that has some of the tables: names of others are passed over. The parent has read them all. */
int setting_read_some(struct slice text, struct slice file, struct slice directory, struct setting_table *const *tables, size_t count,
                      struct arena *mem, struct complaints *wrong);
#endif
