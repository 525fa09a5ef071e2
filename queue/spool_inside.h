#ifndef QUEUE_SPOOL_INSIDE_H
#define QUEUE_SPOOL_INSIDE_H
#include <sys/types.h>
#include "queue/spool.h"

/* What the files of the spool share, and nobody else.
 *
 *	spool.c        folders and names: opening, moving, walking
 *	spool_put.c    a message's way in
 *	spool_read.c   the head of a file; a message as it lies there
 *	spool_check.c  the checksum of its content
 *	spool_note.c   what is written of a message later: events, its end, a report of which its message knows */
enum { SPOOL_FOLDERS = SPOOL_MADE + 1, SPOOL_PATH = SPOOL_ID_MAX + 8 };

struct spool {
	int dir, tmp, rolls;
	int folders[SPOOL_FOLDERS];
	uid_t owner;                  /* of the folder, and so of every file in it: porterctl reads as root */
	enum pen_way way;
	struct syncer *syncer;
};

bool spool_is_id(struct slice id);
/* "XX/ID" below queue/, "ID" elsewhere; XX are the last two letters, which count up, so messages spread evenly. */
void spool_path(enum spool_folder where, struct slice id, char out[SPOOL_PATH]);
/* The folder of an id, made if it is missing: durable with the name that is about to stand in it, since syncs cover the file system. fd: the caller's. */
int spool_folder_of(struct spool *s, enum spool_folder where, struct slice id, int *fd);
int spool_sync_folder_of(struct spool *s, enum spool_folder where, struct slice id);
int spool_rename(struct spool *s, enum spool_folder from, enum spool_folder to, struct slice id);
int spool_open_message(struct spool *s, enum spool_folder where, struct slice id, int flags, int *fd);

struct spool_head {
	uint64_t content_offset, content_length, envelope_length, envelope_check, content_check;
	bool has_check;               /* version 1 had no content_check */
};
/* The checksum of content: of its pieces of 64 KiB, each keyed by the one before. Of a slice; of a file's part. */
uint64_t spool_check_content(struct slice content);
int spool_check_file(int fd, uint64_t offset, uint64_t length, uint64_t *out);
void spool_put_head(char to[SPOOL_HEAD], const struct spool_head *h);
#endif
