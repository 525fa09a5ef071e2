/* A child of the house: begins with what the parent says on descriptor 3, serves, and ends when the parent says so or is gone. */
#include "base/house.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/field.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/setting.h"

enum { PARENT_FD = 3, START_TIMEOUT_MS = 30000, PAYLOAD_MAX = IPC_MAX_PAYLOAD + 64, WORDS_MAX = 64, ANSWER_MAX = IPC_MAX_PAYLOAD / 2 };

/* What a payload says; views into it. */
struct said {
	struct slice role, directory, text, name, address, words[WORDS_MAX];
	size_t word_count;
	uint64_t index, number, private;
};

static bool read_said(struct slice in, struct said *s)
{
	uint8_t tag;
	struct slice v;
	*s = (struct said){ 0 };
	while (field_next(&in, &tag, &v)) {
		bool good = true;
		switch (tag) {
		case HOUSE_TAG_ROLE: s->role = v; break;
		case HOUSE_TAG_DIRECTORY: s->directory = v; break;
		case HOUSE_TAG_TEXT: s->text = v; break;
		case HOUSE_TAG_NAME: s->name = v; break;
		case HOUSE_TAG_ADDRESS: s->address = v; break;
		case HOUSE_TAG_INDEX: good = field_uint(v, 10000, &s->index); break;
		case HOUSE_TAG_NUMBER: good = field_uint(v, UINT64_MAX, &s->number); break;
		case HOUSE_TAG_PRIVATE: good = field_uint(v, 1, &s->private); break;
		case HOUSE_TAG_WORD:
			good = s->word_count < WORDS_MAX;
			if (good)
				s->words[s->word_count++] = v;
			break;
		default: good = false;
		}
		if (!good)
			return false;
	}
	return in.n == 0;
}

static int take(struct ipc_message *m)
{
	int fd = m->fd;
	m->fd = -1;
	return fd;
}

static void set_log_level(uint64_t number)
{
	log_set_level(number > LOG_DEBUG ? LOG_DEBUG : (enum log_level)number);
}

/* One message of the beginning: 1 go, 0 go on, -EPROTO. */
static int begin_message(struct house *h, struct ipc_message *m)
{
	struct said s;
	if (!read_said(m->payload, &s))
		return -EPROTO;
	switch (m->type) {
	case HOUSE_START:
		h->role = arena_copy(&h->mem, s.role);
		h->index = (unsigned)s.index;
		h->directory = arena_copy(&h->mem, s.directory);
		h->conf = arena_copy(&h->mem, s.text);
		h->privileged = s.private;
		return 0;
	case HOUSE_LISTEN:
		if (h->listener_count == HOUSE_MAX_LISTENERS)
			return -EPROTO;
		h->listeners[h->listener_count++] = (struct house_listener){ arena_copy(&h->mem, s.name), arena_copy(&h->mem, s.address), take(m) };
		return 0;
	case HOUSE_PEER:
		if (h->peer_count == HOUSE_MAX_PEERS)
			return -EPROTO;
		h->peers[h->peer_count++] = (struct house_peer){ arena_copy(&h->mem, s.role), (unsigned)s.index, take(m) };
		return 0;
	case HOUSE_FILE:
		if (h->file_count == HOUSE_MAX_FILES)
			return -EPROTO;
		h->files = mem_grow(h->files, h->file_count + 1, sizeof *h->files);
		h->files[h->file_count++] = (struct house_file){ arena_copy(&h->mem, s.name), take(m) };
		return 0;
	case HOUSE_MAPS:
		h->maps_generation = s.number;
		return 0;
	case HOUSE_LOG_LEVEL:
		set_log_level(s.number);
		return 0;
	case HOUSE_GO:
		return 1;
	}
	return -EPROTO;
}

int house_begin(struct house *h)
{
	struct buf payload = BUF_INIT(PAYLOAD_MAX);
	struct ipc_message m;
	int result = 0;
	*h = (struct house){ .loop = NULL };
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group: the parent says when to end */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (result == 0) {
		result = ipc_receive_blocking(PARENT_FD, START_TIMEOUT_MS, &m, &payload);
		if (result < 0)
			break;
		result = begin_message(h, &m);
		if (m.fd >= 0)
			close(m.fd);
	}
	buf_free(&payload);
	if (result < 0)
		return result;
	h->loop = loop_new();
	return 0;
}

int house_take_file(struct house *h, struct slice name)
{
	for (size_t i = 0; i < h->file_count; i++)
		if (slice_eq(h->files[i].name, name)) {
			int fd = h->files[i].fd;
			h->files[i].fd = -1;
			return fd;
		}
	return -1;
}

void house_settings(struct house *h, struct setting_table *const *tables, size_t count)
{
	struct complaints wrong = { 0 };
	if (setting_read_some(h->conf, SLICE("porter.conf"), h->directory, tables, count, &h->mem, &wrong)) {
		log_event(LOG_ERROR, "settings-refused", LOG_STR("text", buf_slice(&wrong.text)), LOG_END);
		exit(78); /* EX_CONFIG */
	}
}

void house_restrict(struct house *h, const struct proc_plan *plan)
{
	const char *step = NULL;
	int error = proc_restrict(plan, h->privileged, &step);
	if (error) {
		log_event(LOG_ERROR, "restrict-failed", LOG_CSTR("step", step), LOG_ERRNO(error), LOG_END);
		exit(77); /* EX_NOPERM */
	}
}

/* -- serving ----------------------------------------------------------------------------------------------------------------------- */

static void send_up(struct house *h, uint16_t type, uint64_t id, struct buf *payload, int fd)
{
	if (h->parent)
		ipc_send(h->parent, type, id, buf_slice(payload), fd);
	buf_free(payload);
}

uint64_t house_question(const struct house *h)
{
	return h->question;
}

void house_answer(struct house *h, uint64_t question, int code, struct slice text)
{
	struct buf payload = BUF_INIT(PAYLOAD_MAX);
	field_add_uint(&payload, HOUSE_TAG_NUMBER, code < 0 ? 255 : (uint64_t)code);
	field_add(&payload, HOUSE_TAG_TEXT, text);
	send_up(h, HOUSE_CTL_REPLY, question, &payload, -1);
}

static void answer_question(struct house *h, uint64_t id, const struct said *s)
{
	struct buf answer = BUF_INIT(ANSWER_MAX);
	h->question = id;
	int code = h->handler->on_question ? h->handler->on_question(h->arg, s->words, s->word_count, &answer) : -ENOSYS;
	if (code == HOUSE_LATER)
		assert(answer.n == 0);
	else if (buf_full(&answer))
		house_answer(h, id, 1, SLICE("{\"error\":\"the answer is too large; narrow the question\"}"));
	else
		house_answer(h, id, code, buf_slice(&answer));
	buf_free(&answer);
}

struct house_wish {
	uint64_t id;
	void (*done)(void *arg, int fd);
	void *arg;
	struct house_wish *next;
};

static struct house_wish *take_wish(struct house *h, uint64_t id)
{
	for (struct house_wish **at = &h->wishes, *w; (w = *at); at = &w->next)
		if (w->id == id) {
			*at = w->next;
			return w;
		}
	return NULL;
}

static void connected(struct house *h, struct ipc_message *m, uint64_t error)
{
	struct house_wish *w = take_wish(h, m->id);
	if (!w)
		return; /* forgotten: the descriptor is closed with the message */
	int fd = m->fd >= 0 ? take(m) : error && error < 4096 ? -(int)error : -EIO;
	w->done(w->arg, fd);
	mem_free(w);
}

/* What comes with a descriptor; what nobody wants is closed with its message. */
static void hand_over(struct house *h, struct ipc_message *m, const struct said *s)
{
	const struct house_handler *to = h->handler;
	if (m->type == HOUSE_PEER && to->on_peer)
		to->on_peer(h->arg, s->role, (unsigned)s->index, take(m));
	else if (m->type == HOUSE_FILE && to->on_file)
		to->on_file(h->arg, s->name, take(m));
	else if (m->type == HOUSE_LOCAL && to->on_local && m->fd >= 0)
		to->on_local(h->arg, s->name, take(m));
}

static void switch_maps(struct house *h, uint64_t generation)
{
	h->maps_generation = generation;
	if (h->handler->on_maps)
		h->handler->on_maps(h->arg, generation);
	mem_trim();
}

static int from_parent(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct house *h = arg;
	struct said s;
	(void)from;
	if (!read_said(m->payload, &s))
		return -EPROTO;
	switch (m->type) {
	case HOUSE_PEER:
	case HOUSE_FILE:
	case HOUSE_LOCAL:
		hand_over(h, m, &s);
		return 0;
	case HOUSE_MAPS:
		switch_maps(h, s.number);
		return 0;
	case HOUSE_DRAIN:
		if (h->handler->on_drain)
			h->handler->on_drain(h->arg);
		return 0;
	case HOUSE_STOP:
		if (h->handler->on_stop)
			h->handler->on_stop(h->arg);
		else
			house_end(h, 0);
		return 0;
	case HOUSE_CTL:
		answer_question(h, m->id, &s);
		return 0;
	case HOUSE_HELPER_DONE:
		if (h->handler->on_helper_done)
			h->handler->on_helper_done(h->arg, m->id, (int)(int64_t)s.number);
		return 0;
	case HOUSE_CONNECTED:
		connected(h, m, s.number);
		return 0;
	case HOUSE_LOG_LEVEL:
		set_log_level(s.number);
		return 0;
	}
	return -EPROTO;
}

/* Without a parent there is no house: its children end, so that ports are free at once. */
static void parent_gone(void *arg, struct ipc *which)
{
	(void)arg, (void)which;
	_exit(70);
}

static const struct ipc_handler parent_handler = { from_parent, parent_gone };

int house_run(struct house *h, const struct house_handler *handler, void *arg)
{
	h->handler = handler;
	h->arg = arg;
	h->parent = ipc_new(h->loop, PARENT_FD, &parent_handler, h);
	for (size_t i = 0; i < h->peer_count; i++)
		if (handler->on_peer && h->peers[i].fd >= 0)
			handler->on_peer(arg, h->peers[i].role, h->peers[i].index, h->peers[i].fd);
	h->peer_count = 0;
	ipc_send(h->parent, HOUSE_READY, 0, SLICE_NONE, -1);
	mem_trim();
	int error = loop_run(h->loop);
	return error ? 71 : h->exit_code;
}

void house_end(struct house *h, int code)
{
	h->exit_code = code;
	loop_stop(h->loop);
}

int house_helper(struct house *h, uint64_t id, struct slice kind, struct slice user, struct slice message, const struct slice *words, size_t count, int fd)
{
	struct buf payload = BUF_INIT(PAYLOAD_MAX);
	field_add(&payload, HOUSE_TAG_KIND, kind);
	field_add(&payload, HOUSE_TAG_USER, user);
	field_add(&payload, HOUSE_TAG_TEXT, message);
	for (size_t i = 0; i < count; i++)
		field_add(&payload, HOUSE_TAG_WORD, words[i]);
	bool full = buf_full(&payload);
	int result = full ? -EMSGSIZE : ipc_send(h->parent, HOUSE_HELPER, id, buf_slice(&payload), fd);
	buf_free(&payload);
	return result;
}

uint64_t house_connect(struct house *h, struct slice path, void (*done)(void *arg, int fd), void *arg)
{
	struct house_wish *w = MEM_NEW(struct house_wish);
	struct buf payload = BUF_INIT(PAYLOAD_MAX);
	*w = (struct house_wish){ ++h->last_wish, done, arg, h->wishes };
	h->wishes = w;
	field_add(&payload, HOUSE_TAG_TEXT, path);
	send_up(h, HOUSE_CONNECT, w->id, &payload, -1);
	return w->id;
}

void house_connect_forget(struct house *h, uint64_t wish)
{
	mem_free(take_wish(h, wish));
}

void house_alert(struct house *h, struct slice text)
{
	struct buf payload = BUF_INIT(PAYLOAD_MAX);
	log_event(LOG_WARN, "alert", LOG_STR("text", text), LOG_END);
	field_add(&payload, HOUSE_TAG_TEXT, text);
	send_up(h, HOUSE_ALERT, 0, &payload, -1);
}
