/* The drop folder: what local programs left there by the sendmail command. A file's owner is who sent it; `senders` says which reverse-paths that user may use. Read in
 * a worker, since it is other people's files; what can't be taken is set aside with a reason, never lost. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mail_header.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "base/unique.h"
#include "maps/author.h"
#include "maps/senders.h"
#include "queue/drop.h"
#include "queue/queue_inside.h"

enum { MAX_FILES = 100, MAX_DROPPED = 128 << 20, MAX_NAME = 64, MAX_USER = 64 };

struct dropped {
	char name[MAX_NAME + 1], user[MAX_USER + 1];
	struct buf raw, content;         /* raw: the file; content: CRLF */
	struct arena mem;
	struct drop drop;
	const char *wrong;
	struct queue *queue;
};

struct drop_round {
	struct queue *queue;
	int folder;
	struct dropped *found;
	size_t count;
};

void drop_prepare(struct queue *q)
{
	if (mkdirat(q->setup.spool, "drop", DROP_MODE) < 0 && errno != EEXIST)
		queue_alert(q, "the drop folder of sendmail can't be made: %s", strerror(errno));
	if (fchmodat(q->setup.spool, "drop", DROP_MODE, 0) < 0)        /* past the umask */
		queue_alert(q, "the drop folder of sendmail has the wrong mode: %s", strerror(errno));
}

/* In the worker ----------------------------------------------------------------------------------------------------------------------- */

static void to_crlf(struct buf *out, struct slice s)
{
	while (s.n) {
		size_t end = slice_find(s, '\n');
		struct slice line = slice_head(s, end > 0 && end < s.n && s.p[end - 1] == '\r' ? end - 1 : end);
		for (size_t i = 0; i < line.n; i++)
			if (line.p[i] != '\r' && line.p[i] != '\0')     /* never a bare CR or a NUL on the wire */
				buf_add_byte(out, line.p[i]);
		buf_add(out, SLICE("\r\n"));
		s = slice_skip(s, end < s.n ? end + 1 : end);
	}
}

static const char *read_file(int folder, struct dropped *d)
{
	struct stat st;
	int fd = openat(folder, d->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return "it can't be opened";
	const char *wrong = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ? "it is no plain file of one name" : NULL;
	if (!wrong && st.st_size > MAX_DROPPED)
		wrong = "it is larger than 128 MiB";
	ssize_t n = 1;
	while (!wrong && n > 0) {
		char *room = buf_room(&d->raw, 65536);
		n = room ? read(fd, room, 65536) : -1;
		if (n > 0)
			buf_used(&d->raw, (size_t)n);
		if (n < 0)
			wrong = "it can't be read";
	}
	close(fd);
	if (wrong)
		return wrong;
	struct passwd *pw = getpwuid(st.st_uid);
	snprintf(d->user, sizeof d->user, "%s", pw ? pw->pw_name : "");
	size_t offset;
	if (drop_get(buf_slice(&d->raw), &d->mem, &d->drop, &offset))
		return "it was not written by sendmail";
	to_crlf(&d->content, slice_skip(buf_slice(&d->raw), offset));
	return buf_full(&d->content) ? "it is too large" : NULL;
}

static void read_drop(void *arg)
{
	struct drop_round *r = arg;
	if (file_open(r->queue->setup.spool, "drop", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &r->folder))
		return;
	int copy = dup(r->folder);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	for (struct dirent *e = d ? readdir(d) : NULL; e && r->count < MAX_FILES; e = readdir(d)) {
		if (e->d_name[0] == '.' || strncmp(e->d_name, "tmp.", 4) == 0 || strlen(e->d_name) > MAX_NAME)
			continue;
		struct dropped *one = &r->found[r->count++];
		memcpy(one->name, e->d_name, strlen(e->d_name) + 1); /* fits: MAX_NAME was looked at */
		buf_init(&one->raw, MAX_DROPPED + (1 << 20));
		buf_init(&one->content, MAX_DROPPED * 2ul);
		one->mem = (struct arena)ARENA_INIT(8 << 20);
		one->queue = r->queue;
		one->wrong = read_file(r->folder, one);
	}
	if (d)
		closedir(d);
}

/* In the loop ------------------------------------------------------------------------------------------------------------------------- */

static void set_aside(struct queue *q, const char *name, const char *why)
{
	char aside[MAX_NAME + 16];
	int drop = -1, to = -1;
	snprintf(aside, sizeof aside, "drop-%s", name);
	if (file_open(q->setup.spool, "drop", O_RDONLY | O_DIRECTORY, 0, &drop) == 0 && file_open(q->setup.spool, "aside", O_RDONLY | O_DIRECTORY, 0, &to) == 0)
		file_rename(drop, name, to, aside);
	file_close(&drop);
	file_close(&to);
	queue_alert(q, "a message in the drop folder was set aside (aside/%s): %s", aside, why);
}

struct taking {
	struct queue *queue;
	char name[MAX_NAME + 1];
};

static void on_taken(void *arg, int error)
{
	struct taking *t = arg;
	int drop = -1;
	if (error == -EPERM) {
		set_aside(t->queue, t->name, "its sender may not queue mail for the outside (see the map senders)");
	} else if (error == 0 && file_open(t->queue->setup.spool, "drop", O_RDONLY | O_DIRECTORY, 0, &drop) == 0) {
		file_unlink(drop, t->name);          /* a crash before this brings a second copy, never a loss */
		file_sync(drop);
		t->queue->counts.dropped_in++;
	}
	file_close(&drop);
	mem_free(t);
}

static struct evidence evidence_of(struct queue *q, struct dropped *d)
{
	struct mail_path path;
	const char *why;
	struct buf who = BUF_INIT(MAX_USER + 16);
	struct evidence none = { EVIDENCE_NONE, SLICE(""), SLICE("this user may not use this reverse-path") };
	buf_addf(&who, "unix:%s", d->user);
	struct slice name = arena_copy(&d->mem, buf_slice(&who));
	buf_free(&who);
	if (!q->maps || !d->user[0] || mail_path_parse_address(d->drop.reverse_path, &d->mem, &path, &why) < 0 || senders_may_use(q->maps, name, &path, &d->mem) != FOUND)
		return none;
	return (struct evidence){ EVIDENCE_LOCAL, name, SLICE("the sendmail command, by a user who may use this reverse-path") };
}

/* Is From one that this user may write? If not, or if nobody can tell, nothing is signed. */
static bool may_be_signed(struct queue *q, struct dropped *d, const struct evidence *e)
{
	struct slice content = buf_slice(&d->content);
	struct submitter who = { .maps = q->maps, .login = e->who };
	struct arena mem = ARENA_INIT(8 << 20);
	bool may = e->grade >= EVIDENCE_LOCAL && author_judge(&who, slice_head(content, mail_header_end(content)), &mem).fate == MAIL_OK;
	arena_free(&mem);
	return may;
}

static void take_one(struct queue *q, struct dropped *d)
{
	struct unique id = unique_new();
	struct envelope e = { .id = unique_slice(&id), .arrived_s = clock_wall_s(), .evidence = evidence_of(q, d), .reverse_path = d->drop.reverse_path,
		              .envelope_id = d->drop.envelope_id, .return_full = d->drop.return_full, .utf8 = d->drop.utf8, .eight_bit = !slice_is_ascii(buf_slice(&d->content)),
		              .client = SLICE("local"), .transaction = unique_slice(&id), .recipient_count = d->drop.recipient_count };
	e.sign = may_be_signed(q, d, &e.evidence);
	e.expires_s = queue_expiry(e.arrived_s);
	e.recipients = ARENA_ARRAY(&d->mem, struct envelope_recipient, d->drop.recipient_count ? d->drop.recipient_count : 1);
	for (size_t i = 0; e.recipients && i < d->drop.recipient_count; i++) {
		e.recipients[i] = queue_address(q, d->drop.recipients[i].address, &d->mem);
		e.recipients[i].notify = d->drop.recipients[i].notify;
	}
	struct taking *t = MEM_NEW(struct taking);
	t->queue = q;
	memcpy(t->name, d->name, sizeof t->name);
	log_event(LOG_INFO, "dropped-in", LOG_STR("id", e.id), LOG_CSTR("user", d->user), LOG_STR("from", e.reverse_path), LOG_UINT("recipients", e.recipient_count), LOG_END);
	queue_post(q, &e, &d->content, on_taken, t);
}

static void taken_drop(void *arg)
{
	struct drop_round *r = arg;
	struct queue *q = r->queue;
	for (size_t i = 0; i < r->count; i++) {
		struct dropped *d = &r->found[i];
		if (d->wrong || !d->drop.recipient_count)
			set_aside(q, d->name, d->wrong ? d->wrong : "it has no recipient");
		else
			take_one(q, d);
		buf_free(&d->raw);
		buf_free(&d->content);
		arena_free(&d->mem);
	}
	file_close(&r->folder);
	q->dropping = false;
	mem_free(r->found);
	mem_free(r);
	queue_end(q);
}

void drop_scan(struct queue *q)
{
	if (q->dropping || q->draining)
		return;
	struct drop_round *r = MEM_NEW(struct drop_round);
	r->queue = q;
	r->folder = -1;
	r->found = mem_new_array(MAX_FILES, sizeof *r->found);
	q->dropping = true;
	queue_begin(q);
	worker_add(q->files, read_drop, taken_drop, r);
}
