/* The role `queue`. */
#include <string.h>

#include "base/file.h"
#include "base/general_settings.h"
#include "base/house.h"
#include "base/log.h"
#include "base/proc.h"
#include "maps/maps_settings.h"
#include "queue/attacks.h"
#include "queue/flight.h"
#include "queue/queue.h"
#include "queue/queue_settings.h"
#include "queue/usage.h"

enum { STOP_MS = 8000, WANTED_DESCRIPTORS = 16384 };

struct self {
	struct house *house;
	struct queue *queue;
	struct loop_timer *patience;
	bool ending;
};

static void end_now(void *arg)
{
	house_end(((struct self *)arg)->house, 0);
}

static void on_idle(void *arg)
{
	struct self *s = arg;
	if (s->ending)
		end_now(s);
}

static void on_peer(void *arg, struct slice role, unsigned index, int fd)
{
	struct self *s = arg;
	(void)index;
	queue_add_peer(s->queue, role, fd);
}

static void on_maps(void *arg, uint64_t generation)
{
	queue_maps(((struct self *)arg)->queue, generation);
}

static void on_drain(void *arg)
{
	struct self *s = arg;
	s->ending = true;
	queue_drain(s->queue);
}

/* What is on its way to the disk arrives there; attempts that are out are made again after the next start. */
static void on_stop(void *arg)
{
	struct self *s = arg;
	loop_timer_set(s->patience, STOP_MS);
	s->ending = true;
	queue_stop(s->queue);
}

static int on_question(void *arg, const struct slice *words, size_t count, struct buf *answer)
{
	struct self *s = arg;
	return queue_question(s->queue, house_question(s->house), words, count, answer);
}

static void on_answer(void *arg, uint64_t question, int code, struct slice text)
{
	house_answer(((struct self *)arg)->house, question, code, text);
}

static void on_alert(void *arg, struct slice text)
{
	house_alert(((struct self *)arg)->house, text);
}

int queue_main(struct house *h)
{
	static const struct house_handler handler = { .on_peer = on_peer, .on_maps = on_maps, .on_drain = on_drain, .on_stop = on_stop, .on_question = on_question };
	static const struct proc_plan plan = { "_porterq", -1, PROC_CALLS_FILES };
	static struct setting_table *const tables[] = { &general_setting_table, &maps_setting_table, &queue_setting_table, &usage_setting_table };
	struct self self = { .house = h };
	house_settings(h, tables, sizeof tables / sizeof *tables);
	int error = file_init();
	proc_raise_descriptors(WANTED_DESCRIPTORS);
	house_restrict(h, &plan);
	struct queue_setup setup = { .spool_path = arena_cstr(&h->mem, general_settings.spool_directory), .host = general_settings.hostname,
		                     .postmaster = general_settings.postmaster, .maps_directory = arena_cstr(&h->mem, maps_settings.maps_directory), .alert = on_alert, .answer = on_answer,
		                     .attacks = attacks_take(h), .flight = flight_take(h), .usage = usage_take(h),
		                     .on_idle = on_idle, .arg = &self };
	self.patience = loop_timer_new(h->loop, end_now, &self);
	error = error ? error : queue_new(h->loop, &setup, &self.queue);
	if (error) {
		log_event(LOG_ERROR, "spool-unusable", LOG_STR("path", general_settings.spool_directory), LOG_ERRNO(error), LOG_END);
		return 1;
	}
	queue_maps(self.queue, h->maps_generation);
	int code = house_run(h, &handler, &self);
	loop_timer_free(self.patience);
	queue_free(self.queue);
	attacks_detach(setup.attacks);
	flight_detach(setup.flight);
	usage_detach(setup.usage);
	return code;
}
