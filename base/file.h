#ifndef BASE_FILE_H
#define BASE_FILE_H
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include "base/slice.h"

/* Files and folders, and the one hook through which tests see every call that can fail, make it fail, or write down the order in which things
 * became durable. Everything returns 0 or -errno; descriptors are close-on-exec; results last, untouched on failure.
 * dir is a folder's descriptor or AT_FDCWD. */
enum file_call {
	FILE_OPEN, FILE_WRITE, FILE_COPY, FILE_SYNC_DATA, FILE_SYNC, FILE_SYNC_STORE, FILE_PUBLISH, FILE_LINK, FILE_RENAME, FILE_UNLINK,
	FILE_MKDIR, FILE_TRUNCATE, FILE_STAT, FILE_DUP, FILE_START, FILE_AWAIT, FILE_SYNC_ORDER
};

/* Tests only. Called before each call (from any thread): 0 lets it go on, -errno makes it fail without being tried. fd: the file or folder it is
 * about, -1 where only a name tells; dir and name: where the name is, was or will be, -1 and NULL if none. No hook is the normal state. */
typedef int (*file_hook)(void *arg, enum file_call call, int fd, int dir, const char *name);
void file_test_hook(file_hook hook, void *arg);
void file_test_order(bool keeps);  /* tests only: what file_keeps_order says from now on */

int file_open(int dir, const char *name, int flags, mode_t mode, int *fd);
/* Follows no symbolic link anywhere on the way (-ELOOP). -ENOSYS where the kernel can't be asked for that. */
int file_open_no_links(int dir, const char *path, int flags, int *fd);
int file_dup(int fd, int *copy);
/* *fd becomes -1; -1 is fine. */
void file_close(int *fd);

/* A file that is not there yet, with all of its content; -EEXIST. Not synced. */
int file_make(int dir, const char *name, mode_t mode, struct slice content);

/* All of it, at the file's position. */
int file_write(int fd, struct slice s);
/* All of it, at that place. */
int file_write_at(int fd, struct slice s, uint64_t at);
/* `length` bytes from the front of from to the front of to; shares blocks where the file system can. -EBADMSG when from is shorter. */
int file_copy(int from, int to, uint64_t length);
int file_truncate(int fd, uint64_t length);

int file_sync_data(int fd);   /* fdatasync */
int file_sync(int fd);        /* fsync: file or folder */
int file_sync_store(int fd);  /* syncfs: the whole file system, errors since fd was opened */

/* Durability by order. Some file systems keep one journal for all that changes names and sizes (ext4 with its journal, xfs): whatever ended before a change is durable when
 * that change is, as long as the content of files had reached the device by then. There, content is started on its way, awaited (it may still stand in the device's
 * cache, which the journal's next commit empties), named, and then ONE sync of one mark serves any number of files and names. */
bool file_keeps_order(int fd);     /* is the file system under fd one of those? Asked by its kind; of an ext4 it must be known that it has a journal (file_init) */
int file_start(int fd);            /* the file's content sets out */
int file_await(int fd);            /* and has arrived */
int file_sync_order(int folder);   /* marks a folder that is ours (its times) and syncs it: all that ended before is durable */

/* Publishing: the only places that give a file its final name. An unnamed file (O_TMPFILE), for which file_init must have been called before
 * any chroot; a name that is there already; and the replacement of one that may be there. -EEXIST if taken (file_rename replaces). */
int file_publish(int fd, int dir, const char *name);
int file_link(int from_dir, const char *from, int to_dir, const char *to);
int file_rename(int from_dir, const char *from, int to_dir, const char *to);
int file_unlink(int dir, const char *name);
int file_mkdir(int dir, const char *name, mode_t mode);

int file_stat_fd(int fd, struct stat *st);
int file_stat_at(int dir, const char *name, struct stat *st); /* a link's own */
int file_stat_store(int fd, struct statvfs *v);

/* Keeps /proc/self/fd open, through which an unnamed file is linked without capabilities, and finds the ext4 journals. Once, at start. */
int file_init(void);
#endif
