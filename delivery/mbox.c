/* mbox files. Appending shows the message at once to whoever doesn't lock, so everything happens under both locks, and the dotlock says what
 * a crash must undo: "PID\nporter LENGTH\n" while the file's tail is not promised, "PID\nporter\n" else. */
#include "delivery/mbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/scan.h"
#include "delivery/maildir.h"

enum { MBOX_MODE = 0600, LOCK_MODE = 0600, RETRY_MS = 100, MAX_SENDER = 320, MAX_NOTE = 64, OLD_LOCK_S = 300 };

static const char from_line[] = "From ";
enum { FROM_LENGTH = sizeof from_line - 1 };

static void lock_name(const struct mbox *m, char out[300])
{
	snprintf(out, 300, "%s.lock", m->name);
}

/* Splits a place into its folder, opened, and the file's name. */
static int open_folder(int root, struct slice place, bool make, struct mbox *m)
{
	size_t cut = slice_rfind(place, '/');
	struct slice folder = cut < place.n ? slice_head(place, cut) : SLICE_NONE;
	struct slice name = cut < place.n ? slice_skip(place, cut + 1) : place;
	if (!maildir_place_ok(place) || name.n == 0 || name.n > 240)
		return -EINVAL;
	if (cut == 0)
		folder = SLICE("/");
	snprintf(m->name, sizeof m->name, "%.*s", SLICE_FMT(name));
	return maildir_open_folder(root, folder, make, &m->folder);
}

/* A pipe, a folder or a file with a second name would lead the bytes elsewhere. */
static int open_file(struct mbox *m)
{
	struct stat st;
	int error = file_open(m->folder, m->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK, MBOX_MODE, &m->fd);
	if (error == -EEXIST)
		error = file_open(m->folder, m->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, MBOX_MODE, &m->fd);
	if (error == 0)
		error = file_stat_fd(m->fd, &st);
	if (error == 0 && (!S_ISREG(st.st_mode) || st.st_nlink != 1))
		error = -EPERM;
	return error;
}

static int lock_file(const struct mbox *m, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET };
	if (fcntl(m->fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
}

/* The lock's text: only ours while it is written. Synced, so that it is there before the bytes that it warns of. */
static int note_lock(const struct mbox *m, bool unpromised)
{
	char name[300], note[MAX_NOTE];
	int fd, n;
	lock_name(m, name);
	int error = file_open(m->folder, name, O_WRONLY | O_TRUNC | O_NOFOLLOW, 0, &fd);
	if (error)
		return error;
	if (unpromised)
		n = snprintf(note, sizeof note, "%d\nporter %llu\n", (int)getpid(), (unsigned long long)m->length);
	else
		n = snprintf(note, sizeof note, "%d\nporter\n", (int)getpid());
	error = file_write(fd, slice(note, (size_t)n));
	if (error == 0)
		error = file_sync_data(fd);
	file_close(&fd);
	return error;
}

/* As kill(pid, 0) says it, by a call that our filter allows: /proc may be mounted with other users' processes hidden. */
static bool is_alive(pid_t pid)
{
	cpu_set_t set;
	return sched_getaffinity(pid, sizeof set, &set) == 0 || errno != ESRCH;
}

/* What a dotlock says of who made it. */
struct note {
	uint64_t pid;       /* 0: nobody */
	bool ours, unpromised;
	uint64_t length;
	bool ended;         /* the pid's line is whole: of this host, and not half written */
	int64_t made_s;
};

static int read_note(int fd, struct note *out)
{
	char text[MAX_NOTE];
	struct stat st;
	int error = file_stat_fd(fd, &st);
	if (error)
		return error;
	ssize_t n = S_ISREG(st.st_mode) ? read(fd, text, sizeof text) : 0;
	struct slice in = slice(text, n > 0 ? (size_t)n : 0);
	*out = (struct note){ .made_s = st.st_mtime };
	if (!scan_uint(&in, INT32_MAX, &out->pid))
		return 0;
	out->ended = scan_byte(&in, '\n');
	if (!out->ended || !scan_word(&in, SLICE("porter")))
		return 0;
	out->unpromised = scan_byte(&in, ' ') && scan_uint(&in, INT64_MAX, &out->length);
	out->ours = scan_byte(&in, '\n');
	return 0;
}

/* Ours: no Porter is at work, since we have the file's own lock, whoever has that pid by now. Another's, as liblockfile and procmail have it: its process has ended,
 * or it names none and is old. */
static bool is_left_behind(const struct note *note)
{
	if (note->ours)
		return true;
	if (note->pid && is_alive((pid_t)note->pid) && note->pid != (uint64_t)getpid())
		return false;
	return (note->pid && note->ended) || clock_wall_s() - note->made_s > OLD_LOCK_S;
}

/* A crash came before the bytes' end was promised. A file that is shorter is not the one that was warned of. */
static int cut_off_unpromised(const struct mbox *m, uint64_t length)
{
	struct stat st;
	int error = file_stat_fd(m->fd, &st);
	if (error || (uint64_t)st.st_size <= length)
		return error;
	log_event(LOG_WARN, "mbox-cut-back", LOG_CSTR("file", m->name), LOG_UINT("length", length), LOG_END);
	error = file_truncate(m->fd, length);
	return error ? error : file_sync(m->fd);
}

/* Somebody may have put another file in its place meanwhile. */
static int check_same(int folder, const char *name, int fd)
{
	struct stat ours, there;
	int error = file_stat_fd(fd, &ours);
	if (error == 0)
		error = file_stat_at(folder, name, &there);
	if (error)
		return error == -ENOENT ? -EAGAIN : error;
	return ours.st_ino == there.st_ino ? 0 : -EAGAIN;
}

static int break_dead_lock(const struct mbox *m, const char *name)
{
	struct note note;
	int fd, error = file_open(m->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
	if (error)
		return error;
	error = read_note(fd, &note);
	if (error == 0 && !is_left_behind(&note))
		error = -EBUSY;
	if (error == 0 && note.ours && note.unpromised)
		error = cut_off_unpromised(m, note.length);
	if (error == 0)
		error = check_same(m->folder, name, fd);
	file_close(&fd);
	return error ? error : file_unlink(m->folder, name);
}

static int dotlock(struct mbox *m)
{
	char name[300];
	int fd;
	lock_name(m, name);
	int error = file_open(m->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, LOCK_MODE, &fd);
	if (error == -EEXIST) {
		error = break_dead_lock(m, name);
		return error ? error : -EAGAIN;
	}
	if (error)
		return error;
	file_close(&fd);
	error = note_lock(m, false);
	if (error)
		file_unlink(m->folder, name);
	return error;
}

static int try_lock(struct mbox *m)
{
	int error = open_file(m);
	if (error == 0)
		error = lock_file(m, F_WRLCK);
	if (error == 0)
		error = check_same(m->folder, m->name, m->fd); /* since we waited */
	if (error == 0)
		error = dotlock(m);
	if (error)
		file_close(&m->fd); /* the lock goes with it */
	return error;
}

static int note_length(struct mbox *m)
{
	struct stat st;
	int error = file_stat_fd(m->fd, &st);
	if (error == 0)
		m->length = (uint64_t)st.st_size;
	return error;
}

int mbox_open(struct mbox *m, int root, struct slice place, uint64_t wait_ms)
{
	uint64_t end = clock_mono_ms() + wait_ms;
	*m = (struct mbox){ .folder = -1, .fd = -1, .last = '\n' };
	int error = open_folder(root, place, true, m);
	while (error == 0) {
		error = try_lock(m);
		if (error != -EBUSY && error != -EAGAIN)
			break;
		error = clock_mono_ms() < end ? 0 : -EBUSY;
		if (error == 0)
			usleep(RETRY_MS * 1000);
	}
	if (error == 0 && (error = note_length(m)) == 0)
		return 0;
	mbox_close(m);
	return error;
}

/* The sender as the "From " line can carry it: no blanks, no control bytes. */
static void add_sender(struct buf *out, struct slice reverse_path)
{
	if (reverse_path.n == 0)
		reverse_path = SLICE("MAILER-DAEMON");
	for (size_t i = 0; i < reverse_path.n && i < MAX_SENDER; i++) {
		unsigned char c = (unsigned char)reverse_path.p[i];
		buf_add_byte(out, c <= ' ' || c == 0x7f ? '_' : (char)c);
	}
}

int mbox_begin(struct mbox *m, struct slice reverse_path, int64_t when_s)
{
	struct buf line = BUF_INIT(MAX_SENDER + 64);
	struct tm tm;
	char date[40], last = '\n';
	time_t t = (time_t)when_s;
	int error = note_lock(m, true);
	if (error)
		return error;
	if (m->length && (pread(m->fd, &last, 1, (off_t)m->length - 1) != 1 || lseek(m->fd, 0, SEEK_END) < 0))
		return -EIO;
	strftime(date, sizeof date, " %a %b %e %H:%M:%S %Y\n", gmtime_r(&t, &tm));
	buf_add_cstr(&line, last == '\n' ? from_line : "\n\nFrom ");
	add_sender(&line, reverse_path);
	buf_add_cstr(&line, date);
	error = file_write(m->fd, buf_slice(&line));
	buf_free(&line);
	return error;
}

static void quote_byte(struct mbox *m, struct buf *out, char c)
{
	if (!m->in_line && m->matched == 0 && c == '>') {
		buf_add_byte(out, c);
		return;
	}
	if (!m->in_line && c == from_line[m->matched]) {
		if (++m->matched < FROM_LENGTH)
			return;
		buf_add_byte(out, '>');
		buf_add(out, slice(from_line, FROM_LENGTH));
		m->matched = 0;
		m->in_line = true;
		return;
	}
	buf_add(out, slice(from_line, m->matched));
	m->matched = 0;
	m->in_line = c != '\n';
	buf_add_byte(out, c);
}

int mbox_write(struct mbox *m, struct slice piece)
{
	enum { PIECE = 65536 };
	struct buf out = BUF_INIT(PIECE * 3);
	int error = 0;
	while (piece.n && error == 0) {
		struct slice part = slice_head(piece, PIECE);
		buf_clear(&out);
		for (size_t i = 0; i < part.n; i++)
			quote_byte(m, &out, part.p[i]);
		if (out.n)
			m->last = out.p[out.n - 1];
		error = file_write(m->fd, buf_slice(&out));
		piece = slice_skip(piece, part.n);
	}
	buf_free(&out);
	return error;
}

int mbox_end(struct mbox *m)
{
	struct buf tail = BUF_INIT(16);
	buf_add(&tail, slice(from_line, m->matched));
	buf_add_cstr(&tail, m->matched || m->last != '\n' ? "\n\n" : "\n");
	int error = file_write(m->fd, buf_slice(&tail));
	buf_free(&tail);
	if (error == 0)
		error = file_sync(m->fd);
	if (error == 0 && m->length == 0) /* new, or left by an attempt that did not come so far */
		error = file_sync(m->folder);
	return error;
}

int mbox_keep(struct mbox *m)
{
	return note_lock(m, false);
}

int mbox_cut_back(struct mbox *m)
{
	int error = file_truncate(m->fd, m->length);
	if (error == 0)
		error = file_sync(m->fd);
	m->stuck = error != 0;
	return error;
}

void mbox_close(struct mbox *m)
{
	char name[300];
	if (m->fd >= 0 && !m->stuck) {
		lock_name(m, name);
		file_unlink(m->folder, name);
	}
	file_close(&m->fd);
	file_close(&m->folder);
}

int mbox_size(int root, struct slice place, uint64_t *size)
{
	struct mbox m = { .folder = -1, .fd = -1 };
	struct stat st = { .st_size = 0 };
	int error = open_folder(root, place, false, &m);
	bool makable = error == 0 || place.p[0] != '/'; /* folders are made below the mail root alone */
	if (error == 0)
		error = file_stat_at(m.folder, m.name, &st);
	file_close(&m.folder);
	if (error && (error != -ENOENT || !makable))
		return error;
	*size = (uint64_t)st.st_size;
	return error || S_ISREG(st.st_mode) ? 0 : -EINVAL;
}
