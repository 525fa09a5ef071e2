/* The control socket: porterctl's questions, answered here or passed on to a child. Who asks must be root or the user that the house runs as; nonsense is cut off and
 * costs nobody else anything (security-kit S11). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/field.h"
#include "base/general_settings.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/parent.h"
#include "queue/attacks.h"

enum { MAX_ASKERS = 64, MAX_WORDS = 64, GATHER_MS = 3000, ASKER_MS = 60000, ANSWER_MAX = 4 << 20 };

struct asker {
	struct control *control;
	struct ipc *channel;
	struct loop_timer *patience;
	uint64_t id;
	unsigned waiting;             /* children whose answers are missing */
	void (*gathered)(struct asker *a); /* when none is */
	bool verifying;               /* the answer waits for the verifier of new maps */
	bool busy;                    /* a question is open */
	struct buf parts;             /* what they said, as JSON members */
	struct asker *next;
};

struct control {
	struct parent *parent;
	int fd;
	struct loop_watch *watch;
	struct asker *askers;
	size_t count;
};

static void asker_free(struct asker *a)
{
	struct asker **at = &a->control->askers;
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	a->control->count--;
	child_forget(a->control->parent, a);
	loop_timer_free(a->patience);
	if (a->channel)
		ipc_free(a->channel);
	buf_free(&a->parts);
	mem_free(a);
}

static void answer(struct asker *a, int code, struct slice text)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	field_add_uint(&b, HOUSE_TAG_NUMBER, (uint64_t)code);
	if (field_add(&b, HOUSE_TAG_TEXT, text) < 0)
		field_add(&b, HOUSE_TAG_TEXT, SLICE("the answer is too large; narrow the question\n"));
	a->busy = false;
	ipc_send(a->channel, HOUSE_CTL_REPLY, a->id, buf_slice(&b), -1);
	buf_free(&b);
}

/* Asking all children --------------------------------------------------------------------------------------------------------------- */

static void gathered_one(struct asker *a)
{
	if (--a->waiting == 0)
		a->gathered(a);
}

/* Who isn't ready, or can't be asked, answers at once with 75. One that doesn't answer in time is not waited for. */
static void gather(struct asker *a, struct slice word, void (*each)(void *arg, struct child *c, int code, struct slice text), void (*gathered)(struct asker *a))
{
	uint64_t id;
	a->gathered = gathered;
	a->waiting = 1;               /* ours, so that nobody's early answer ends it */
	loop_timer_set(a->patience, GATHER_MS);
	for (struct child *c = a->control->parent->children; c; c = c->next) {
		a->waiting++;
		if (!c->ready || child_ask(c, &word, 1, each, a, &id) != 0)
			each(a, c, 75, SLICE_NONE);
	}
	gathered_one(a);
}

static void out_of_patience(void *arg)
{
	struct asker *a = arg;
	if (!a->waiting)
		return asker_free(a);
	child_forget(a->control->parent, a);
	a->waiting = 0;
	a->gathered(a);
	loop_timer_set(a->patience, ASKER_MS);
}

/* Status ---------------------------------------------------------------------------------------------------------------------------- */

static void add_child(struct buf *out, const struct child *c, struct slice said)
{
	uint64_t up = (clock_mono_ms() - c->started_ms) / 1000;
	buf_addf(out, "%s{\"role\":\"%s\",\"index\":%u,\"pid\":%d,\"uptime_s\":%llu,\"restarts\":%u,\"draining\":%s,\"status\":%.*s}", out->n ? "," : "", c->role->name, c->index,
	         (int)c->pid, (unsigned long long)up, c->restarts, c->draining ? "true" : "false", SLICE_FMT(said.n ? said : SLICE("null")));
}

static void add_alerts(struct buf *out, const struct parent *p)
{
	for (size_t i = 0; i < p->alert_count; i++) {
		const struct alert *a = &p->alerts[i];
		buf_addf(out, "%s{\"at\":%lld,\"count\":%llu,\"text\":", i ? "," : "", (long long)a->at_s, (unsigned long long)a->count);
		text_add_json(out, slice_of(a->text));
		buf_add_cstr(out, "}");
	}
}

/* Joe-job: somebody forges our addresses, and the bounces come here. */
static void add_rise(struct buf *out, const struct parent *p)
{
	struct attack_rise r;
	attacks_rise(p->attacks, clock_wall_s(), &r);
	unsigned long long now = r.now, usual = r.usual_tenths;
	buf_addf(out, ",\"joe_job\":{\"rising\":%s,\"last_hour\":%llu,\"usual\":%llu.%llu}", r.rising ? "true" : "false", now, usual / 10, usual % 10);
}

static void end_status(struct asker *a)
{
	struct parent *p = a->control->parent;
	struct buf out = BUF_INIT(ANSWER_MAX);
	uint64_t up = (clock_mono_ms() - p->started_ms) / 1000;
	buf_addf(&out, "{\"pid\":%d,\"uptime_s\":%llu,\"maps\":%llu,\"alerts\":[", (int)getpid(), (unsigned long long)up, (unsigned long long)p->generation);
	add_alerts(&out, p);
	buf_add_cstr(&out, "]");
	add_rise(&out, p);
	buf_addf(&out, ",\"processes\":[%.*s]}\n", SLICE_FMT(buf_slice(&a->parts)));
	answer(a, 0, buf_slice(&out));
	buf_free(&out);
}

static void on_child_status(void *arg, struct child *c, int code, struct slice text)
{
	struct asker *a = arg;
	add_child(&a->parts, c, code == 0 ? text : SLICE_NONE);
	gathered_one(a);
}

static void begin_status(struct asker *a)
{
	buf_clear(&a->parts);
	gather(a, SLICE("status"), on_child_status, end_status);
}

/* Maps ------------------------------------------------------------------------------------------------------------------------------ */

static void end_maps(struct asker *a)
{
	char text[64];
	snprintf(text, sizeof text, "generation %llu\n", (unsigned long long)a->control->parent->generation);
	answer(a, 0, slice_of(text));
}

static void on_child_maps(void *arg, struct child *c, int code, struct slice text)
{
	(void)c;
	(void)code;
	(void)text;
	gathered_one(arg);
}

/* The answer comes when the new generation serves: a child reads its channel in order, so whatever it says to a question after it was told, it has switched. */
static void ask_maps(struct asker *a)
{
	struct buf text = BUF_INIT(256);
	int code = generation_switch(a->control->parent, &text);
	if (code)
		answer(a, code, buf_slice(&text));
	else if (a->control->parent->verifier)
		a->verifying = true;
	else
		gather(a, SLICE("maps"), on_child_maps, end_maps);
	buf_free(&text);
}

void control_verified(struct parent *p, bool good)
{
	for (struct asker *a = p->control ? p->control->askers : NULL, *next; a; a = next) {
		next = a->next;
		if (!a->verifying)
			continue;
		a->verifying = false;
		if (good)
			gather(a, SLICE("maps"), on_child_maps, end_maps);
		else
			answer(a, 65, SLICE("the new maps are damaged; run porterctl compile again\n"));
	}
}

/* Questions ------------------------------------------------------------------------------------------------------------------------- */

static void on_child_answer(void *arg, struct child *c, int code, struct slice text)
{
	(void)c;
	struct asker *a = arg;
	answer(a, code, code == 255 ? SLICE("that process does not know this question\n") : text);
}

static void pass_on(struct asker *a, struct slice role, const struct slice *words, size_t count)
{
	struct parent *p = a->control->parent;
	uint64_t id;
	for (struct child *c = p->children; c; c = c->next)
		if (slice_eq(slice_of(c->role->name), role) && c->ready && !c->gone && child_ask(c, words, count, on_child_answer, a, &id) == 0)
			return;
	answer(a, 69, SLICE("no process of that role runs just now\n"));
}

static void log_level(struct asker *a, struct slice word)
{
	enum log_level level;
	if (!log_level_parse(word, &level))
		return answer(a, 64, SLICE("a level is error, warn, info or debug\n"));
	a->control->parent->log_level = (int)level;
	log_set_level(level);
	child_told_all(a->control->parent, HOUSE_LOG_LEVEL, (uint64_t)level);
	answer(a, 0, SLICE("the log level is changed until the next restart\n"));
}

static void stop_now(void *arg)
{
	parent_stop(arg);
}

static void ask_parent(struct asker *a, const struct slice *words, size_t count)
{
	struct parent *p = a->control->parent;
	struct buf text = BUF_INIT(ANSWER_MAX);
	if (slice_eq(words[0], SLICE("status"))) {
		begin_status(a);
	} else if (slice_eq(words[0], SLICE("maps"))) {
		ask_maps(a);
	} else if (slice_eq(words[0], SLICE("reload"))) {
		int code = parent_reload(p, &text);
		answer(a, code, buf_slice(&text));
	} else if (slice_eq(words[0], SLICE("stop"))) {
		answer(a, 0, SLICE("stopping\n"));
		loop_later(p->loop, stop_now, p);
	} else if (slice_eq(words[0], SLICE("log-level")) && count == 2) {
		log_level(a, words[1]);
	} else if (slice_eq(words[0], SLICE("alert")) && count == 2) { /* of porterctl sync */
		parent_alert(p, words[1]);
		answer(a, 0, SLICE(""));
	} else {
		answer(a, 64, SLICE("the parent does not know this question\n"));
	}
	buf_free(&text);
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct asker *a = arg;
	struct slice in = m->payload, role = SLICE_NONE, words[MAX_WORDS], v;
	size_t count = 0;
	uint8_t tag;
	(void)from;
	if (m->type != HOUSE_CTL || a->waiting)
		return -EPROTO;
	while (field_next(&in, &tag, &v)) {
		if (tag == HOUSE_TAG_ROLE)
			role = v;
		else if (tag == HOUSE_TAG_WORD && count < MAX_WORDS)
			words[count++] = v;
		else
			return -EPROTO;
	}
	if (in.n || !role.n || !count)
		return -EPROTO;
	a->id = m->id;
	a->busy = true;
	loop_timer_set(a->patience, ASKER_MS);
	if (slice_eq(role, SLICE("parent")))
		ask_parent(a, words, count);
	else
		pass_on(a, role, words, count);
	return 0;
}

static void on_close(void *arg, struct ipc *which)
{
	(void)which;
	asker_free(arg);
}

static const struct ipc_handler handler = { on_message, on_close };

static bool may_ask(int fd)
{
	struct ucred who;
	socklen_t n = sizeof who;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && (who.uid == 0 || who.uid == geteuid());
}

/* Whoever came first and asks nothing makes room. */
static bool make_room(struct control *k)
{
	struct asker *oldest = NULL;
	for (struct asker *a = k->askers; a; a = a->next)
		oldest = a->busy ? oldest : a;
	if (k->count >= MAX_ASKERS && oldest)
		asker_free(oldest);
	return k->count < MAX_ASKERS;
}

static void on_accept(void *arg, int what)
{
	(void)what;
	struct control *k = arg;
	int fd = accept4(k->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (!may_ask(fd) || !make_room(k)) {
		close(fd);
		return;
	}
	struct asker *a = MEM_NEW(struct asker);
	a->control = k;
	a->next = k->askers;
	k->askers = a;
	k->count++;
	buf_init(&a->parts, ANSWER_MAX / 2);
	a->patience = loop_timer_new(k->parent->loop, out_of_patience, a);
	loop_timer_set(a->patience, ASKER_MS);
	a->channel = ipc_new(k->parent->loop, fd, &handler, a);
}

/* Another house on the same run-directory answers on it: then we are the second, and don't begin. */
static bool is_served(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool served = fd >= 0 && connect(fd, (const struct sockaddr *)un, sizeof *un) == 0;
	if (fd >= 0)
		close(fd);
	return served;
}

int control_open(struct parent *p)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct slice dir = general_settings.run_directory;
	if (dir.n + sizeof "/control" > sizeof un.sun_path) {
		fprintf(stderr, "porterd: run-directory %.*s: too long for a socket in it\n", SLICE_FMT(dir));
		return -ENAMETOOLONG;
	}
	snprintf(un.sun_path, sizeof un.sun_path, "%.*s/control", SLICE_FMT(dir));
	if (is_served(&un)) {
		fprintf(stderr, "porterd: another porterd serves %s already\n", un.sun_path);
		return -EBUSY;
	}
	unlink(un.sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof un) < 0 || chmod(un.sun_path, 0600) < 0 || listen(fd, 128) < 0) {
		fprintf(stderr, "porterd: %s: %s\n", un.sun_path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -errno;
	}
	struct control *k = MEM_NEW(struct control);
	k->parent = p;
	k->fd = fd;
	k->watch = loop_watch_new(p->loop, fd, on_accept, k);
	loop_watch_set(k->watch, LOOP_READ);
	p->control = k;
	return 0;
}

void control_close(struct parent *p)
{
	char path[200];
	struct control *k = p->control;
	if (!k)
		return;
	while (k->askers)
		asker_free(k->askers);
	loop_watch_free(k->watch);
	close(k->fd);
	snprintf(path, sizeof path, "%.*s/control", SLICE_FMT(general_settings.run_directory));
	unlink(path);
	snprintf(path, sizeof path, "%.*s/porterd.pid", SLICE_FMT(general_settings.run_directory));
	unlink(path);
	mem_free(k);
	p->control = NULL;
}
