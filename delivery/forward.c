/* ~/.forward: who wrote it is a user of this machine, what it may say is addresses. */
#include "delivery/forward.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/scan.h"
#include "delivery/mailbox_proto.h"

/* Cuts the next item off *line: up to a comma that is not inside double quotes. */
static struct slice next_item(struct slice *line)
{
	bool quoted = false;
	size_t i = 0;
	for (; i < line->n && (quoted || line->p[i] != ','); i++) {
		if (line->p[i] == '\\')
			i++;
		else if (line->p[i] == '"')
			quoted = !quoted;
	}
	i = i > line->n ? line->n : i;
	struct slice item = slice_head(*line, i);
	*line = slice_skip(*line, i + 1);
	return slice_trim(item);
}

/* Programs, files, :include:, quoted or not. */
static bool is_no_name(struct slice item)
{
	while (item.n && (item.p[0] == '"' || item.p[0] == '\\'))
		item = slice_skip(item, 1);
	return item.n == 0 || memchr("|/:", item.p[0], 3);
}

/* "Name <address>": the address. */
static struct slice without_name(struct slice item)
{
	size_t open = slice_rfind(item, '<');
	return !is_no_name(item) && open < item.n && item.p[item.n - 1] == '>' ? slice_trim(slice(item.p + open + 1, item.n - open - 2)) : item;
}

/* Comments, several words: nothing that could be looked up, so that nobody is said to be unknown for it. */
static bool has_more_than_an_address(struct slice item)
{
	bool quoted = false;
	for (size_t i = 0; i < item.n; i++) {
		if (item.p[i] == '\\')
			i++;
		else if (item.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && memchr(" <>()", item.p[i], 5))
			return true;
	}
	return quoted;
}

static bool is_refused(struct slice item)
{
	if (is_no_name(item))
		return true;
	for (size_t i = 0; i < item.n; i++)
		if ((unsigned char)item.p[i] < ' ' || item.p[i] == 0x7f)
			return true;
	return has_more_than_an_address(item);
}

static int add_item(struct slice item, struct arena *mem, struct slice *items, size_t *count)
{
	if (*count == MAILBOX_MAX_FORWARD)
		return -EFBIG;
	items[*count] = arena_copy(mem, item.p[0] == '\\' ? slice_skip(item, 1) : item);
	if (items[*count].n)
		(*count)++;
	return 0;
}

int forward_parse(struct slice text, struct arena *mem, struct slice **items, size_t *count)
{
	struct slice *list = ARENA_ARRAY(mem, struct slice, MAILBOX_MAX_FORWARD), line, first = SLICE_NONE;
	size_t n = 0, refused = 0;
	int error = list ? 0 : -EFBIG;
	while (error == 0 && scan_line(&text, &line)) {
		line = slice_trim(line);
		if (line.n && line.p[0] == '#')
			continue;
		while (line.n && error == 0) {
			struct slice item = without_name(next_item(&line));
			if (item.n && !is_refused(item))
				error = add_item(item, mem, list, &n);
			else if (item.n && refused++ == 0)
				first = item;
		}
	}
	if (refused) /* one line, however many: the file is its user's, the log is not */
		log_event(LOG_WARN, "forward-refused", LOG_UINT("uid", getuid()), LOG_STR("item", first), LOG_UINT("refused", refused),
		          LOG_CSTR("why", "only addresses are allowed in .forward"), LOG_END);
	if (error)
		return error;
	*items = list;
	*count = n;
	return 0;
}

static int check(int fd, size_t *size)
{
	struct stat st;
	int error = file_stat_fd(fd, &st);
	if (error)
		return error;
	if (!S_ISREG(st.st_mode) || (st.st_uid != getuid() && st.st_uid != 0) || st.st_mode & (S_IWGRP | S_IWOTH))
		return -EPERM;
	if (st.st_size > FORWARD_MAX_FILE)
		return -EFBIG;
	*size = (size_t)st.st_size;
	return 0;
}

int forward_read(int home, struct arena *mem, struct slice **items, size_t *count)
{
	size_t size;
	int fd, error = file_open(home, ".forward", O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
	if (error == -ENOENT) {
		*count = 0;
		return 0;
	}
	if (error)
		return error;
	error = check(fd, &size);
	char *text = error ? NULL : arena_new(mem, size + 1);
	ssize_t n = text ? read(fd, text, size) : -1;
	file_close(&fd);
	if (error == 0 && n < 0)
		error = -EIO;
	if (error == 0)
		error = forward_parse(slice(text, (size_t)n), mem, items, count);
	if (error)
		log_event(LOG_WARN, "forward-refused", LOG_UINT("uid", getuid()), LOG_ERRNO(error),
		          LOG_CSTR("why", error == -EFBIG ? ".forward is too large" : ".forward must be a file of the user that nobody else can write"), LOG_END);
	return error;
}
