/* One process of the house, seen from the parent. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/field.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "ctl/parent.h"

enum { PAYLOAD_MAX = 2 << 20, MAX_WORDS = 64, QUICK_MS = 5000, WAIT_MIN_MS = 100, WAIT_MAX_MS = 30000, PARENT_FD = 3 };

/* A question of porterctl that this child was asked. */
struct question {
	uint64_t id;
	struct child *child;
	void (*done)(void *arg, struct child *c, int code, struct slice text);
	void *arg;
	struct question *next;
};
static struct question *questions;
static uint64_t last_question;

struct child *child_new(struct parent *p, const struct role *r, unsigned index)
{
	struct child *c = MEM_NEW(struct child), **at = &p->children;
	*c = (struct child){ .parent = p, .role = r, .index = index, .epoch = p->epoch };
	while (*at)
		at = &(*at)->next;
	*at = c;
	return c;
}

/* Telling --------------------------------------------------------------------------------------------------------------------------- */

static void send(struct child *c, uint16_t type, uint64_t id, struct buf *payload, int fd)
{
	if (c->channel && !buf_full(payload))
		ipc_send(c->channel, type, id, buf_slice(payload), fd);
	buf_free(payload);
}

static void send_number(struct child *c, uint16_t type, uint64_t number)
{
	struct buf b = BUF_INIT(64);
	field_add_uint(&b, HOUSE_TAG_NUMBER, number);
	send(c, type, 0, &b, -1);
}

static void send_bare(struct child *c, uint16_t type)
{
	struct buf b = BUF_INIT(16);
	send(c, type, 0, &b, -1);
}

void child_send_file(struct child *c, struct slice name, int fd)
{
	struct buf b = BUF_INIT(4096);
	field_add(&b, HOUSE_TAG_NAME, name);
	send(c, HOUSE_FILE, 0, &b, fd);
}

void child_send_local(struct child *c, struct slice user, int fd)
{
	struct buf b = BUF_INIT(512);
	field_add(&b, HOUSE_TAG_NAME, user);
	send(c, HOUSE_LOCAL, 0, &b, fd);
}

static void send_start(struct child *c)
{
	struct parent *p = c->parent;
	struct buf b = BUF_INIT(PAYLOAD_MAX);
	field_add(&b, HOUSE_TAG_ROLE, slice_of(c->role->name));
	field_add_uint(&b, HOUSE_TAG_INDEX, c->index);
	field_add(&b, HOUSE_TAG_DIRECTORY, slice_of(p->directory));
	field_add(&b, HOUSE_TAG_TEXT, p->conf);
	field_add_uint(&b, HOUSE_TAG_PRIVATE, geteuid() == 0);
	send(c, HOUSE_START, 0, &b, -1);
	if (p->log_level >= 0)
		send_number(c, HOUSE_LOG_LEVEL, (uint64_t)p->log_level);
	if (p->generation)
		send_number(c, HOUSE_MAPS, p->generation);
}

static bool is_linked(const struct role *a, const struct role *b)
{
	for (size_t i = 0; i < role_link_count; i++)
		if ((strcmp(role_links[i].one, a->name) == 0 && strcmp(role_links[i].other, b->name) == 0) ||
		    (strcmp(role_links[i].one, b->name) == 0 && strcmp(role_links[i].other, a->name) == 0))
			return true;
	return false;
}

static void send_peer(struct child *to, const struct child *peer, int fd)
{
	struct buf b = BUF_INIT(128);
	field_add(&b, HOUSE_TAG_ROLE, slice_of(peer->role->name));
	field_add_uint(&b, HOUSE_TAG_INDEX, peer->index);
	send(to, HOUSE_PEER, 0, &b, fd);
}

/* A channel to each process of the same epoch that it speaks with; a role that is alone serves all epochs. */
static void link_child(struct child *c)
{
	for (struct child *o = c->parent->children; o; o = o->next) {
		int fds[2];
		bool together = o->epoch == c->epoch || o->role->alone || c->role->alone;
		if (c->role->alone && o->epoch < c->epoch && strcmp(o->role->name, "smtpd") != 0)
			continue;       /* old sessions still ask it; the other old ones are to end, and get no new work */
		if (o == c || !o->channel || !together || !is_linked(o->role, c->role) || ipc_pair(fds) < 0)
			continue;
		send_peer(c, o, fds[0]);
		send_peer(o, c, fds[1]);
		close(fds[0]);
		close(fds[1]);
	}
}

/* Hearing --------------------------------------------------------------------------------------------------------------------------- */

struct heard {
	struct slice kind, user, text, words[MAX_WORDS];
	size_t word_count;
	uint64_t number;
};

static bool read_heard(struct slice in, struct heard *h)
{
	uint8_t tag;
	struct slice v;
	*h = (struct heard){ 0 };
	while (field_next(&in, &tag, &v)) {
		if (tag == HOUSE_TAG_KIND)
			h->kind = v;
		else if (tag == HOUSE_TAG_USER)
			h->user = v;
		else if (tag == HOUSE_TAG_TEXT)
			h->text = v;
		else if (tag == HOUSE_TAG_WORD && h->word_count < MAX_WORDS)
			h->words[h->word_count++] = v;
		else if (tag != HOUSE_TAG_NUMBER || !field_uint(v, UINT64_MAX, &h->number))
			return false;
	}
	return in.n == 0;
}

static void answered(struct child *c, uint64_t id, int code, struct slice text)
{
	for (struct question **at = &questions; *at; at = &(*at)->next) {
		struct question *q = *at;
		if (q->id != id || q->child != c)
			continue;
		*at = q->next;
		q->done(q->arg, c, code, text);
		mem_free(q);
		return;
	}
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct child *c = arg;
	struct heard h;
	(void)from;
	if (!read_heard(m->payload, &h))
		return -EPROTO;
	switch (m->type) {
	case HOUSE_READY:
		c->ready = true;
		parent_child_ready(c->parent);
		return 0;
	case HOUSE_ALERT:
		parent_alert(c->parent, h.text);
		return 0;
	case HOUSE_CTL_REPLY:
		answered(c, m->id, (int)h.number, h.text);
		return 0;
	case HOUSE_HELPER:
		helper_start_for(c, m->id, h.kind, h.user, h.text, h.words, h.word_count, m->fd);
		return 0;
	case HOUSE_CONNECT:
		connect_for(c, m->id, h.text);
		return 0;
	}
	return -EPROTO;
}

/* Cut off, or ended: the signal of its end follows. One that only lost its channel can't be led any more. */
static void on_close(void *arg, struct ipc *which)
{
	struct child *c = arg;
	ipc_free(which);
	c->channel = NULL;
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
}

static const struct ipc_handler handler = { on_message, on_close };

int child_ask(struct child *c, const struct slice *words, size_t count, void (*done)(void *arg, struct child *c, int code, struct slice text), void *arg, uint64_t *id)
{
	struct buf b = BUF_INIT(PAYLOAD_MAX);
	if (!c->channel)
		return -ENOTCONN;
	for (size_t i = 0; i < count; i++)
		field_add(&b, HOUSE_TAG_WORD, words[i]);
	if (buf_full(&b)) {
		buf_free(&b);
		return -EMSGSIZE;
	}
	struct question *q = MEM_NEW(struct question);
	*q = (struct question){ ++last_question, c, done, arg, questions };
	questions = q;
	*id = q->id;
	send(c, HOUSE_CTL, q->id, &b, -1);
	return 0;
}

void child_forget(struct parent *p, void *arg)
{
	(void)p;
	for (struct question **at = &questions; *at;) {
		struct question *q = *at;
		if (q->arg != arg) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		mem_free(q);
	}
}

static void unanswered(struct child *c)
{
	for (;;) {
		struct question **at = &questions;
		while (*at && (*at)->child != c)
			at = &(*at)->next;
		struct question *q = *at;
		if (!q)
			return;
		*at = q->next;
		q->done(q->arg, c, 75, SLICE("the process ended before it answered"));
		mem_free(q);
	}
}

/* Start and end --------------------------------------------------------------------------------------------------------------------- */

static void exec_child(const struct child *c, int fd)
{
	char role[64], index[32], log[32];
	char *argv[] = { c->parent->program, role, index, log, NULL };
	snprintf(role, sizeof role, "--role=%s", c->role->name);
	snprintf(index, sizeof index, "--index=%u", c->index);
	snprintf(log, sizeof log, "--log=%s", log_form_name());
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (fd == PARENT_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, PARENT_FD) < 0)
		_exit(71);
	close_range(PARENT_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	programs_exec(c->parent->programs[c->role - roles], argv);
	_exit(72);
}

static void start_again(void *arg)
{
	child_start(arg);
}

static void wait_and_start(struct child *c)
{
	if (!c->again)
		c->again = loop_timer_new(c->parent->loop, start_again, c);
	loop_timer_set(c->again, c->wait_ms);
}

void child_start(struct child *c)
{
	struct parent *p = c->parent;
	int fds[2], error = ipc_pair(fds);
	pid_t pid = error ? -1 : fork();
	if (pid == 0)
		exec_child(c, fds[1]);
	if (!error)
		close(fds[1]);
	if (pid < 0) {
		log_event(LOG_ERROR, "child-not-started", LOG_CSTR("role", c->role->name), LOG_ERRNO(error ? error : -errno), LOG_END);
		if (!error)
			close(fds[0]);
		c->wait_ms = WAIT_MAX_MS;
		return wait_and_start(c);
	}
	c->pid = pid;
	c->ready = false;
	c->started_ms = clock_mono_ms();
	c->channel = ipc_new(p->loop, fds[0], &handler, c);
	send_start(c);
	listeners_give(p, c);
	files_give(p, c);
	link_child(c);
	send_bare(c, HOUSE_GO);
}

void child_told_all(struct parent *p, uint16_t type, uint64_t number)
{
	for (struct child *c = p->children; c; c = c->next)
		if (c->channel)
			send_number(c, type, number);
}

void child_drain(struct child *c)
{
	c->draining = c->gone = true;
	send_bare(c, HOUSE_DRAIN);
}

void child_stop(struct child *c)
{
	c->gone = true;
	c->draining = false;
	send_bare(c, HOUSE_STOP);
	if (c->again)
		loop_timer_stop(c->again);
}

void child_free(struct child *c)
{
	struct child **at = &c->parent->children;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	loop_timer_free(c->again);
	if (c->channel)
		ipc_free(c->channel);
	mem_free(c);
}

/* It died unasked: started again, the sooner the longer it lived. */
static void restart(struct child *c, int status)
{
	bool quick = clock_mono_ms() - c->started_ms < QUICK_MS;
	c->wait_ms = !quick ? 0 : c->wait_ms ? c->wait_ms * 2 : WAIT_MIN_MS;
	if (c->wait_ms > WAIT_MAX_MS)
		c->wait_ms = WAIT_MAX_MS;
	c->restarts++;
	log_event(LOG_ERROR, "child-died", LOG_CSTR("role", c->role->name), LOG_UINT("index", c->index), LOG_UINT("pid", (uint64_t)c->pid),
	          WIFSIGNALED(status) ? LOG_UINT("signal", (uint64_t)WTERMSIG(status)) : LOG_UINT("exit", (uint64_t)WEXITSTATUS(status)),
	          LOG_UINT("again_ms", c->wait_ms), LOG_END);
	struct buf text = BUF_INIT(200);
	buf_addf(&text, "process %s %u died and was started again", c->role->name, c->index);
	parent_alert(c->parent, buf_slice(&text));
	buf_free(&text);
	c->pid = 0; /* there is no process while it waits: one that is stopped then needs no end */
	if (c->wait_ms)
		wait_and_start(c);
	else
		child_start(c);
}

bool child_reap(struct parent *p, pid_t pid, int status)
{
	struct child *c = p->children;
	while (c && c->pid != pid)
		c = c->next;
	if (!c)
		return false;
	helper_child_gone(p, c);
	files_child_ended(p, pid);
	unanswered(c);
	if (c->channel)
		ipc_free(c->channel);
	c->channel = NULL;
	if (c->gone || p->stopping) {
		c->pid = 0;
		child_free(c);
		parent_child_ended(p);
	} else {
		restart(c, status);
	}
	return true;
}
