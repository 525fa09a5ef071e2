/* Files that the parent opens for others: memory that processes share (certificates and keys: ctl/key_files.c). Which role gets which is told by the
 * prefixes in ctl/roles.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/general_settings.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/shared.h"
#include "ctl/parent.h"
#include "delivery/tls_report.h"
#include "queue/attacks.h"
#include "queue/flight.h"
#include "queue/usage.h"
#include "smtpd/crowd.h"
#include "smtpd/filter_settings.h"
#include "smtpd/greylist.h"
#include "smtpd/harvest.h"

enum { MAX_SHARED = 8, HARVEST_ENTRIES = 65536 };

struct shared {
	const char *name;
	int fd;
};

struct file_set {
	struct shared shared[MAX_SHARED];
	size_t count;
};

static int add_shared(struct file_set *set, const char *name, int fd)
{
	if (fd < 0) {
		log_event(LOG_ERROR, "shared-memory", LOG_CSTR("name", name), LOG_ERRNO(fd), LOG_END);
		return fd;
	}
	set->shared[set->count++] = (struct shared){ name, fd };
	return 0;
}

static int make_memory(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

/* The account of attacks lives over restarts: a file, whose blocks are taken beforehand so that a full disk can't end a process that counts. */
static int open_attacks(struct parent *p)
{
	char path[4200];
	size_t size = attacks_size();
	snprintf(path, sizeof path, "%.*s/attacks", SLICE_FMT(general_settings.spool_directory));
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int error = -posix_fallocate(fd, 0, (off_t)size);
	void *m = error ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED) {
		close(fd);
		return error ? error : -errno;
	}
	attacks_create(m, size);
	p->attacks = attacks_attach(m, size);
	return fd;
}

/* What a process that ended has counted is removed here. */
static int make_crowd(struct parent *p)
{
	int fd = make_memory("crowd", crowd_size());
	void *m = fd < 0 ? MAP_FAILED : mmap(NULL, crowd_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	p->crowd = m == MAP_FAILED ? NULL : crowd_attach(m, crowd_size(), 0);
	return fd;
}

/* The same for those who were told to come again, and for what users have handed in; of another size or form, or damaged at its head, it begins anew. */
static int open_table(const char *name, size_t size, uint32_t form)
{
	char path[4200];
	struct stat st;
	snprintf(path, sizeof path, "%.*s/%s", SLICE_FMT(general_settings.spool_directory), name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int mended = shared_mend(fd, form);
	if (mended > 0)
		log_event(LOG_WARN, "table-begun-anew", LOG_CSTR("file", path), LOG_END);
	int error = mended < 0 ? mended : fstat(fd, &st) < 0 || (st.st_size != (off_t)size && ftruncate(fd, 0) < 0) ? -errno : -posix_fallocate(fd, 0, (off_t)size);
	if (!error)
		return fd;
	close(fd);
	return error;
}

/* Counts of TLS reports live over restarts, too. */
static int open_tls_report(void)
{
	char path[4200];
	snprintf(path, sizeof path, "%.*s/tls-report", SLICE_FMT(general_settings.spool_directory));
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int error = -posix_fallocate(fd, 0, (off_t)tls_report_size());
	if (!error)
		return fd;
	close(fd);
	return error;
}

int spool_claim(struct parent *p, struct buf *told)
{
	char path[4200];
	struct stat now, held;
	snprintf(path, sizeof path, "%.*s", SLICE_FMT(general_settings.spool_directory));
	int error = 0, fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &now) < 0) {
		error = -errno;
		buf_addf(told, "porter.conf: spool-directory %s: %s\n", path, strerror(errno));
	} else if (p->spool >= 0 && (fstat(p->spool, &held) < 0 || held.st_dev != now.st_dev || held.st_ino != now.st_ino)) {
		error = -EBUSY;
		buf_addf(told, "porter.conf: spool-directory %s: a running porterd keeps its spool; stop it, move the folder, and start it again\n", path);
	} else if (p->spool < 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		error = -errno;
		buf_addf(told, "porter.conf: spool-directory %s: %s\n", path, errno == EWOULDBLOCK ? "already served by another porterd; stop that one first, or give this one a spool of its own" : strerror(errno));
	} else if (p->spool < 0) {
		p->spool = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return error;
}

int files_open(struct parent *p)
{
	key_files_open(p);
	if (p->files)
		return 0;             /* shared memory stays over reloads */
	p->files = MEM_NEW(struct file_set);
	int error = add_shared(p->files, "shared:harvest", make_memory("harvest", harvest_size(HARVEST_ENTRIES)));
	error = error ? error : add_shared(p->files, "shared:attacks", open_attacks(p));
	error = error ? error : add_shared(p->files, "shared:tls-report", open_tls_report());
	error = error ? error : add_shared(p->files, "shared:crowd", make_crowd(p));
	error = error ? error : add_shared(p->files, "shared:flight", make_memory("flight", flight_size()));
	error = error ? error : add_shared(p->files, "shared:greylist", open_table("greylist", greylist_size(filter_settings.greylist_entries), GREYLIST_FORM));
	error = error ? error : add_shared(p->files, "shared:usage", open_table("usage", usage_size(), USAGE_FORM));
	return error;
}

/* "tls-cert: shared:harvest": a word that ends in a colon stands for all files of that kind. */
static bool is_named(const char *list, const char *name)
{
	struct slice rest = slice_of(list), file = slice_of(name);
	while (rest.n) {
		struct slice word = slice_cut(rest, ' ', &rest);
		if (slice_eq(word, file) || (slice_ends(word, SLICE(":")) && slice_starts(file, word)))
			return true;
	}
	return false;
}

void files_child_ended(struct parent *p, pid_t pid)
{
	if (p->crowd)
		crowd_process_ended(p->crowd, (uint32_t)pid);
}

bool files_wants(const struct role *r, const char *name)
{
	return is_named(r->files, name);
}

void files_give(struct parent *p, struct child *c)
{
	key_files_give(p, c);
	for (size_t i = 0; p->files && i < p->files->count; i++)
		if (is_named(c->role->files, p->files->shared[i].name))
			child_send_file(c, slice_of(p->files->shared[i].name), p->files->shared[i].fd);
}
