#ifndef DELIVERY_MAILDIR_H
#define DELIVERY_MAILDIR_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/slice.h"

/* Maildir folders: reached, made, named into. A place is a path below the mail root, or absolute; it is walked without following any link
 * and has no "." or ".." in it, so no local-part leads elsewhere. Below the mail root what is missing is made (and synced: a name in
 * a folder that a power cut takes is worth nothing); an absolute place must be there, only its new, cur and tmp are made. */
enum maildir_folder { MAILDIR_NEW, MAILDIR_CUR, MAILDIR_TMP };

enum { MAILDIR_MAX_PLACE = 1024, MAILDIR_MAX_NAME = 200 };

/* Relative, or absolute; no empty component, no "." and "..", no NUL. */
bool maildir_place_ok(struct slice place);

/* Opens the folder for reading and sync. root: the mail root. -ENOENT when it is missing and make is false; -ELOOP for a link on the way. */
int maildir_open(int root, struct slice place, enum maildir_folder which, bool make, int *fd);

/* The same for any folder by its place; "" is the mail root itself. What is missing is made below the mail root alone. */
int maildir_open_folder(int root, struct slice place, bool make, int *fd);

/* "SECONDS.M<usec>P<pid>Q<n>_<transaction>.HOST,S=<size>": unique in this house for ever (the time, our process, a count), the transaction's id for the
 * log's reader, the size for quotas (Maildir++). host has no '/' or ':'. */
void maildir_name(char out[MAILDIR_MAX_NAME], struct slice transaction, struct slice host, uint64_t size);

/* Who made a file with a name like that on this host. False: not one of ours. */
struct maildir_origin {
	int64_t seconds;
	pid_t pid;
};
bool maildir_name_parse(struct slice name, struct slice host, struct maildir_origin *out);

/* The size from ",S=<size>" in a file name. False: none there. */
bool maildir_name_size(struct slice name, uint64_t *size);
#endif
