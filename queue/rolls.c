/* Who writes the rolls (queue/roll.h). A folder's turn: a worker lists its files and their marks, the loop adds what the schedule knows of each, a worker writes.
 * The marks are older than what is added, and a message about which something is being written is left out, so a roll never says of a file what is not true of it:
 * where the file changed in between, its marks don't hold any more.
 *
 * Some folders have their turn each second, all of them at an orderly end, as long as it has patience. A folder with few messages has no roll: it is read faster
 * than a roll is worth. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/unique.h"
#include "queue/queue_inside.h"
#include "queue/roll.h"

enum { LEAST = 16 /* messages of a folder with a roll */, FEWEST = 1024 /* of a queue with any */, A_SECOND = 4, AT_ONCE = 8, PATIENCE_MS = 6000, MAX_FOLDERS = 1024 };

struct folder {
	char name[ROLL_NAME];
	bool written;
	uint64_t check;                  /* of the roll that lies there, if `written` */
};

struct listed {
	struct unique id;
	struct roll_mark mark;
};

struct turn {
	struct queue *queue;
	struct folder *folder;
	struct listed *found;
	size_t count, room;
	uint64_t check;
	int error;
	struct buf text;
};

/* The folders that there are, as a worker finds them. */
struct listing {
	struct queue *queue;
	char names[MAX_FOLDERS][ROLL_NAME];
	size_t count;
};

struct rolls {
	struct folder folders[MAX_FOLDERS];
	size_t count, at, busy, left;    /* left: turns of a pass over all that have not begun */
	enum { ROLLS_RUNNING, ROLLS_ENDING, ROLLS_ENDED } state;
	uint64_t patient_ms, began_ms;
};

/* -- a turn -------------------------------------------------------------------------------------------------------------------------- */

static struct slice name_of(const struct turn *t)
{
	return slice(t->folder->name, ROLL_NAME);
}

static bool list_one(void *arg, struct slice id)
{
	struct turn *t = arg;
	struct stat st;
	struct listed one = { .mark = { 0 } };
	if (id.n != UNIQUE_LENGTH || spool_stat(t->queue->spool, SPOOL_QUEUE, id, &st) || !roll_mark_of(t->queue->spool, &st, &one.mark))
		return true;
	memcpy(one.id.text, id.p, id.n);
	if (t->count == t->room) {
		t->room = t->room ? t->room * 2 : 64;
		t->found = mem_grow(t->found, t->room, sizeof *t->found);
	}
	t->found[t->count++] = one;
	return true;
}

static int by_id(const void *left, const void *right)
{
	return memcmp(((const struct listed *)left)->id.text, ((const struct listed *)right)->id.text, UNIQUE_LENGTH);
}

/* In a worker. */
static void list_folder(void *arg)
{
	struct turn *t = arg;
	spool_scan_shard(t->queue->spool, name_of(t), list_one, t);
	if (t->count < LEAST)
		roll_remove(t->queue->spool, name_of(t));
	else
		qsort(t->found, t->count, sizeof *t->found, by_id);
}

static void add_known(struct turn *t, const struct listed *one, struct arena *mem)
{
	struct message *m = schedule_find(t->queue->schedule, unique_slice(&one->id));
	struct roll_entry e = { .mark = one->mark };
	if (!m || m->out || m->settling || m->gone || m->reread)
		return;
	if (taken_known(m, mem, &e.taken))
		roll_add(&t->text, &e); /* one that is too large is read at start */
	arena_reset(mem);
}

static void turn_over(struct turn *t);
static void start_more(struct queue *q);

/* In a worker. */
static void write_folder(void *arg)
{
	struct turn *t = arg;
	t->error = roll_write(t->queue->spool, name_of(t), buf_slice(&t->text));
}

static void folder_written(void *arg)
{
	struct turn *t = arg;
	t->folder->written = t->error == 0;
	t->folder->check = t->check;
	if (t->error) /* a full disk, at worst: the older one serves as far as it holds */
		log_event(LOG_DEBUG, "roll-failed", LOG_STR("folder", name_of(t)), LOG_ERRNO(t->error), LOG_END);
	turn_over(t);
}

static void folder_listed(void *arg)
{
	struct turn *t = arg;
	struct queue *q = t->queue;
	struct arena mem = ARENA_INIT(0);
	if (t->count < LEAST || q->acts || q->rolls->state == ROLLS_ENDED) {
		t->folder->written = t->folder->written && t->count >= LEAST;
		turn_over(t);
		return;
	}
	roll_begin(&t->text);
	for (size_t i = 0; i < t->count; i++)
		add_known(t, &t->found[i], &mem);
	arena_free(&mem);
	t->check = roll_end(&t->text);
	if (t->folder->written && t->folder->check == t->check)
		turn_over(t);
	else
		worker_add(q->scanner, write_folder, folder_written, t);
}

/* -- whose turn it is -------------------------------------------------------------------------------------------------------------------- */

static void start_turn(struct queue *q)
{
	struct rolls *r = q->rolls;
	struct turn *t = MEM_NEW(struct turn);
	t->queue = q;
	t->folder = &r->folders[r->at++ % r->count];
	buf_init(&t->text, ROLL_MAX);
	r->busy++;
	r->left--;
	worker_add(q->scanner, list_folder, folder_listed, t);
}

static void start_more(struct queue *q)
{
	struct rolls *r = q->rolls;
	if (r->state == ROLLS_ENDED || (r->state == ROLLS_ENDING && clock_mono_ms() > r->patient_ms))
		r->left = 0;
	while (r->left && r->count && r->busy < AT_ONCE)
		start_turn(q);
	if (r->state != ROLLS_ENDING || r->busy)
		return;
	r->state = ROLLS_ENDED;
	log_event(LOG_INFO, "queue-rolls", LOG_UINT("folders", r->count), LOG_UINT("ms", clock_mono_ms() - r->began_ms), LOG_END);
	queue_look_idle(q);
}

static void turn_over(struct turn *t)
{
	struct queue *q = t->queue;
	q->rolls->busy--;
	buf_free(&t->text);
	mem_free(t->found);
	mem_free(t);
	start_more(q);
}

static bool note_folder(void *arg, struct slice name)
{
	struct listing *l = arg;
	if (name.n == ROLL_NAME && l->count < MAX_FOLDERS)
		memcpy(l->names[l->count++], name.p, ROLL_NAME);
	return true;
}

static void list_folders(void *arg)
{
	struct listing *l = arg;
	spool_shards(l->queue->spool, note_folder, l);
}

static void add_folder(struct rolls *r, const char *name)
{
	size_t i = 0;
	while (i < r->count && memcmp(r->folders[i].name, name, ROLL_NAME) != 0)
		i++;
	if (i == r->count && r->count < MAX_FOLDERS)
		memcpy(r->folders[r->count++].name, name, ROLL_NAME);
}

/* As many turns as there are then, or as a second has. */
static void begin_turns(struct queue *q)
{
	struct rolls *r = q->rolls;
	r->left = r->state == ROLLS_RUNNING && r->count > A_SECOND ? A_SECOND : r->count;
	start_more(q);
}

static void folders_listed(void *arg)
{
	struct listing *l = arg;
	struct queue *q = l->queue;
	for (size_t i = 0; i < l->count; i++)
		add_folder(q->rolls, l->names[i]);
	q->rolls->busy--;
	mem_free(l);
	begin_turns(q);
}

static void start_listing(struct queue *q)
{
	struct listing *l = MEM_NEW(struct listing);
	l->queue = q;
	q->rolls->busy++;
	worker_add(q->scanner, list_folders, folders_listed, l);
}

/* What the scan has not come to is not known yet, and has its older roll. */
static bool is_worth_it(struct queue *q)
{
	struct schedule_counts c;
	schedule_count(q->schedule, &c);
	return !q->scan && c.messages >= FEWEST;
}

void rolls_on_second(struct queue *q)
{
	struct rolls *r = q->rolls;
	if (r->state != ROLLS_RUNNING || r->busy || !is_worth_it(q))
		return;
	if (r->at % MAX_FOLDERS == 0) /* folders come, and never go */
		start_listing(q);
	else
		begin_turns(q);
}

bool rolls_end(struct queue *q)
{
	struct rolls *r = q->rolls;
	if (r->state == ROLLS_RUNNING && is_worth_it(q)) {
		r->state = ROLLS_ENDING;
		r->began_ms = clock_mono_ms();
		r->patient_ms = r->began_ms + PATIENCE_MS;
		start_listing(q);
	} else if (r->state == ROLLS_RUNNING) {
		r->state = ROLLS_ENDED;
	}
	return r->state == ROLLS_ENDED;
}

void rolls_open(struct queue *q)
{
	q->rolls = MEM_NEW(struct rolls);
}

void rolls_stop(struct queue *q)
{
	if (q->rolls)
		q->rolls->state = ROLLS_ENDED;
}

void rolls_free(struct queue *q)
{
	mem_free(q->rolls);
	q->rolls = NULL;
}
