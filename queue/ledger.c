/* The ledger: questions are collected while a worker is busy; what has been collected becomes one transaction and, where somebody waits for its durability, one
 * sync. Between questions the worker looks through a part of the tables for what is too old. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "queue/ledger_inside.h"

enum { MAX_ANSWER = 4 << 20, CLEAN_MS = 10000, CROWDED_MS = 20, CHECK_MEMORY = 8 << 20, FAILS_AGAIN_MS = 3600 * 1000 };

/* Questions, in the worker ------------------------------------------------------------------------------------------------------------ */

static int do_request(struct ledger *l, struct ledger_request *r)
{
	struct slice payload = slice(r->payload, r->n);
	switch (r->type) {
	case LEDGER_LOOK:
		return ledger_do_look(l, payload, &r->answer);
	case LEDGER_DECIDE:
		return ledger_do_decide(l, payload, &r->answer);
	case LEDGER_NOTE:
		return ledger_do_note(l, payload, &r->answer);
	case LEDGER_CLEAR:
		return ledger_do_clear(l, payload);
	}
	return ledger_do_table(l, r);
}

/* Doubt, in the words of each question. */
static void answer_unsure(struct ledger_request *r)
{
	struct mail_status later = MAIL_STATUS_UNSURE("The outcome can't be noted just now, try again later");
	buf_clear(&r->answer);
	switch (r->type) {
	case LEDGER_LOOK:
		ledger_put_looked(&r->answer, &(struct ledger_looked){ UNSURE, LEDGER_NOTHING });
		return;
	case LEDGER_DECIDE:
		ledger_put_decided(&r->answer, &(struct ledger_decided){ .answer = UNSURE });
		return;
	case LEDGER_NOTE:
		queue_put_status(&r->answer, &later);
		return;
	case ASK_LOOK:
		ask_put_looked(&r->answer, &(struct ask_looked){ .answer = UNSURE, .status = MAIL_STATUS_OK });
		return;
	case QUEUE_SENT_LOOK:
	case LEDGER_SEEN_LOOK:
	case LEDGER_REPLY_LOOK:
	case LEDGER_REPLY_TAKE:
		queue_put_answer(&r->answer, UNSURE);
		return;
	}
}

/* Batches ------------------------------------------------------------------------------------------------------------------------------- */

/* Opened again, which recovers what a torn transaction left; what fails soon after that is damaged within, and has to go. */
static int begin_anew(struct ledger *l)
{
	bool anew = false, empty = l->failed_ms && clock_mono_ms() - l->failed_ms < FAILS_AGAIN_MS;
	ledger_store_close(l->store);
	l->store = NULL;
	if (empty)
		ledger_store_empty(l->folder);
	l->failed_ms = clock_mono_ms();
	int error = ledger_store_open(l->folder, &l->store, &anew);
	l->anew = anew || empty;
	return error;
}

static bool wants_sync(const struct ledger_request *r)
{
	for (; r; r = r->next)
		if (r->durable)
			return true;
	return false;
}

static bool notes_sent(const struct ledger_request *r)
{
	for (; r; r = r->next)
		if (r->type == QUEUE_SENT)
			return true;
	return false;
}

static void work(void *arg)
{
	struct ledger *l = arg;
	int error = l->store ? ledger_store_begin(l->store) : -EIO;
	if (!error && l->doubt_now)
		error = ledger_set_since(l, clock_wall_s());
	for (struct ledger_request *r = l->batch; r; r = r->next) {
		int one = error ? error : do_request(l, r);
		if (one == -EPROTO)
			answer_unsure(r);
		else if (one)
			error = one;
	}
	if (!error && l->clean_now)
		error = ledger_clean_part(l);
	if (!error)
		error = ledger_store_end(l->store, wants_sync(l->batch));
	l->failed = error != 0;
	if (!error)
		return;
	l->sent_lost = notes_sent(l->batch);
	if (l->store)
		ledger_store_undo(l->store);
	for (struct ledger_request *r = l->batch; r; r = r->next)
		answer_unsure(r);
	if (error != -ENOSPC)
		begin_anew(l);
}

static void start(struct ledger *l);

static void finish_requests(struct ledger *l)
{
	struct ledger_request *r = l->batch;
	l->batch = NULL;
	while (r) {
		struct ledger_request *next = r->next;
		if (r->done)
			r->done(r->arg, &r->answer);
		buf_free(&r->answer);
		mem_free(r->payload);
		mem_free(r);
		r = next;
	}
}

static void done(void *arg)
{
	struct ledger *l = arg;
	l->busy = false;
	l->clean_now = false;
	bool lost = l->anew || l->sent_lost;
	l->doubt = l->doubt || lost || (l->doubt_now && l->failed);
	l->doubt_now = l->sent_lost = false;
	if (l->crowded && !l->crowded_now)
		loop_timer_set(l->clean, CROWDED_MS);
	l->crowded_now = l->crowded;
	if (l->failed && l->alert)
		l->alert(l->arg, l->anew ? SLICE("the ledger was damaged and is begun anew: duplicates are possible, nothing is lost") : SLICE("the ledger could not be read or written just now"));
	if (l->anew) {
		l->anew = false;
		l->counts.begun_anew++;
	}
	if (l->pass_over) {
		/* Bits of what was noted since the last pass ended stay: a pass of many parts may have gone by before it was written. */
		for (size_t i = 0; i < LEDGER_HINT_BYTES; i++)
			l->hints.bits[i] = (uint8_t)(l->found_bits[i] | (l->loaded ? l->added_bits[i] : l->hints.bits[i]));
		memset(l->added_bits, 0, sizeof l->added_bits);
		l->hints.known = l->loaded = true;
		l->pass_over = false;
	}
	finish_requests(l);
	if (l->waiting || !l->loaded || lost)
		start(l);
}

static void start(struct ledger *l)
{
	if (l->busy || l->closing)
		return;
	l->batch = l->waiting;
	l->waiting = NULL;
	l->waiting_end = &l->waiting;
	l->clean_now = l->clean_now || !l->loaded;
	l->doubt_now = l->doubt;
	l->doubt = false;
	l->busy = true;
	worker_add(l->worker, work, done, l);
}

/* A payload that no writer would write is its sender's fault, and told at once: the sender is cut off. */
static int check(uint16_t type, struct slice payload, bool *durable)
{
	struct arena mem = ARENA_INIT(CHECK_MEMORY);
	struct ledger_look look;
	struct ledger_decide decide;
	struct ledger_note note;
	struct ask_note asked;
	struct queue_seen *seen;
	struct slice *texts, address, place;
	size_t count;
	int error;
	switch (type) {
	case LEDGER_LOOK: error = ledger_get_look(payload, &look); break;
	case LEDGER_CLEAR:
	case LEDGER_DECIDE: error = ledger_get_decide(payload, &mem, &decide); break;
	case LEDGER_NOTE:
		error = ledger_get_note(payload, &mem, &note);
		*durable = !error && note.kind != LEDGER_NOTE_SOON;
		break;
	case ASK_LOOK: error = ask_get_look(payload, &address, &place); break;
	case ASK_NOTE: error = ask_get_note(payload, &asked); break;
	case QUEUE_SEEN: error = queue_get_seen(payload, &mem, &seen, &count); break;
	default: error = queue_get_texts(payload, QUEUE_MAX_BATCH, &mem, &texts, &count);
	}
	arena_free(&mem);
	return error;
}

int ledger_ask(struct ledger *l, uint16_t type, struct slice payload, ledger_done on_done, void *arg)
{
	bool durable = false;
	int error = check(type, payload, &durable);
	if (error)
		return error;
	struct ledger_request *r = MEM_NEW(struct ledger_request);
	*r = (struct ledger_request){ .type = type, .payload = mem_copy(payload.n ? payload.p : "", payload.n), .n = payload.n, .durable = durable, .done = on_done, .arg = arg, .answer = BUF_INIT(MAX_ANSWER) };
	*l->waiting_end = r;
	l->waiting_end = &r->next;
	start(l);
	return 0;
}

static void on_clean(void *arg)
{
	struct ledger *l = arg;
	l->clean_now = true;
	start(l);
	loop_timer_set(l->clean, l->crowded_now ? CROWDED_MS : CLEAN_MS);
}

void ledger_content_key(const struct ledger *l, uint8_t key[CRYPTO_MAC_KEY])
{
	memcpy(key, l->content_key, CRYPTO_MAC_KEY);
}

void ledger_hints(struct ledger *l, struct ledger_hints *out)
{
	*out = l->hints;
}

bool ledger_hint_add(struct ledger *l, uint32_t bit)
{
	uint8_t mask = (uint8_t)(1u << bit % 8);
	bool set = l->hints.bits[bit / 8] & mask;
	l->hints.bits[bit / 8] |= mask;
	l->added_bits[bit / 8] |= mask;
	return !set;
}

void ledger_count(struct ledger *l, struct ledger_counts *out)
{
	*out = l->counts;
	out->since_s = l->since_s;
}

void ledger_doubt_sent(struct ledger *l)
{
	l->doubt = true;
	start(l);
}

/* "since", from when on the tables are complete, is the age of the key, which is made with the folder; later, where what was sent had to be cut, could not be noted, or the clock
 * was wrong. Beside it how long entries were kept then: what a shorter time has cut is not there for a longer one; and the boot in which it is open, 0 once it is closed:
 * notes of what was sent are not synced one by one, so that a machine that stopped meanwhile may have lost the last. */
static const struct slice since_key = SLICE_INIT("since");
enum { SINCE_LIFE = 1 + LEDGER_TIME, SINCE_BOOT = SINCE_LIFE + LEDGER_TIME, SINCE_ALL = SINCE_BOOT + LEDGER_TIME };

/* Not 0; the same until the machine starts again. Where it can't be read each is another. */
static uint64_t this_boot(void)
{
	static uint64_t boot;
	char text[36];
	int fd = -1;
	if (boot)
		return boot;
	ssize_t n = file_open(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY, 0, &fd) == 0 ? read(fd, text, sizeof text) : -1;
	file_close(&fd);
	struct hash_key key = n == (ssize_t)sizeof text ? (struct hash_key){ 0 } : hash_key_random();
	boot = hash_bytes(&key, slice(text, n > 0 ? (size_t)n : 0)) | 1;
	return boot;
}

static int put_since(struct ledger *l, int64_t since_s, uint64_t boot)
{
	struct buf made = BUF_INIT(64);
	buf_add_byte(&made, 0x7f);                         /* read as a time far ahead, so that cleaning leaves it */
	ledger_add_time(&made, since_s);
	ledger_add_time(&made, (int64_t)l->limits.sent_s);
	ledger_add_time(&made, (int64_t)boot);
	int error = ledger_store_put(l->store, TABLE_SENT, since_key, buf_slice(&made));
	buf_free(&made);
	l->since_s = since_s;
	return error;
}

int ledger_set_since(struct ledger *l, int64_t since_s)
{
	return put_since(l, since_s, this_boot());
}

static void save_since(struct ledger *l, int64_t since_s, uint64_t boot)
{
	if (l->store && ledger_store_begin(l->store) == 0) {
		put_since(l, since_s, boot);
		ledger_store_end(l->store, true);
	}
}

/* A clock that is behind what it was then can't tell an age. */
static void read_since(struct ledger *l)
{
	char value[LEDGER_MAX_VALUE];
	size_t n;
	int64_t now_s = clock_wall_s(), since_s = now_s;
	if (ledger_store_get(l->store, TABLE_SENT, since_key, value, &n) == 0 && n == SINCE_ALL) {
		int64_t life_s = ledger_time_of(slice(value + SINCE_LIFE, LEDGER_TIME));
		uint64_t boot = (uint64_t)ledger_time_of(slice(value + SINCE_BOOT, LEDGER_TIME));
		since_s = ledger_time_of(slice(value + 1, LEDGER_TIME));
		since_s = since_s > now_s || (boot && boot != this_boot()) ? now_s : life_s < (int64_t)l->limits.sent_s && now_s - life_s > since_s ? now_s - life_s : since_s;
	}
	save_since(l, since_s, this_boot());
}

static void make_keys(struct ledger *l)
{
	const struct ledger_keys *own = ledger_store_keys(l->store);
	l->hints.key = own->hints;
	crypto_hmac_sha256(slice((const char *)own->secret, sizeof own->secret), SLICE("content"), l->content_key);
}

int ledger_open(struct loop *loop, const char *path, const struct ledger_limits *limits, void (*alert)(void *arg, struct slice text), void *arg, struct ledger **out)
{
	struct ledger *l = MEM_NEW(struct ledger);
	bool anew;
	l->loop = loop;
	l->folder = mem_copy(path, strlen(path));
	l->limits = *limits;
	l->alert = alert;
	l->arg = arg;
	l->waiting_end = &l->waiting;
	int error = ledger_store_open(path, &l->store, &anew);
	if (error) {
		mem_free(l->folder);
		mem_free(l);
		return error;
	}
	if (anew) {
		l->counts.begun_anew++;
		alert(arg, SLICE("the ledger was damaged and is begun anew: duplicates are possible, nothing is lost"));
	}
	make_keys(l);
	read_since(l);
	l->worker = worker_new(loop, 1, "ledger");
	l->clean = loop_timer_new(loop, on_clean, l);
	loop_timer_set(l->clean, 1);
	*out = l;
	return 0;
}

void ledger_close(struct ledger *l)
{
	l->closing = true;
	worker_free(l->worker);          /* waits for the batch that is under way; its done may not have come */
	if (l->busy)
		finish_requests(l);
	while (l->waiting) {
		l->batch = l->waiting;
		l->waiting = NULL;
		l->waiting_end = &l->waiting;
		l->clean_now = false;
		l->loaded = true;
		work(l);
		finish_requests(l);
	}
	loop_timer_free(l->clean);
	save_since(l, l->doubt || l->doubt_now || l->sent_lost || l->anew ? clock_wall_s() : l->since_s, 0);
	ledger_store_close(l->store);
	mem_free(l->folder);
	mem_free(l);
}
