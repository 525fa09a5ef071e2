#ifndef CTL_IMPORT_H
#define CTL_IMPORT_H
#include <stddef.h>
#include "base/hash.h"
#include "ctl/ctl.h"
#include "maps/map.h"

/* Other servers' tables, turned into ours. Each format is a file ctl/import_*.c with one function; what it puts is checked by the same readers as text maps, so what is
 * written can be read. What has no place with us is told, with file and line, and left out. */
struct import {
	struct ctl *c;
	char *root;                    /* the folder that was named, or the file's */
	struct buf maps[MAP_FIXED];
	struct buf relayed;            /* the map relay-recipients */
	struct buf lost, advice;
	size_t carried, lost_count;
	struct hash_key key;           /* keys seen, as 64-bit hashes in an open table */
	uint64_t *seen;
	size_t seen_count, seen_room;
};

/* The place of what is read: for what is lost. */
struct import_at {
	const char *file;
	size_t line;
};

/* One entry. A key that was put before is left out, and told if the value differs. */
void import_put(struct import *im, unsigned map, struct slice key, struct slice value, struct import_at at);
void import_put_relayed(struct import *im, struct slice key, struct import_at at);
bool import_has(struct import *im, unsigned map, struct slice key);
void import_lost(struct import *im, struct import_at at, const char *format, ...) __attribute__((format(printf, 3, 4)));
void import_advise(struct import *im, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Text made of pieces, in c->mem. */
struct slice import_text(struct import *im, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Relative names are below im->root. */
char *import_path(struct import *im, struct slice name);
bool import_exists(struct import *im, struct slice name);

/* Each line of a file: comments and empty lines left out, lines that begin with a blank joined (if joined). A file that can't be read is lost. */
void import_lines(struct import *im, struct slice name, bool joined, void (*each)(void *arg, struct slice line, struct import_at at), void *arg);

/* Cuts "KEY blanks VALUE" (a colon behind the key is taken off if colon). */
struct slice import_key(struct slice line, bool colon, struct slice *value);

/* aliases(5): "NAME: TARGET, ..."; domain "" leaves bare keys bare. */
void import_aliases_file(struct import *im, struct slice name, struct slice domain);
/* The same for a domain of its own, where "*" is everybody else; bare targets are at origin. */
void import_domain_file(struct import *im, struct slice name, struct slice domain, struct slice origin);
/* Calls each for the files in a folder, by name. False: there is no such folder. */
bool import_folder(struct import *im, struct slice name, void (*each)(void *arg, const char *file), void *arg);
/* One target list of somebody else's, to the form of our aliases; SLICE_NONE: told. */
struct slice import_targets(struct import *im, struct slice value, struct import_at at);

void import_postfix(struct import *im);
void import_exim(struct import *im, const char *file);
void import_opensmtpd(struct import *im, const char *file);
void import_sendmail(struct import *im);
void import_qmail(struct import *im);
#endif
