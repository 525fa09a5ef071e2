/* Which file system a place is on. Below the mail root no link is followed, so the longest mount point that is a prefix of the path is
 * the one; the mount table is read once. */
#include "delivery/mailbox_stores.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "delivery/maildir.h"

enum { MAX_MOUNTS = 4096, MAX_QUOTA_MAILBOXES = 65536, ROOT_MODE = 0700 };

static const char *const way_names[] = { [PEN_UNNAMED] = "unnamed", [PEN_LINK] = "link", [PEN_RENAME] = "rename" };

/* mountinfo writes blank, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *to = s;
	for (; *s; s++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static void add_mount(struct mailbox_stores *s, const char *point)
{
	s->mount_points = mem_grow(s->mount_points, s->mount_count + 1, sizeof *s->mount_points);
	s->mount_points[s->mount_count++] = mem_copy(point, strlen(point));
}

static void read_mounts(struct mailbox_stores *s)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, point[PATH_MAX];
	size_t size = 0;
	while (f && s->mount_count < MAX_MOUNTS && getline(&line, &size, f) > 0) {
		if (sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1) {
			unescape(point);
			add_mount(s, point);
		}
	}
	free(line);
	if (f)
		fclose(f);
	if (s->mount_count == 0)
		add_mount(s, "/");
}

static bool is_below(const char *path, const char *point)
{
	size_t n = strlen(point);
	return strcmp(point, "/") == 0 || (strncmp(path, point, n) == 0 && (path[n] == '/' || path[n] == '\0'));
}

static const char *mount_of(const struct mailbox_stores *s, const char *path)
{
	const char *best = "/";
	for (size_t i = 0; i < s->mount_count; i++)
		if (is_below(path, s->mount_points[i]) && strlen(s->mount_points[i]) > strlen(best))
			best = s->mount_points[i];
	return best;
}

/* Takes folder on success. */
static int add_store(struct mailbox_stores *s, int folder, const char *mount_point)
{
	struct mailbox_store *m = &s->all[s->count];
	char name[16];
	if (s->count == MAILBOX_MAX_STORES)
		return -ENFILE;
	int error = s->once ? store_probe_once(&m->store, folder) : store_probe(&m->store, folder);
	if (error)
		return error;
	m->mount_point = mem_copy(mount_point, strlen(mount_point));
	m->quota = quota_new(s->root, MAX_QUOTA_MAILBOXES);
	snprintf(name, sizeof name, "syncer-%zu", s->count);
	struct syncer_store how = { m->store.fd, m->store.ordered, m->store.syncfs, m->store.file_us, m->store.syncfs_us };
	m->syncer = syncer_new(s->loop, &how, name);
	s->count++;
	log_event(s->once ? LOG_DEBUG : LOG_INFO, "store", LOG_CSTR("mount", mount_point), LOG_CSTR("way", way_names[m->store.way]), LOG_UINT("ordered", m->store.ordered),
	          LOG_UINT("syncfs", m->store.syncfs),
	          LOG_UINT("file_us", m->store.file_us), LOG_UINT("syncfs_us", m->store.syncfs_us), LOG_END);
	return 0;
}

static int make_root(const char *path, int *fd)
{
	int error = file_mkdir(AT_FDCWD, path, ROOT_MODE);
	if (error && error != -EEXIST)
		return error;
	return file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, fd);
}

int mailbox_stores_open(struct mailbox_stores *s, struct loop *l, struct slice mail_root, bool once)
{
	int folder = -1;
	memset(s, 0, sizeof *s);
	s->loop = l;
	s->once = once;
	char *path = mem_copy(mail_root.p, mail_root.n);
	int error = make_root(path, &s->root);
	if (error == 0 && (s->root_path = realpath(path, NULL)) == NULL)
		error = -errno;
	mem_free(path);
	if (error == 0)
		error = file_dup(s->root, &folder);
	if (error)
		return error;
	read_mounts(s);
	error = add_store(s, folder, mount_of(s, s->root_path));
	if (error)
		file_close(&folder);
	return error;
}

void mailbox_stores_close(struct mailbox_stores *s)
{
	for (size_t i = 0; i < s->count; i++) {
		syncer_free(s->all[i].syncer);
		quota_free(s->all[i].quota);
		store_close(&s->all[i].store);
		mem_free(s->all[i].mount_point);
	}
	for (size_t i = 0; i < s->mount_count; i++)
		mem_free(s->mount_points[i]);
	mem_free(s->mount_points);
	free(s->root_path);
	file_close(&s->root);
}

static struct mailbox_store *meet(struct mailbox_stores *s, struct slice place, const char *mount_point)
{
	int folder;
	int error = maildir_open(s->root, place, MAILDIR_TMP, true, &folder);
	if (error == 0) {
		error = add_store(s, folder, mount_point);
		if (error)
			file_close(&folder);
	}
	if (error == 0)
		return &s->all[s->count - 1];
	log_event(LOG_ERROR, "store-failed", LOG_STR("mailbox", place), LOG_CSTR("mount", mount_point), LOG_ERRNO(error), LOG_END);
	return NULL;
}

static void report_one(struct mailbox_store *m, struct buf *out)
{
	struct syncer_counts c;
	syncer_count(m->syncer, &c);
	buf_add_cstr(out, "{\"mount\":");
	text_add_json(out, slice_of(m->mount_point));
	buf_addf(out, ",\"way\":\"%s\",\"syncfs_works\":%s,\"jobs\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"cycles\":%" PRIu64, way_names[m->store.way],
	         m->store.syncfs ? "true" : "false", c.jobs, c.failed, c.cycles);
	buf_addf(out, ",\"ordered\":%s,\"order_syncs\":%" PRIu64, m->store.ordered ? "true" : "false", c.order_syncs);
	buf_addf(out, ",\"syncfs\":%" PRIu64 ",\"file_syncs\":%" PRIu64 ",\"waiting\":%zu}", c.syncfs, c.file_syncs, syncer_waiting(m->syncer));
}

void mailbox_stores_report(struct mailbox_stores *s, struct buf *out)
{
	buf_add_byte(out, '[');
	for (size_t i = 0; i < s->count; i++) {
		if (i)
			buf_add_byte(out, ',');
		report_one(&s->all[i], out);
	}
	buf_add_byte(out, ']');
}

struct mailbox_store *mailbox_stores_root(struct mailbox_stores *s)
{
	return &s->all[0];
}

struct mailbox_store *mailbox_stores_find(struct mailbox_stores *s, struct slice place)
{
	char path[PATH_MAX];
	if (!maildir_place_ok(place))
		return NULL;
	bool absolute = place.p[0] == '/';
	snprintf(path, sizeof path, "%s%s%.*s", absolute ? "" : s->root_path, absolute ? "" : "/", SLICE_FMT(place));
	const char *mount_point = mount_of(s, path);
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->all[i].mount_point, mount_point) == 0)
			return &s->all[i];
	return meet(s, place, mount_point);
}
