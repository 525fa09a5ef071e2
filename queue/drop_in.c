/* The drop folder: what local programs left there by the sendmail command. A file's owner is who sent it; `senders` says which reverse-paths that user may use. Read in
 * a worker, since it is other people's files; what can't be taken is set aside with a reason, never lost. It counts for its user (usage.h): past a limit it stays where it is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
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
#include "queue/sent.h"
#include "queue/usage.h"

enum { MAX_FILES = 100, MAX_DROPPED = 128 << 20, MAX_NAME = 64, MAX_USER = 64, MAX_MESSAGE_ID = 990 };

struct dropped {
	char name[MAX_NAME + 1], user[MAX_USER + 1];
	uid_t uid;
	struct buf raw, content;         /* raw: the file; content: CRLF */
	struct arena mem;
	struct drop drop;
	const char *wrong;
	struct queue *queue;
};

/* A user who is over a limit: until one of the files fits, a round looks at one alone, so that nobody's mail waits behind them. */
struct drop_over {
	uid_t uid;
	bool looked_at;                  /* in this round */
};

/* One walk through the folder; the next begins when all that it took is on stable storage, or a file would come twice. */
struct drop_round {
	struct queue *queue;
	int folder;
	struct dropped found[MAX_FILES];
	size_t count, open;
	bool moved;                      /* something is gone, or known to wait: the next round sees others */
};

struct drops {
	struct drop_over *over;          /* the worker's while it reads, the loop's else */
	size_t over_count;
	bool busy;
};

void drop_prepare(struct queue *q)
{
	q->drops = MEM_NEW(struct drops);
	if (mkdirat(q->setup.spool, "drop", DROP_MODE) < 0 && errno != EEXIST)
		queue_alert(q, "the drop folder of sendmail can't be made: %s", strerror(errno));
	if (fchmodat(q->setup.spool, "drop", DROP_MODE, 0) < 0)        /* past the umask */
		queue_alert(q, "the drop folder of sendmail has the wrong mode: %s", strerror(errno));
}

void drop_free(struct queue *q)
{
	if (q->drops)
		mem_free(q->drops->over);
	mem_free(q->drops);
}

static struct drop_over *find_over(struct drops *d, uid_t uid)
{
	for (size_t i = 0; i < d->over_count; i++)
		if (d->over[i].uid == uid)
			return &d->over[i];
	return NULL;
}

/* True: this is news. */
static bool note_over(struct drops *d, uid_t uid)
{
	if (find_over(d, uid))
		return false;
	d->over = mem_grow(d->over, d->over_count + 1, sizeof *d->over);
	d->over[d->over_count++] = (struct drop_over){ uid, true };
	return true;
}

static void note_fits(struct drops *d, uid_t uid)
{
	struct drop_over *o = find_over(d, uid);
	if (o)
		*o = d->over[--d->over_count];
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
	d->uid = st.st_uid;
	snprintf(d->user, sizeof d->user, "%s", pw ? pw->pw_name : "");
	size_t offset;
	if (drop_get(buf_slice(&d->raw), &d->mem, &d->drop, &offset))
		return "it was not written by sendmail";
	to_crlf(&d->content, slice_skip(buf_slice(&d->raw), offset));
	return buf_full(&d->content) ? "it is too large" : NULL;
}

static bool must_wait(struct drop_round *r, const char *name)
{
	struct drops *d = r->queue->drops;
	struct stat st;
	struct drop_over *o = d->over_count && fstatat(r->folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? find_over(d, st.st_uid) : NULL;
	bool waits = o && o->looked_at;
	if (o)
		o->looked_at = true;
	return waits;
}

static void read_drop(void *arg)
{
	struct drop_round *r = arg;
	if (file_open(r->queue->setup.spool, "drop", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &r->folder))
		return;
	int copy = dup(r->folder);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	for (struct dirent *e = d ? readdir(d) : NULL; e && r->count < MAX_FILES; e = readdir(d)) {
		if (e->d_name[0] == '.' || strncmp(e->d_name, "tmp.", 4) == 0 || strlen(e->d_name) > MAX_NAME || must_wait(r, e->d_name))
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

/* A file that leaves the folder: taken in, or set aside for the reason `why`. The syncer unlinks or renames it, with what else it has to do. */
struct leaving {
	struct syncer_job job;           /* first */
	struct drop_round *round;
	char name[MAX_NAME + 1];
	const char *why;
	int aside;                       /* the folder, or -1 */
};

struct taking {
	struct drop_round *round;
	char name[MAX_NAME + 1], who[MAX_USER + 8];
	size_t recipients;
};

static void round_over(struct drop_round *r)
{
	struct queue *q = r->queue;
	bool more = r->count == MAX_FILES && r->moved;
	file_close(&r->folder);
	q->drops->busy = false;
	mem_free(r);
	if (more)
		drop_scan(q);
	queue_end(q);
}

static void close_one(struct drop_round *r)
{
	if (--r->open == 0)
		round_over(r);
}

static int nothing(struct syncer_job *j)
{
	(void)j;
	return 0;
}

static void left_as_it_is(struct syncer_job *j)
{
	(void)j;
}

/* A crash before this brings a second copy, never a loss. */
static int leave_publish(struct syncer_job *j)
{
	struct leaving *l = (struct leaving *)j;
	char aside[MAX_NAME + 16];
	if (!l->why)
		return file_unlink(l->round->folder, l->name);
	snprintf(aside, sizeof aside, "drop-%s", l->name);
	int error = file_open(l->round->queue->setup.spool, "aside", O_RDONLY | O_DIRECTORY, 0, &l->aside);
	return error ? error : file_rename(l->round->folder, l->name, l->aside, aside);
}

static int leave_sync(struct syncer_job *j)
{
	const struct leaving *l = (struct leaving *)j;
	int error = l->why ? file_sync(l->aside) : 0;
	return error ? error : file_sync(l->round->folder);
}

static void left(struct syncer_job *j)
{
	struct leaving *l = (struct leaving *)j;
	struct drop_round *r = l->round;
	if (l->why)
		queue_alert(r->queue, "a message in the drop folder was set aside (aside/drop-%s): %s", l->name, l->why);
	r->moved |= !j->error;
	file_close(&l->aside);
	mem_free(l);
	close_one(r);
}

static const struct syncer_verbs leave_verbs = { nothing, NULL, NULL, leave_publish, nothing, leave_sync, left_as_it_is, left_as_it_is, left };

static void leave(struct drop_round *r, const char *name, const char *why)
{
	struct leaving *l = MEM_NEW(struct leaving);
	*l = (struct leaving){ .job = { .verbs = &leave_verbs, .goal = SYNCER_COMMIT, .names = why ? 2 : 1 }, .round = r, .why = why, .aside = -1 };
	memcpy(l->name, name, strlen(name) + 1); /* fits: as read_drop has it */
	r->open++;
	syncer_add(spool_syncer(r->queue->spool), &l->job);
}

static void on_taken(void *arg, int error)
{
	struct taking *t = arg;
	struct drop_round *r = t->round;
	struct queue *q = r->queue;
	if (error && q->setup.usage)
		usage_give_back(q->setup.usage, slice_of(t->who), 1, t->recipients, clock_wall_s());
	if (error == -EPERM) {
		leave(r, t->name, "its sender may not queue mail for the outside (see the map senders)");
	} else if (error == 0) {
		leave(r, t->name, NULL);
		q->counts.dropped_in++;
	}
	mem_free(t);
	close_one(r);
}

/* The file stays, and is looked at again each minute; the log hears of it once, until one of that user's fits again. */
static bool is_over_limit(struct drop_round *r, const struct dropped *d, const char *who)
{
	struct queue *q = r->queue;
	enum usage_window window;
	enum usage_what what;
	if (!q->setup.usage || !usage_over(q->setup.usage, slice_of(who), &usage_limits, 1, d->drop.recipient_count, true, clock_wall_s(), &window, &what)) {
		note_fits(q->drops, d->uid);
		return false;
	}
	if (note_over(q->drops, d->uid)) {
		struct buf why = BUF_INIT(300);
		r->moved = true;
		usage_words(&why, slice_of(who), window, what);
		log_event(LOG_WARN, "drop-waits", LOG_CSTR("user", d->user), LOG_CSTR("file", d->name), LOG_STR("why", buf_slice(&why)), LOG_END);
		buf_free(&why);
	}
	return true;
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

/* As its header section has it; sendmail has put one there if nobody else did. */
static struct slice message_id_of(struct dropped *d)
{
	struct slice content = buf_slice(&d->content), id = SLICE("");
	struct arena mem = ARENA_INIT(8 << 20);
	struct mail_header h;
	const struct mail_field *f = mail_header_parse(slice_head(content, mail_header_end(content)), SIZE_MAX, &mem, &h) == 0 ? mail_header_find(&h, SLICE("Message-ID"), 0) : NULL;
	if (f)
		id = arena_copy(&d->mem, slice_head(slice_trim(mail_field_unfold(f, &mem)), MAX_MESSAGE_ID));
	arena_free(&mem);
	return id;
}

/* Is From one that this user may write? If not, or if nobody can tell, nothing is signed. */
static bool may_be_signed(struct queue *q, struct dropped *d, const struct evidence *e)
{
	struct slice content = buf_slice(&d->content);
	struct submitter who = { .maps = q->maps, .login = e->who };
	struct arena mem = ARENA_INIT(8 << 20);
	struct mail_header h;
	bool may = e->grade >= EVIDENCE_LOCAL && mail_header_parse(slice_head(content, mail_header_end(content)), SIZE_MAX, &mem, &h) == 0 &&
	           author_judge(&who, &h, &mem).fate == MAIL_OK;
	arena_free(&mem);
	return may;
}

static void take_one(struct drop_round *r, struct dropped *d)
{
	struct queue *q = r->queue;
	struct taking *t = MEM_NEW(struct taking);
	*t = (struct taking){ .round = r, .recipients = d->drop.recipient_count };
	memcpy(t->name, d->name, sizeof t->name);
	snprintf(t->who, sizeof t->who, "unix:%s", d->user);
	if (is_over_limit(r, d, t->who)) {
		mem_free(t);
		return;
	}
	struct unique id = unique_new();
	struct envelope e = { .id = unique_slice(&id), .arrived_s = clock_wall_s(), .evidence = evidence_of(q, d), .reverse_path = d->drop.reverse_path,
		              .envelope_id = d->drop.envelope_id, .return_full = d->drop.return_full, .return_headers = d->drop.return_headers, .utf8 = d->drop.utf8,
		              .eight_bit = !slice_is_ascii(buf_slice(&d->content)),
		              .client = SLICE("local"), .transaction = unique_slice(&id), .recipient_count = d->drop.recipient_count };
	e.waive_tls = mail_header_waives_tls(buf_slice(&d->content));
	e.sign = may_be_signed(q, d, &e.evidence);
	e.message_id = message_id_of(d);
	e.expires_s = queue_expiry(e.arrived_s);
	e.recipients = ARENA_ARRAY(&d->mem, struct envelope_recipient, d->drop.recipient_count ? d->drop.recipient_count : 1);
	for (size_t i = 0; e.recipients && i < d->drop.recipient_count; i++) {
		e.recipients[i] = queue_address(q, d->drop.recipients[i].address, &d->mem);
		e.recipients[i].notify = d->drop.recipients[i].notify;
	}
	r->open++;
	log_event(LOG_INFO, "dropped-in", LOG_STR("id", e.id), LOG_CSTR("user", d->user), LOG_STR("from", e.reverse_path), LOG_UINT("recipients", e.recipient_count), LOG_END);
	if (e.evidence.grade >= EVIDENCE_LOCAL)
		sent_note(q, &e);
	queue_post(q, &e, &d->content, on_taken, t);
}

static void taken_drop(void *arg)
{
	struct drop_round *r = arg;
	for (size_t i = 0; i < r->count; i++) {
		struct dropped *d = &r->found[i];
		if (d->wrong || !d->drop.recipient_count)
			leave(r, d->name, d->wrong ? d->wrong : "it has no recipient");
		else
			take_one(r, d);
		buf_free(&d->raw);
		buf_free(&d->content);
		arena_free(&d->mem);
	}
	close_one(r);
}

void drop_scan(struct queue *q)
{
	struct drops *d = q->drops;
	if (d->busy || q->draining)
		return;
	for (size_t i = 0; i < d->over_count; i++)
		d->over[i].looked_at = false;
	struct drop_round *r = MEM_NEW(struct drop_round);
	r->queue = q;
	r->folder = -1;
	r->open = 1;
	d->busy = true;
	queue_begin(q);
	worker_add(q->files, read_drop, taken_drop, r);
}
