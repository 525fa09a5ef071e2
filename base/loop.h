#ifndef BASE_LOOP_H
#define BASE_LOOP_H
#include <stdbool.h>
#include <stdint.h>

/* The event loop of a process (libevent behind one file). One loop a process, run by its main thread; nothing in a
 * callback blocks. Work that blocks (files, syncs) goes to a worker and comes back as a callback. */
struct loop;
struct loop *loop_new(void);
void loop_free(struct loop *l);
int loop_run(struct loop *l);   /* until loop_stop */
void loop_stop(struct loop *l);
struct event_base *loop_base(struct loop *l); /* for base/dns, base/conn and base/web alone */

/* Timers: embedded or owned by the caller through the pointer; setting again moves it; fires once. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, void (*fire)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *t, uint64_t ms);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_is_set(const struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

/* A file descriptor that stays the caller's. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_watch;
struct loop_watch *loop_watch_new(struct loop *l, int fd, void (*ready)(void *arg, int what), void *arg);
void loop_watch_set(struct loop_watch *w, int what); /* LOOP_READ | LOOP_WRITE, 0 pauses */
void loop_watch_free(struct loop_watch *w);

/* A signal of this process. */
struct loop_signal;
struct loop_signal *loop_signal_new(struct loop *l, int number, void (*fire)(void *arg), void *arg);
void loop_signal_free(struct loop_signal *s);

/* A callback after the current ones, before the loop waits again. */
void loop_later(struct loop *l, void (*call)(void *arg), void *arg);

/* Workers: `count` threads that run jobs in the order given. `work` runs in a worker and may block; `done` runs in the loop.
 * A job is never cancelled; the caller keeps arg alive until done. worker_free waits for what is under way. */
struct worker;
struct worker *worker_new(struct loop *l, unsigned count, const char *name);
void worker_add(struct worker *w, void (*work)(void *arg), void (*done)(void *arg), void *arg);
void worker_free(struct worker *w);
#endif
