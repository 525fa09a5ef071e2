#ifndef DELIVERY_MBOX_H
#define DELIVERY_MBOX_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/slice.h"

/* An mbox file (mboxrd): locked, appended to, and either kept or cut back. Locks as Debian's policy wants them: an fcntl lock (of the open file description: our own
 * threads exclude each other, too), then "FILE.lock", both without waiting; if one is taken both are let go and tried again. The lock is held until mbox_close, so
 * nobody reads what may still be cut back.
 *
 * A crash: FILE.lock says from which length on the file is not promised. Who finds a Porter's lock and has the fcntl lock, which a living one would hold, cuts the
 * file back first. Another program's is broken when its process has ended, or when it names none and is five minutes old. */
struct mbox {
	int folder, fd;
	char name[256];       /* of the file in its folder */
	uint64_t length;      /* before us */
	bool stuck;           /* could not be cut back: the lock stays and tells the next one to */
	bool in_line;         /* the quoter: behind the bytes of a line that decide */
	unsigned matched;     /* of "From ", held back */
	char last;            /* byte written */
};

/* Opens, makes and locks the file at place (rules of delivery/maildir.h), waiting up to wait_ms. -EBUSY: somebody holds it. Blocks. */
int mbox_open(struct mbox *m, int root, struct slice place, uint64_t wait_ms);

/* Begins a message: notes the length in the lock, writes the "From " line (the null reverse-path becomes MAILER-DAEMON). */
int mbox_begin(struct mbox *m, struct slice reverse_path, int64_t when_s);

/* Content with LF line ends, in pieces; a line that looks like "From ", behind any number of '>', gets a '>' (mboxrd). */
int mbox_write(struct mbox *m, struct slice piece);

/* Ends it with a blank line and syncs file and, if it was empty, folder. */
int mbox_end(struct mbox *m);

/* From now on a crash does not cut the file back. */
int mbox_keep(struct mbox *m);

/* As it was before mbox_begin. */
int mbox_cut_back(struct mbox *m);

/* Lets the locks go. */
void mbox_close(struct mbox *m);

/* Size of the file; 0 if it isn't there and can be made. */
int mbox_size(int root, struct slice place, uint64_t *size);
#endif
