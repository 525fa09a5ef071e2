#ifndef BASE_PEN_H
#define BASE_PEN_H
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"

/* A pen: the content of one message on one file system, in nobody's view until it is published. Where the file system can, it is an
 * unnamed file (O_TMPFILE), which a crash removes by itself; elsewhere a file in a Maildir's tmp/ that the start-up sweep knows by its name.
 * Links to one pen's file stand in any number of folders of that file system; where it has no links, one folder takes it by rename. */
enum pen_way { PEN_UNNAMED, PEN_LINK, PEN_RENAME };

enum { PEN_MAX_NAME = 200 };

struct pen {
	int fd;                       /* -1: none */
	enum pen_way way;
	int tmp_fd;                   /* PEN_LINK, PEN_RENAME: the folder of the staged name; ours to close */
	char staged[PEN_MAX_NAME];    /* that name; "" when gone */
};

#define PEN_NONE ((struct pen){ -1, PEN_UNNAMED, -1, "" })

/* An empty one. folder: for PEN_UNNAMED any folder of the file system, else the tmp/ in which `name` is made. 0 or -errno. */
int pen_open(struct pen *p, enum pen_way way, int folder, const char *name);

int pen_write(struct pen *p, struct slice content);

/* 0, or -EBADMSG if the file has another length. */
int pen_check_length(const struct pen *p, uint64_t length);

/* All of another pen (-EBADMSG if it has another length), by reflink where the file systems can. */
int pen_copy(struct pen *p, const struct pen *from, uint64_t length);

/* Content durable (fdatasync). */
int pen_sync(struct pen *p);

/* Content on its way to the device, and there (base/file.h: durability by order). */
int pen_start(struct pen *p);
int pen_await(struct pen *p);

/* The content appears as `name` in folder. -EEXIST only if another file has that name: the same folder twice is one link. */
int pen_publish(struct pen *p, int folder, const char *name);

/* Closes, and removes the staged name. What was published stays. */
void pen_drop(struct pen *p);
#endif
