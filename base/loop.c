/* The event loop of a process: libevent behind this file. Workers are threads with a queue; what they finish comes back through
 * an eventfd, so that every callback of the house runs in the loop's own thread. */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mem.h"

struct later {
	struct later *next;
	void (*call)(void *arg);
	void *arg;
};

struct loop {
	struct event_base *base;
	struct event later_event;
	struct later *later_first, **later_last;
};

static void run_later(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct loop *l = arg;
	struct later *now = l->later_first; /* what these add runs in the next round */
	l->later_first = NULL;
	l->later_last = &l->later_first;
	while (now) {
		struct later *next = now->next;
		now->call(now->arg);
		mem_free(now);
		now = next;
	}
}

struct loop *loop_new(void)
{
	struct loop *l = MEM_NEW(struct loop);
	struct event_config *config = event_config_new();
	assert(config);
	/* Changes of interest are gathered and given to epoll once a round. */
	event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST | EVENT_BASE_FLAG_NOLOCK);
	l->base = event_base_new_with_config(config);
	event_config_free(config);
	assert(l->base);
	l->later_last = &l->later_first;
	event_assign(&l->later_event, l->base, -1, 0, run_later, l);
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	event_del(&l->later_event);
	while (l->later_first) {
		struct later *next = l->later_first->next;
		mem_free(l->later_first);
		l->later_first = next;
	}
	event_base_free(l->base);
	mem_free(l);
}

int loop_run(struct loop *l)
{
	int result = event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return result < 0 ? -EIO : 0;
}

void loop_stop(struct loop *l)
{
	event_base_loopbreak(l->base);
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

void loop_later(struct loop *l, void (*call)(void *arg), void *arg)
{
	struct later *one = MEM_NEW(struct later);
	one->call = call;
	one->arg = arg;
	if (!l->later_first)
		event_active(&l->later_event, EV_TIMEOUT, 0);
	*l->later_last = one;
	l->later_last = &one->next;
}

/* -- timers --------------------------------------------------------------------------------------------------------------- */

struct loop_timer {
	struct event event;
	void (*fire)(void *arg);
	void *arg;
};

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct loop_timer *t = arg;
	t->fire(t->arg);
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fire)(void *arg), void *arg)
{
	struct loop_timer *t = MEM_NEW(struct loop_timer);
	t->fire = fire;
	t->arg = arg;
	evtimer_assign(&t->event, l->base, timer_fired, t);
	return t;
}

void loop_timer_set(struct loop_timer *t, uint64_t ms)
{
	struct timeval tv = { (time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000) };
	evtimer_add(&t->event, &tv);
}

void loop_timer_stop(struct loop_timer *t)
{
	evtimer_del(&t->event);
}

bool loop_timer_is_set(const struct loop_timer *t)
{
	return evtimer_pending(&t->event, NULL) != 0;
}

void loop_timer_free(struct loop_timer *t)
{
	if (t)
		evtimer_del(&t->event);
	mem_free(t);
}

/* -- descriptors ------------------------------------------------------------------------------------------------------------ */

struct loop_watch {
	struct event event;
	struct loop *loop;
	int fd, what;
	void (*ready)(void *arg, int what);
	void *arg;
};

static void watch_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	struct loop_watch *w = arg;
	w->ready(w->arg, (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0));
}

struct loop_watch *loop_watch_new(struct loop *l, int fd, void (*ready)(void *arg, int what), void *arg)
{
	struct loop_watch *w = MEM_NEW(struct loop_watch);
	*w = (struct loop_watch){ .loop = l, .fd = fd, .ready = ready, .arg = arg };
	event_assign(&w->event, l->base, fd, 0, watch_ready, w);
	return w;
}

void loop_watch_set(struct loop_watch *w, int what)
{
	if (w->what == what)
		return;
	if (w->what)
		event_del(&w->event);
	w->what = what;
	if (!what)
		return;
	short events = (short)((what & LOOP_READ ? EV_READ : 0) | (what & LOOP_WRITE ? EV_WRITE : 0) | EV_PERSIST);
	event_assign(&w->event, w->loop->base, w->fd, events, watch_ready, w);
	event_add(&w->event, NULL);
}

void loop_watch_free(struct loop_watch *w)
{
	if (w && w->what)
		event_del(&w->event);
	mem_free(w);
}

/* -- signals ------------------------------------------------------------------------------------------------------------------ */

struct loop_signal {
	struct event event;
	void (*fire)(void *arg);
	void *arg;
};

static void signal_fired(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct loop_signal *s = arg;
	s->fire(s->arg);
}

struct loop_signal *loop_signal_new(struct loop *l, int number, void (*fire)(void *arg), void *arg)
{
	struct loop_signal *s = MEM_NEW(struct loop_signal);
	s->fire = fire;
	s->arg = arg;
	evsignal_assign(&s->event, l->base, number, signal_fired, s);
	evsignal_add(&s->event, NULL);
	return s;
}

void loop_signal_free(struct loop_signal *s)
{
	if (s)
		evsignal_del(&s->event);
	mem_free(s);
}

/* -- workers -------------------------------------------------------------------------------------------------------------------- */

struct job {
	struct job *next;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

struct worker {
	struct loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t some;
	struct job *waiting, **waiting_last;
	struct job *finished, **finished_last;
	bool ending;
	int bell;                 /* eventfd: something finished */
	struct loop_watch *watch;
	pthread_t *threads;
	unsigned count;
	const char *name;
};

static struct job *take_job(struct worker *w)
{
	while (!w->waiting && !w->ending)
		pthread_cond_wait(&w->some, &w->lock);
	struct job *j = w->waiting;
	if (j) {
		w->waiting = j->next;
		if (!w->waiting)
			w->waiting_last = &w->waiting;
		j->next = NULL;
	}
	return j;
}

static void finish_job(struct worker *w, struct job *j)
{
	bool first = !w->finished;
	*w->finished_last = j;
	w->finished_last = &j->next;
	if (first) {
		uint64_t one = 1;
		ssize_t n = write(w->bell, &one, sizeof one);
		assert(n == sizeof one);
	}
}

static void *worker_thread(void *arg)
{
	struct worker *w = arg;
	struct job *j;
	prctl(PR_SET_NAME, w->name);
	pthread_mutex_lock(&w->lock);
	while ((j = take_job(w))) {
		pthread_mutex_unlock(&w->lock);
		j->work(j->arg);
		pthread_mutex_lock(&w->lock);
		finish_job(w, j);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void worker_finished(void *arg, int what)
{
	(void)what;
	struct worker *w = arg;
	uint64_t count;
	ssize_t n = read(w->bell, &count, sizeof count);
	(void)n; /* EAGAIN: another call took it */
	pthread_mutex_lock(&w->lock);
	struct job *j = w->finished;
	w->finished = NULL;
	w->finished_last = &w->finished;
	pthread_mutex_unlock(&w->lock);
	while (j) {
		struct job *next = j->next;
		if (j->done)
			j->done(j->arg);
		mem_free(j);
		j = next;
	}
}

/* Threads never take the process's signals: those belong to the loop. */
static void start_threads(struct worker *w)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < w->count; i++) {
		int error = pthread_create(&w->threads[i], NULL, worker_thread, w);
		assert(error == 0);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct worker *worker_new(struct loop *l, unsigned count, const char *name)
{
	struct worker *w = MEM_NEW(struct worker);
	*w = (struct worker){ .loop = l, .count = count, .name = name };
	w->waiting_last = &w->waiting;
	w->finished_last = &w->finished;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->some, NULL);
	w->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(w->bell >= 0);
	w->watch = loop_watch_new(l, w->bell, worker_finished, w);
	loop_watch_set(w->watch, LOOP_READ);
	w->threads = mem_new_array(count, sizeof *w->threads);
	start_threads(w);
	return w;
}

void worker_add(struct worker *w, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct job *j = MEM_NEW(struct job);
	*j = (struct job){ NULL, work, done, arg };
	pthread_mutex_lock(&w->lock);
	*w->waiting_last = j;
	w->waiting_last = &j->next;
	pthread_cond_signal(&w->some);
	pthread_mutex_unlock(&w->lock);
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->some);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->count; i++)
		pthread_join(w->threads[i], NULL);
	worker_finished(w, LOOP_READ); /* take_job hands out all that waits before a thread ends */
	loop_watch_free(w->watch);
	close(w->bell);
	pthread_cond_destroy(&w->some);
	pthread_mutex_destroy(&w->lock);
	mem_free(w->threads);
	mem_free(w);
}
