/* Where users of this system hand in mail: a socket that anybody may connect to. Who is at its other end says the kernel (SO_PEERCRED), and what that user is called says this
 * process, which alone sees /etc; the connection then goes to an smtpd, which speaks SMTP on it. Nothing is read or written here. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/general_settings.h"
#include "base/log.h"
#include "base/mem.h"
#include "ctl/parent.h"

enum { BACKLOG = 512, AT_ONCE = 16, PASSWD_BYTES = 16384 };

struct submit {
	struct parent *parent;
	int fd;
	struct loop_watch *watch;
	unsigned turn;
	char path[sizeof ((struct sockaddr_un *)0)->sun_path];
};

/* One after the other, of those that take new sessions. */
static struct child *next_smtpd(struct submit *s)
{
	unsigned count = 0, turn;
	for (struct child *c = s->parent->children; c; c = c->next)
		count += c->channel && !c->gone && strcmp(c->role->name, "smtpd") == 0;
	turn = count ? s->turn++ % count : 0;
	for (struct child *c = s->parent->children; c; c = c->next)
		if (c->channel && !c->gone && strcmp(c->role->name, "smtpd") == 0 && turn-- == 0)
			return c;
	return NULL;
}

static bool name_of(int fd, char *name, size_t size)
{
	struct ucred who;
	socklen_t n = sizeof who;
	struct passwd pw, *found = NULL;
	char room[PASSWD_BYTES];
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
		return false;
	int known = getpwuid_r(who.uid, &pw, room, sizeof room, &found) == 0 && found;
	int length = known ? snprintf(name, size, "%s", pw.pw_name) : snprintf(name, size, "%u", (unsigned)who.uid);
	return length > 0 && length < (int)size;
}

static void ready(void *arg, int what)
{
	struct submit *s = arg;
	(void)what;
	for (int i = 0; i < AT_ONCE; i++) {
		char name[128];
		int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		struct child *c = next_smtpd(s);
		if (c && name_of(fd, name, sizeof name))
			child_send_local(c, slice_of(name), fd);
		close(fd); /* without an smtpd it hears nothing, and leaves its mail in the drop folder */
	}
}

int submit_open(struct parent *p)
{
	struct submit *s = MEM_NEW(struct submit);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int n = snprintf(s->path, sizeof s->path, "%.*s/submit", SLICE_FMT(general_settings.run_directory));
	s->fd = n < (int)sizeof s->path ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
	memcpy(un.sun_path, s->path, sizeof un.sun_path);
	unlink(s->path); /* the control socket has shown that nobody else serves */
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&un, sizeof un) < 0 || chmod(s->path, 0666) < 0 || listen(s->fd, BACKLOG) < 0) {
		int error = errno ? errno : ENAMETOOLONG;
		fprintf(stderr, "porterd: %s: %s\n", s->path, strerror(error));
		if (s->fd >= 0)
			close(s->fd);
		mem_free(s);
		return -error;
	}
	s->parent = p;
	s->watch = loop_watch_new(p->loop, s->fd, ready, s);
	loop_watch_set(s->watch, LOOP_READ);
	p->submit = s;
	return 0;
}

void submit_close(struct parent *p)
{
	struct submit *s = p->submit;
	if (!s)
		return;
	loop_watch_free(s->watch);
	close(s->fd);
	unlink(s->path);
	mem_free(s);
	p->submit = NULL;
}
