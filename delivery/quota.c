/* What mailboxes hold. A fixed table of sets of a few entries each: bounded, and an entry that nothing is reserved in gives way to a
 * new one when its set is full. An entry is trusted while the folders' times are those it was counted or left with. */
#include "delivery/quota.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "delivery/maildir.h"

enum { WAYS = 8 };
/* Before a refusal the mailbox is counted anew, but a full one is not counted for every try of a flood. */
enum { RECOUNT_MS = 2000 };

struct usage {
	char *place;                 /* NULL: a free entry */
	size_t place_length;
	uint64_t bytes, messages;    /* reserved ones included */
	uint64_t reserved;           /* messages on their way */
	struct timespec new_time, cur_time;
	uint64_t counted_ms, used;
};

struct quota_table {
	int root;
	struct hash_key key;
	size_t sets;
	uint64_t tick;
	struct usage *entries;
};

struct quota_table *quota_new(int root, size_t max_mailboxes)
{
	struct quota_table *t = MEM_NEW(struct quota_table);
	t->root = root;
	t->key = hash_key_random();
	t->sets = max_mailboxes / WAYS + 1;
	t->entries = mem_new_array(t->sets * WAYS, sizeof *t->entries);
	return t;
}

void quota_free(struct quota_table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->sets * WAYS; i++)
		mem_free(t->entries[i].place);
	mem_free(t->entries);
	mem_free(t);
}

static struct usage *set_of(struct quota_table *t, struct slice place)
{
	return &t->entries[hash_bytes(&t->key, place) % t->sets * WAYS];
}

static struct usage *find(struct quota_table *t, struct slice place)
{
	struct usage *set = set_of(t, place);
	for (size_t i = 0; i < WAYS; i++)
		if (set[i].place && slice_eq(slice(set[i].place, set[i].place_length), place))
			return &set[i];
	return NULL;
}

/* A zeroed entry for place, in the place of the one that was used the longest ago. NULL: all are reserved in. */
static struct usage *claim(struct quota_table *t, struct slice place)
{
	struct usage *set = set_of(t, place), *best = NULL;
	for (size_t i = 0; i < WAYS; i++)
		if (set[i].reserved == 0 && (best == NULL || set[i].used < best->used))
			best = &set[i];
	if (best == NULL)
		return NULL;
	mem_free(best->place);
	*best = (struct usage){ .place = mem_copy(place.p, place.n), .place_length = place.n };
	return best;
}

static int add_file(int folder, const char *name, struct usage *sum)
{
	struct stat st;
	uint64_t size;
	if (!maildir_name_size(slice_of(name), &size)) {
		int error = file_stat_at(folder, name, &st);
		if (error)
			return error == -ENOENT ? 0 : error;
		size = (uint64_t)st.st_size;
	}
	sum->bytes += size;
	sum->messages++;
	return 0;
}

/* Adds what lies in the folder; takes the descriptor. */
static int count_folder(int folder, struct usage *sum)
{
	DIR *d = fdopendir(folder);
	const struct dirent *e;
	int error = 0;
	if (d == NULL) {
		error = -errno;
		file_close(&folder);
		return error;
	}
	while (error == 0 && (e = readdir(d)))
		if (e->d_name[0] != '.')
			error = add_file(folder, e->d_name, sum);
	closedir(d);
	return error;
}

static int folder_times(int new_fd, struct timespec *new_time, struct timespec *cur_time)
{
	struct stat new_st, cur_st;
	int error = file_stat_fd(new_fd, &new_st);
	if (error == 0)
		error = file_stat_at(new_fd, "../cur", &cur_st);
	if (error)
		return error;
	*new_time = new_st.st_mtim;
	*cur_time = cur_st.st_mtim;
	return 0;
}

/* Counts both folders. new/ first: what a reader moves to cur/ meanwhile is counted twice rather than never. */
static int recount(struct quota_table *t, struct slice place, int new_fd, struct usage *u)
{
	struct usage sum = { 0 };
	int folder, error = folder_times(new_fd, &sum.new_time, &sum.cur_time);
	if (error == 0)
		error = maildir_open(t->root, place, MAILDIR_NEW, false, &folder);
	if (error == 0)
		error = count_folder(folder, &sum);
	if (error == 0)
		error = maildir_open(t->root, place, MAILDIR_CUR, false, &folder);
	if (error == 0)
		error = count_folder(folder, &sum);
	if (error)
		return error;
	u->bytes = sum.bytes;
	u->messages = sum.messages;
	u->new_time = sum.new_time;
	u->cur_time = sum.cur_time;
	u->counted_ms = clock_mono_ms();
	return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_trusted(int new_fd, const struct usage *u)
{
	struct timespec new_time, cur_time;
	return u->counted_ms && folder_times(new_fd, &new_time, &cur_time) == 0 && same_time(&new_time, &u->new_time) &&
	       same_time(&cur_time, &u->cur_time);
}

static bool fits(const struct usage *u, const struct quota_limits *limits, uint64_t size)
{
	if (limits->messages && u->messages >= limits->messages)
		return false;
	return limits->bytes == 0 || (size <= limits->bytes && u->bytes <= limits->bytes - size);
}

/* While something is reserved the folders change by our own hand, and a count would see some of it twice: the sum is kept as it is. */
static int refresh(struct quota_table *t, struct slice place, const struct quota_limits *limits, uint64_t size, struct usage *u)
{
	int new_fd, error;
	if (u->reserved)
		return 0;
	error = maildir_open(t->root, place, MAILDIR_NEW, false, &new_fd);
	if (error) {
		u->bytes = u->messages = 0;
		return error == -ENOENT ? 0 : error;
	}
	bool stale = !is_trusted(new_fd, u) || (!fits(u, limits, size) && clock_mono_ms() - u->counted_ms > RECOUNT_MS);
	if (stale)
		error = recount(t, place, new_fd, u);
	file_close(&new_fd);
	return error;
}

static int look(struct quota_table *t, struct slice place, const struct quota_limits *limits, uint64_t size, struct usage **out)
{
	struct usage *u = find(t, place);
	if (u == NULL)
		u = claim(t, place);
	if (u == NULL)
		return -EAGAIN;
	u->used = ++t->tick;
	int error = refresh(t, place, limits, size, u);
	if (error)
		return error;
	*out = u;
	return fits(u, limits, size) ? 0 : -EDQUOT;
}

int quota_check(struct quota_table *t, struct slice place, const struct quota_limits *limits, uint64_t size)
{
	struct usage *u;
	return look(t, place, limits, size, &u);
}

int quota_reserve(struct quota_table *t, struct slice place, const struct quota_limits *limits, uint64_t size)
{
	struct usage *u;
	int error = look(t, place, limits, size, &u);
	if (error)
		return error;
	u->bytes += size;
	u->messages++;
	u->reserved++;
	return 0;
}

/* Our own change of new/ is not one behind our back. What somebody else changed in the same instant is seen with their next change, or
 * before a refusal. */
static void remember_times(struct quota_table *t, struct slice place, struct usage *u)
{
	int new_fd;
	u->counted_ms = 0;
	if (maildir_open(t->root, place, MAILDIR_NEW, false, &new_fd) < 0)
		return;
	if (folder_times(new_fd, &u->new_time, &u->cur_time) == 0)
		u->counted_ms = clock_mono_ms();
	file_close(&new_fd);
}

void quota_settle(struct quota_table *t, struct slice place, uint64_t size, bool kept)
{
	struct usage *u = find(t, place);
	if (u == NULL || u->reserved == 0)
		return;
	u->reserved--;
	if (!kept) {
		u->bytes -= size < u->bytes ? size : u->bytes;
		u->messages -= u->messages > 0;
	}
	if (u->reserved == 0)
		remember_times(t, place, u);
}
