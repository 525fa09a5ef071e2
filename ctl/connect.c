/* Unix sockets of filters and LMTP servers lie outside of a child's root folder, and often belong to a group that only the parent reaches. Only names that stand in the
 * settings as they were read are connected to; nothing is read or written here. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/field.h"
#include "base/ipc.h"
#include "base/log.h"
#include "ctl/parent.h"
#include "smtpd/filter_settings.h"

static bool is_named(struct slice path)
{
	struct slice list = filter_settings.unix_sockets;
	while (list.n)
		if (slice_eq(slice_cut(list, ' ', &list), path))
			return true;
	return filter_settings_name_socket(path);
}

/* Never waits: a Unix socket takes a connection at once, or says that its backlog is full. */
static int open_socket(struct slice path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	if (!path.n || path.n >= sizeof un.sun_path || memchr(path.p, 0, path.n))
		return -EINVAL;
	if (!is_named(path))
		return -EACCES;
	memcpy(un.sun_path, path.p, path.n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&un, sizeof un) < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

void connect_for(struct child *c, uint64_t id, struct slice path)
{
	struct buf payload = BUF_INIT(64);
	int fd = open_socket(path);
	field_add_uint(&payload, HOUSE_TAG_NUMBER, fd < 0 ? (uint64_t)-fd : 0);
	if (fd == -EACCES)
		log_event(LOG_WARN, "socket-refused", LOG_CSTR("role", c->role->name), LOG_STR("path", path), LOG_END);
	ipc_send(c->channel, HOUSE_CONNECTED, id, buf_slice(&payload), fd < 0 ? -1 : fd);
	buf_free(&payload);
	if (fd >= 0)
		close(fd);
}
