/* Editing text maps. Line numbers are those of the content as it is now: several changes of one file are made from its end to its front. */
#include "ctl/ctl_maps_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/scan.h"
#include "ctl/ctl_maps.h"
#include "maps/kinds.h"
#include "maps/map_key.h"
#include "maps/map_text.h"

enum { MAX_TEXT = 1 << 30, LOCK_TRIES = 100, LOCK_WAIT_US = 100000 };

static int take_lock(struct ctl *c, int *fd)
{
	int error = file_open(AT_FDCWD, c->directory, O_RDONLY | O_DIRECTORY, 0, fd);
	for (int i = 0; !error; i++) {
		if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK || i == LOCK_TRIES)
			error = -errno;
		else
			usleep(LOCK_WAIT_US);
	}
	return error;
}

bool edit_begin(struct ctl *c, struct edit *e, int *code)
{
	*e = (struct edit){ .c = c, .lock = -1 };
	if (!ctl_settings(c)) {
		*code = CTL_CONFIG;
		return false;
	}
	int error = take_lock(c, &e->lock);
	if (error) {
		*code = ctl_fail(CTL_TEMPFAIL, "%s: %s", c->directory, error == -EWOULDBLOCK ? "somebody else is editing the maps; try again" : strerror(-error));
		file_close(&e->lock);
		return false;
	}
	if (maps_open(c, true, &e->set, code))
		return true;
	ctl_fail(0, "mend the maps first, then edit them");
	file_close(&e->lock);
	return false;
}

void edit_drop(struct edit *e)
{
	for (size_t i = 0; i < e->count; i++) {
		buf_free(&e->files[i].before);
		buf_free(&e->files[i].now);
	}
	map_set_close(e->set);
	file_close(&e->lock);
}

static struct edited *open_named(struct edit *e, unsigned id, struct slice name)
{
	struct edited *f = &e->files[e->count++];
	char *path = maps_path(e->c, name), *real = realpath(path, NULL);
	*f = (struct edited){ .id = id, .path = arena_cstr(&e->c->mem, slice_of(real ? real : path)) };
	free(real);
	int error = ctl_read_file(f->path, MAX_TEXT, &f->before);
	f->existed = error == 0;
	buf_init(&f->now, MAX_TEXT);
	if (error && error != -ENOENT) {
		ctl_fail(0, "%s: %s", f->path, strerror(-error));
		return NULL;
	}
	if (error)
		buf_init(&f->before, MAX_TEXT);
	buf_add(&f->now, buf_slice(&f->before));
	return f;
}

/* The file's content, read when it is first touched. NULL: told. */
static struct edited *open_file(struct edit *e, unsigned id)
{
	for (size_t i = 0; i < e->count; i++)
		if (e->files[i].id == id)
			return &e->files[i];
	return open_named(e, id, map_name(e->set, id));
}

int edit_whole(struct edit *e, struct slice name, struct slice text)
{
	unsigned id = MAP_MAX;
	struct edited *f = map_named(e->set, name, &id) ? open_file(e, id) : open_named(e, MAP_MAX, name);
	if (!f)
		return -EIO;
	buf_clear(&f->now);
	return buf_add(&f->now, text);
}

/* Lines --------------------------------------------------------------------------------------------------------------------------------- */

static size_t line_end(struct slice text, size_t from)
{
	size_t n = slice_find(slice_skip(text, from), '\n');
	return from + n + (from + n < text.n);
}

static size_t line_start(struct slice text, uint32_t line)
{
	size_t at = 0;
	for (uint32_t i = 1; i < line && at < text.n; i++)
		at = line_end(text, at);
	return at;
}

static bool is_continuation(struct slice line)
{
	struct slice text = slice_trim(line);
	return text.n && text.p[0] != '#' && (line.p[0] == ' ' || line.p[0] == '\t');
}

/* Where a comment begins, with the blanks in front of it; or the end. */
static size_t comment_at(struct slice line)
{
	size_t i = map_text_comment(line);
	while (i < line.n && i && (line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
		i--;
	return i;
}

/* Where the key of a line ends: at a blank outside of quotes, or behind aliases(5)'s colon. */
static size_t key_end(struct slice line, bool colon)
{
	size_t i = map_text_key_end(line, colon);
	return i + (i < line.n && line.p[i] == ':');
}

/* Puts `with` where from..to stands. */
static int edit_splice(struct edited *f, size_t from, size_t to, struct slice with)
{
	struct buf out = BUF_INIT(MAX_TEXT);
	buf_add(&out, slice_head(buf_slice(&f->now), from));
	buf_add(&out, with);
	buf_add(&out, slice_skip(buf_slice(&f->now), to));
	if (buf_full(&out)) {
		buf_free(&out);
		return -EFBIG;
	}
	buf_free(&f->now);
	f->now = out;
	return 0;
}

static struct slice trimmed_line(struct slice text, size_t at)
{
	struct slice line = slice(text.p + at, line_end(text, at) - at);
	while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
		line.n--;
	return line;
}

static const char *line_break(const struct edited *f)
{
	size_t at = slice_find(buf_slice(&f->now), '\n');
	return at > 0 && at < f->now.n && f->now.p[at - 1] == '\r' ? "\r\n" : "\n";
}

/* Finding ------------------------------------------------------------------------------------------------------------------------------- */

static struct slice value_as_written(struct edit *e, const struct edited *f, unsigned id, uint32_t number)
{
	struct slice text = buf_slice(&f->now);
	size_t at = line_start(text, number);
	struct buf value = BUF_INIT(1 << 20);
	struct slice line = trimmed_line(text, at);
	line = slice_head(line, comment_at(line));
	struct slice rest = slice_trim(slice_skip(line, key_end(line, id == MAP_ALIASES)));
	if (id == MAP_ALIASES && !slice_starts(rest, SLICE(":include:")) && !slice_starts(rest, SLICE(":refuse:")) && !slice_starts(rest, SLICE(":defer:")))
		scan_byte(&rest, ':');
	buf_add(&value, slice_trim(rest));
	for (at = line_end(text, at); at < text.n; at = line_end(text, at)) {
		line = trimmed_line(text, at);
		if (is_continuation(line)) {
			buf_add_byte(&value, ' ');
			buf_add(&value, slice_trim(slice_head(line, comment_at(line))));
		} else if (slice_trim(line).n && slice_trim(line).p[0] != '#') {
			break;
		}
	}
	struct slice out = arena_copy(&e->c->mem, buf_slice(&value));
	buf_free(&value);
	return out;
}

enum answer edit_find(struct edit *e, unsigned id, const char *key, struct slice *canonical, uint32_t *line, struct slice *value)
{
	struct kind_reading reading = { .set = e->set, .memo = ARENA_INIT(64 << 10) };
	struct map_entry found;
	const char *why = kind_key(id)(&reading, slice_of(key), &e->c->mem, canonical);
	*canonical = why ? SLICE_NONE : arena_copy(&e->c->mem, *canonical);
	arena_free(&reading.memo);
	if (why) {
		ctl_fail(0, "%s: %s", key, why);
		return UNSURE;
	}
	struct edited *f = open_file(e, id);
	if (!f)
		return UNSURE;
	enum answer a = map_find(e->set, id, *canonical, &e->c->mem, &found);
	if (a == FOUND) {
		*line = found.line;
		*value = value_as_written(e, f, id, found.line);
	}
	return a;
}

/* Changing ------------------------------------------------------------------------------------------------------------------------------ */

struct last_of_domain {
	struct slice domain;
	uint32_t line;
};

static bool see_last(void *arg, const struct map_entry *e)
{
	struct last_of_domain *l = arg;
	struct slice local, domain;
	if (e->line > l->line && map_key_split(e->key, &local, &domain) && slice_eq(domain, l->domain))
		l->line = e->line;
	return true;
}

/* Behind the entry that begins at `at`: its continuation lines are its own. */
static size_t entry_end(struct slice text, size_t at)
{
	size_t end = line_end(text, at);
	for (at = end; at < text.n; at = line_end(text, at)) {
		struct slice line = trimmed_line(text, at);
		if (is_continuation(line))
			end = line_end(text, at);
		else if (slice_trim(line).n && slice_trim(line).p[0] != '#')
			break;
	}
	return end;
}

int edit_add(struct edit *e, unsigned id, struct slice key, struct slice value)
{
	struct edited *f = open_file(e, id);
	struct slice local, domain;
	struct last_of_domain last = { SLICE_NONE, 0 };
	if (!f)
		return -EIO;
	if (map_key_split(key, &local, &domain)) {
		last.domain = domain;
		map_each(e->set, id, see_last, &last);
	}
	const char *end = line_break(f);
	struct slice text = buf_slice(&f->now);
	size_t at = last.line ? entry_end(text, line_start(text, last.line)) : text.n;
	struct buf line = BUF_INIT(2 << 20);
	if (at && text.p[at - 1] != '\n')
		buf_add_cstr(&line, end);
	buf_add(&line, key);
	if (value.n)
		buf_add_byte(&line, key.n < 24 && value.p[0] != '$' ? '\t' : ' ');
	buf_add(&line, value);
	buf_add_cstr(&line, end);
	int error = edit_splice(f, at, at, buf_slice(&line));
	buf_free(&line);
	return error;
}

/* An entry of several lines becomes one: what was noted beside the others stands below it. */
static void keep_comments(struct buf *out, struct slice text, size_t from, size_t to, const char *line_end_text)
{
	for (size_t at = from; at < to; at = line_end(text, at)) {
		struct slice line = trimmed_line(text, at);
		size_t comment = map_text_comment(line);
		if (comment == line.n)
			continue;
		buf_add_byte(out, '\t');
		buf_add(out, slice_skip(line, comment));
		buf_add_cstr(out, line_end_text);
	}
}

int edit_replace(struct edit *e, unsigned id, uint32_t number, struct slice value)
{
	struct edited *f = open_file(e, id);
	if (!f)
		return -EIO;
	struct slice text = buf_slice(&f->now);
	size_t at = line_start(text, number), end = entry_end(text, at);
	struct slice line = trimmed_line(text, at);
	size_t comment = comment_at(line), key = key_end(slice_head(line, comment), id == MAP_ALIASES), blanks = key;
	while (blanks < comment && (line.p[blanks] == ' ' || line.p[blanks] == '\t'))
		blanks++;
	struct buf out = BUF_INIT(2 << 20);
	buf_add(&out, slice_head(line, key));
	if (value.n)
		buf_add(&out, blanks > key ? slice(line.p + key, blanks - key) : SLICE(" "));
	buf_add(&out, value);
	buf_add(&out, slice_skip(line, comment));
	buf_add_cstr(&out, line_break(f));
	keep_comments(&out, text, line_end(text, at), end, line_break(f));
	int error = edit_splice(f, at, end, buf_slice(&out));
	buf_free(&out);
	return error;
}

int edit_remove(struct edit *e, unsigned id, uint32_t number)
{
	struct edited *f = open_file(e, id);
	if (!f)
		return -EIO;
	struct slice text = buf_slice(&f->now);
	size_t at = line_start(text, number);
	return edit_splice(f, at, entry_end(text, at), SLICE(""));
}

/* Writing ------------------------------------------------------------------------------------------------------------------------------- */

static int write_file(const struct edited *f, struct slice content)
{
	char aside[8300];
	struct stat st;
	int fd, error = snprintf(aside, sizeof aside, "%s.new", f->path) < (int)sizeof aside ? 0 : -ENAMETOOLONG;
	bool known = !error && file_stat_at(AT_FDCWD, f->path, &st) == 0;
	mode_t mode = known ? st.st_mode & 07777 : f->id < MAP_FIXED && map_kinds[f->id].secret ? 0600 : 0644;
	if (error)
		return error;
	unlink(aside);
	error = file_open(AT_FDCWD, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &fd);
	if (error)
		return error;
	if (known && fchown(fd, st.st_uid, st.st_gid) < 0 && geteuid() == 0)
		error = -errno;
	if (!error && fchmod(fd, mode) < 0)
		error = -errno;
	error = error ? error : file_write(fd, content);
	error = error ? error : file_sync(fd);
	file_close(&fd);
	error = error ? error : file_rename(AT_FDCWD, aside, AT_FDCWD, f->path);
	if (error)
		unlink(aside);
	return error;
}

static bool is_changed(const struct edited *f)
{
	return !slice_eq(buf_slice(&f->before), buf_slice(&f->now));
}

/* Somebody with an editor may have been quicker: their text is not overwritten. */
static bool is_as_read(const struct edited *f)
{
	struct buf now;
	int error = ctl_read_file(f->path, MAX_TEXT, &now);
	bool same = error == 0 ? slice_eq(buf_slice(&now), buf_slice(&f->before)) : error == -ENOENT && !f->existed;
	if (error == 0)
		buf_free(&now);
	return same;
}

static void put_back(struct edit *e, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct edited *f = &e->files[i];
		if (!is_changed(f))
			continue;
		int error = f->existed ? write_file(f, buf_slice(&f->before)) : unlink(f->path) < 0 ? -errno : 0;
		if (error)
			ctl_fail(0, "%s could not be put back: %s", f->path, strerror(-error));
	}
}

int edit_finish(struct edit *e)
{
	int error = 0, code;
	size_t written = 0;
	for (size_t i = 0; !error && i < e->count; i++)
		if (is_changed(&e->files[i]) && !is_as_read(&e->files[i]))
			error = -ESTALE;
	for (; !error && written < e->count; written++)
		if (is_changed(&e->files[written]))
			error = write_file(&e->files[written], buf_slice(&e->files[written].now));
	if (error) {
		put_back(e, written);
		code = ctl_fail(error == -ESTALE ? CTL_TEMPFAIL : CTL_IO, "nothing was changed: %s",
		                error == -ESTALE ? "a map was changed meanwhile; try again" : strerror(-error));
	} else {
		code = maps_publish(e->c, true);
		if (code == CTL_DATA || code == CTL_TEMPFAIL) {
			put_back(e, e->count);
			ctl_fail(0, "the text maps are as they were");
		}
	}
	edit_drop(e);
	return code;
}
