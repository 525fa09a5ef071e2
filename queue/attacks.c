/* Counters, time line and top lists in one shared file. Everything is a plain array of fixed size below one robust lock: an event costs two scans of
 * 128 hashes, and it happens only where something is refused. */
#include "queue/attacks.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/shared.h"

static const uint64_t MAGIC = 0x504f525445524154; /* "PORTERAT" */
enum { VERSION = 4, HOUR_S = 3600, DAY_S = 24 * HOUR_S };

/* What a report costs at Postfix's default behaviour: bounce_size_limit bytes of the message at most, and about 2,900 bytes of text, status part and
 * header fields around it (counted on a Debian 12 installation). */
enum { RETURNED_MAX = 50000, RETURNED_OVERHEAD = 2900 };

struct top_entry {
	uint64_t hash;            /* 0: free */
	uint32_t count, error, kinds;
	char name[ATTACK_NAME];
	struct net_ip last;
};

struct day {
	int64_t number;           /* days since 1970; 0: unused */
	uint64_t counts[ATTACK_KINDS][ATTACK_ANSWERS];
	uint64_t spared_messages, spared_bytes;
	uint32_t hours[24], bounces[24]; /* of all kinds; of ATTACK_JOE_JOB */
	struct top_entry networks[ATTACK_TOP], domains[ATTACK_TOP];
};

struct book {
	uint64_t magic, size;
	uint32_t version;
	atomic_uint ready;
	struct hash_key key;
	pthread_mutex_t lock;
	struct attack_totals totals;
	struct day days[ATTACK_DAYS];
};

struct attacks {
	struct book *book;
};

static const struct {
	struct slice name;
	bool returned;
} KINDS[ATTACK_KINDS] = {
	[ATTACK_UNKNOWN] = { SLICE_INIT("unknown recipient"), false },
	[ATTACK_ALIAS] = { SLICE_INIT("dead alias"), true },
	[ATTACK_FORWARD] = { SLICE_INIT("forward refused"), true },
	[ATTACK_RELAYED] = { SLICE_INIT("unknown in a relayed domain"), true },
	[ATTACK_FULL] = { SLICE_INIT("mailbox full"), true },
	[ATTACK_VERDICT] = { SLICE_INIT("late verdict"), true },
	[ATTACK_DSN] = { SLICE_INIT("success report asked"), true },
	[ATTACK_REPLY] = { SLICE_INIT("automatic reply"), true },
	[ATTACK_OUTCOMES] = { SLICE_INIT("different outcomes"), true },
	[ATTACK_LATE] = { SLICE_INIT("content refused by the next hop"), true },
	[ATTACK_TOO_LARGE] = { SLICE_INIT("too large"), false },
	[ATTACK_LOOP] = { SLICE_INIT("loop"), false },    /* hopcount_limit: Postfix refuses it at the dot, too */
	[ATTACK_INNER] = { SLICE_INIT("report from inside"), true },
	[ATTACK_RELAYING] = { SLICE_INIT("relaying"), false },
	[ATTACK_JOE_JOB] = { SLICE_INIT("bounce of a forgery"), false },
	[ATTACK_HARVEST] = { SLICE_INIT("harvesting"), false },
};

static const struct slice ANSWERS[ATTACK_ANSWERS] = {
	[ATTACK_REFUSED] = SLICE_INIT("refused at RCPT"),
	[ATTACK_REFUSED_DOT] = SLICE_INIT("refused at the dot"),
	[ATTACK_DEFERRED] = SLICE_INIT("left with the client"),
	[ATTACK_WITHHELD] = SLICE_INIT("report withheld"),
};

struct slice attack_name(enum attack_kind kind)
{
	return KINDS[kind].name;
}

bool attack_is_returned(enum attack_kind kind)
{
	return KINDS[kind].returned;
}

struct slice attack_answer_name(enum attack_answer answer)
{
	return ANSWERS[answer];
}

size_t attacks_size(void)
{
	return sizeof(struct book);
}

static void make_lock(struct book *b)
{
	pthread_mutexattr_t kind;
	pthread_mutexattr_init(&kind);
	pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
	memset(&b->lock, 0, sizeof b->lock);
	pthread_mutex_init(&b->lock, &kind);
	pthread_mutexattr_destroy(&kind);
}

bool attacks_create(void *memory, size_t size)
{
	assert(size >= sizeof(struct book));
	struct book *b = memory;
	bool kept = b->magic == MAGIC && b->version == VERSION && b->size == sizeof *b;
	if (!kept) {
		memset(b, 0, sizeof *b);
		b->key = hash_key_random();
	}
	make_lock(b);   /* nobody of an earlier run is there any more */
	b->size = sizeof *b;
	b->version = VERSION;
	b->magic = MAGIC;
	atomic_store(&b->ready, 1);
	return kept;
}

struct attacks *attacks_attach(void *memory, size_t size)
{
	struct book *b = memory;
	if (size < sizeof *b || b->magic != MAGIC || b->version != VERSION || b->size != sizeof *b || !atomic_load(&b->ready))
		return NULL;
	struct attacks *a = MEM_NEW(struct attacks);
	a->book = b;
	return a;
}

struct attacks *attacks_take(struct house *h)
{
	size_t size;
	void *memory = shared_map(h, SLICE("shared:attacks"), attacks_size(), &size);
	return memory ? attacks_attach(memory, size) : NULL;
}

void attacks_detach(struct attacks *a)
{
	mem_free(a);
}

static bool lock(struct book *b)
{
	int error = pthread_mutex_lock(&b->lock);
	if (error == EOWNERDEAD)
		error = pthread_mutex_consistent(&b->lock); /* counters are whole words: at worst one event is half counted */
	return error == 0;
}

/* Space-Saving: a name that is not in the list takes the place of the smallest, and its count as its error. */
static void top_count(struct top_entry *list, uint64_t hash, struct slice name, enum attack_kind kind, const struct net_ip *ip)
{
	struct top_entry *least = list;
	for (size_t i = 0; i < ATTACK_TOP; i++) {
		struct top_entry *e = &list[i];
		if (e->hash == hash) {
			e->count++;
			e->kinds |= 1u << kind;
			e->last = *ip;
			return;
		}
		if (e->count < least->count)
			least = e;
		if (!e->hash)
			break;      /* entries are filled from the front */
	}
	least->error = least->hash ? least->count : 0;
	least->count = least->error + 1;
	least->hash = hash;
	least->kinds = 1u << kind;
	least->last = *ip;
	size_t n = name.n < ATTACK_NAME - 1 ? name.n : ATTACK_NAME - 1;
	memcpy(least->name, name.p, n);
	memset(least->name + n, 0, ATTACK_NAME - n);
}

static struct day *day_of(struct book *b, int64_t now_s)
{
	int64_t number = now_s / DAY_S;
	struct day *d = &b->days[number % ATTACK_DAYS];
	if (d->number != number) {
		memset(d, 0, sizeof *d);
		d->number = number;
	}
	return d;
}

static void network_name(struct buf *out, const struct net_ip *ip)
{
	struct net_ip network = *ip;
	memset(network.bytes + (ip->is_v4 ? 15 : 6), 0, ip->is_v4 ? 1 : 10);
	net_ip_print(out, &network);
	buf_add(out, ip->is_v4 ? SLICE("/24") : SLICE("/48"));
}

static uint64_t hash_of(const struct book *b, struct slice name)
{
	uint64_t hash = hash_bytes(&b->key, name);
	return hash ? hash : 1;
}

static uint64_t cost_of(const struct attack *what)
{
	uint64_t message = what->kind == ATTACK_DSN ? 0 : what->size; /* a success report returns the header section alone */
	return (message < RETURNED_MAX ? message : RETURNED_MAX) + RETURNED_OVERHEAD;
}

void attacks_note_report(struct attacks *a, unsigned kind, bool allowed)
{
	if (!a || kind >= ATTACK_REPORTS || !lock(a->book))
		return;
	a->book->totals.reports[kind][allowed]++;
	pthread_mutex_unlock(&a->book->lock);
}

void attacks_note(struct attacks *a, const struct attack *what)
{
	if (!a || what->now_s < DAY_S)
		return;
	struct book *b = a->book;
	struct buf network = BUF_INIT(ATTACK_NAME + 8);
	network_name(&network, &what->ip);
	struct slice domain = what->domain.n ? slice_head(what->domain, ATTACK_NAME - 1) : SLICE("<>");
	uint64_t network_hash = hash_of(b, buf_slice(&network)), domain_hash = hash_of(b, domain);
	if (lock(b)) {
		struct day *d = day_of(b, what->now_s);
		d->counts[what->kind][what->answer]++;
		b->totals.counts[what->kind][what->answer]++;
		d->hours[what->now_s % DAY_S / HOUR_S]++;
		d->bounces[what->now_s % DAY_S / HOUR_S] += what->kind == ATTACK_JOE_JOB;
		if (attack_is_returned(what->kind) && !what->no_report) {
			d->spared_messages++;
			d->spared_bytes += cost_of(what);
			b->totals.spared_messages++;
			b->totals.spared_bytes += cost_of(what);
		}
		if (memcmp(what->ip.bytes, (const uint8_t[16]){ 0 }, sizeof what->ip.bytes) != 0)
			top_count(d->networks, network_hash, buf_slice(&network), what->kind, &what->ip);
		top_count(d->domains, domain_hash, domain, what->kind, &what->ip);
		pthread_mutex_unlock(&b->lock);
	}
	buf_free(&network);
}

static int by_count(const void *left, const void *right)
{
	const struct attack_top *l = left, *r = right;
	return l->count != r->count ? (l->count < r->count ? 1 : -1) : strcmp(l->name, r->name);
}

/* Lists of several days become one. */
struct merge {
	struct attack_top *rows;
	size_t count, room;
};

static void merge_add(struct merge *m, const struct top_entry *list)
{
	for (size_t i = 0; i < ATTACK_TOP && list[i].hash; i++) {
		size_t k = 0;
		while (k < m->count && strncmp(m->rows[k].name, list[i].name, ATTACK_NAME) != 0)
			k++;
		if (k == m->room)
			continue;
		if (k == m->count) {
			m->count++;
			memcpy(m->rows[k].name, list[i].name, ATTACK_NAME);
			m->rows[k].name[ATTACK_NAME - 1] = '\0'; /* the file is not trusted */
		}
		m->rows[k].count += list[i].count;
		m->rows[k].error += list[i].error;
		m->rows[k].kinds |= list[i].kinds;
		m->rows[k].last = list[i].last; /* days come in order */
	}
}

static size_t merge_end(struct merge *m, struct attack_top *out)
{
	qsort(m->rows, m->count, sizeof *m->rows, by_count);
	size_t n = m->count < ATTACK_TOP ? m->count : ATTACK_TOP;
	memcpy(out, m->rows, n * sizeof *out);
	mem_free(m->rows);
	return n;
}

static void add_day(const struct day *d, struct attack_report *out)
{
	for (size_t k = 0; k < ATTACK_KINDS; k++)
		for (size_t i = 0; i < ATTACK_ANSWERS; i++) {
			out->counts[k][i] += d->counts[k][i];
			out->attempts += d->counts[k][i];
		}
	out->spared_messages += d->spared_messages;
	out->spared_bytes += d->spared_bytes;
}

static struct merge merge_begin(void)
{
	size_t room = (size_t)ATTACK_DAYS * ATTACK_TOP;
	return (struct merge){ mem_new_array(room, sizeof(struct attack_top)), 0, room };
}

void attacks_read(struct attacks *a, int64_t since_s, int64_t now_s, struct attack_report *out)
{
	memset(out, 0, sizeof *out);
	int64_t last = now_s / DAY_S, first = since_s / DAY_S;
	if (first <= last - ATTACK_DAYS)
		first = last - ATTACK_DAYS + 1;
	out->since_s = since_s > first * DAY_S ? since_s / HOUR_S * HOUR_S : first * DAY_S;
	out->until_s = now_s;
	out->hour_count = (size_t)((now_s - out->since_s) / HOUR_S + 1);
	struct merge networks = merge_begin(), domains = merge_begin();
	if (lock(a->book)) {
		for (int64_t number = first; number <= last; number++) {
			const struct day *d = &a->book->days[number % ATTACK_DAYS];
			if (d->number != number)
				continue;
			add_day(d, out);
			merge_add(&networks, d->networks);
			merge_add(&domains, d->domains);
			for (size_t h = 0; h < 24; h++) {
				int64_t at = (number * DAY_S + (int64_t)h * HOUR_S - out->since_s) / HOUR_S;
				if (number * DAY_S + (int64_t)h * HOUR_S >= out->since_s && at < (int64_t)out->hour_count)
					out->hours[at] += d->hours[h];
			}
		}
		pthread_mutex_unlock(&a->book->lock);
	}
	out->network_count = merge_end(&networks, out->networks);
	out->domain_count = merge_end(&domains, out->domains);
}

/* Bounces of the hour that began hour * HOUR_S after 1970. */
static uint32_t bounces_of(const struct book *b, int64_t hour)
{
	const struct day *d = hour >= 0 ? &b->days[hour / 24 % ATTACK_DAYS] : NULL;
	return d && d->number == hour / 24 ? d->bounces[hour % 24] : 0;
}

void attacks_rise(const struct attacks *a, int64_t now_s, struct attack_rise *out)
{
	*out = (struct attack_rise){ 0 };
	if (!a || now_s < DAY_S)
		return;
	int64_t hour = now_s / HOUR_S, left = HOUR_S - now_s % HOUR_S;
	uint64_t before = 0;
	for (int i = 2; i < 2 + ATTACK_USUAL_HOURS; i++)
		before += bounces_of(a->book, hour - i);
	out->now = bounces_of(a->book, hour) + bounces_of(a->book, hour - 1) * (uint64_t)left / HOUR_S;
	out->usual_tenths = before * 10 / ATTACK_USUAL_HOURS;
	out->rising = out->now >= ATTACK_RISE_LEAST && out->now * 10 > out->usual_tenths * ATTACK_RISE_TIMES;
}

void attacks_totals(struct attacks *a, struct attack_totals *out)
{
	*out = (struct attack_totals){ 0 };
	if (lock(a->book)) {
		*out = a->book->totals;
		pthread_mutex_unlock(&a->book->lock);
	}
}

uint64_t attack_withheld(const struct attack_report *r)
{
	uint64_t sum = 0;
	for (unsigned k = 0; k < ATTACK_KINDS; k++)
		sum += r->counts[k][ATTACK_WITHHELD];
	return sum;
}

uint64_t attack_total(const struct attack_report *r, enum attack_kind kind)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < ATTACK_ANSWERS; i++)
		sum += r->counts[kind][i];
	return sum;
}
