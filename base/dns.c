/* Questions: names are checked, time is limited, and an answer is given once, from the loop. Where it comes from is the source's matter. */
#include "base/dns.h"

#include "base/dns_source.h"
#include "base/mem.h"
#include "base/text.h"

struct dns {
	struct loop *loop;
	const struct dns_source *source;
	void *self;
	uint64_t timeout_ms;
};

struct dns_query {
	struct dns *owner;
	struct loop_timer *timer;     /* the time limit; at once for a bad name */
	void *ticket;
	bool asked;
	void (*done)(void *arg, const struct dns_answer *a);
	void *arg;
};

struct dns *dns_of_source(struct loop *l, const struct dns_source *source, void *self, uint64_t timeout_ms)
{
	struct dns *d = MEM_NEW(struct dns);
	*d = (struct dns){ l, source, self, timeout_ms ? timeout_ms : 10000 };
	return d;
}

struct dns *dns_new_asking(struct loop *l, uint64_t timeout_ms)
{
	const struct dns_source *source;
	void *self = dns_link_new(l, &source);
	return dns_of_source(l, source, self, timeout_ms);
}

void dns_attach(struct dns *d, int fd)
{
	dns_link_attach(d->self, fd);
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	d->source->free(d->self);
	mem_free(d);
}

static void query_free(struct dns_query *q)
{
	loop_timer_free(q->timer);
	mem_free(q);
}

void dns_source_answer(struct dns_query *q, const struct dns_answer *a)
{
	void (*done)(void *, const struct dns_answer *) = q->done;
	void *arg = q->arg;
	query_free(q);
	done(arg, a);
}

static void on_timer(void *arg)
{
	static const struct dns_answer late = { .answer = UNSURE, .why = "timeout" };
	static const struct dns_answer broken = { .answer = UNSURE, .why = "servfail" };
	static const struct dns_answer bad_name = { .answer = ABSENT, .nxdomain = true };
	struct dns_query *q = arg;
	const struct dns_answer *a = q->asked ? &late : q->ticket ? &broken : &bad_name;
	if (q->asked)
		q->owner->source->drop(q->owner->self, q->ticket);
	dns_source_answer(q, a);
}

/* Labels of 1..63 bytes, printable ASCII; 253 in all. */
static bool is_name(struct slice name)
{
	if (!name.n || name.n > 253)
		return false;
	while (name.p) {
		struct slice label = slice_cut(name, '.', &name);
		if (!label.n || label.n > 63)
			return false;
		for (size_t i = 0; i < label.n; i++)
			if (!text_is_print((unsigned char)label.p[i]))
				return false;
	}
	return true;
}

struct dns_query *dns_ask(struct dns *d, enum dns_type type, struct slice name, void (*done)(void *arg, const struct dns_answer *a), void *arg)
{
	struct dns_query *q = MEM_NEW(struct dns_query);
	*q = (struct dns_query){ .owner = d, .done = done, .arg = arg };
	q->timer = loop_timer_new(d->loop, on_timer, q);
	char text[256];
	uint64_t wait = 0;
	if (is_name(name)) {
		for (size_t i = 0; i < name.n; i++)
			text[i] = text_lower_byte(name.p[i]);
		text[name.n] = 0;
		q->asked = d->source->ask(d->self, q, type, text, &q->ticket) == 0;
		if (q->asked)
			wait = d->timeout_ms;
		else
			q->ticket = q; /* on_timer tells it from a bad name */
	}
	loop_timer_set(q->timer, wait);
	return q;
}

void dns_cancel(struct dns_query *q)
{
	if (!q)
		return;
	if (q->asked)
		q->owner->source->drop(q->owner->self, q->ticket);
	query_free(q);
}

/* -- rdata ---------------------------------------------------------------------------------------------------------------- */

/* A name in wire form, all of it uncompressed; the root is "". */
static bool read_name(struct slice *in, struct arena *mem, struct slice *out)
{
	char text[256];
	size_t n = 0;
	for (;;) {
		size_t length = in->n ? (unsigned char)in->p[0] : 64;
		if (length > 63 || length + 1 > in->n || n + length + 1 > sizeof text)
			return false;
		for (size_t i = 1; i <= length; i++)
			if (!text_is_print((unsigned char)in->p[i]) || in->p[i] == '.')
				return false;
		if (length && n)
			text[n++] = '.';
		for (size_t i = 1; i <= length; i++)
			text[n++] = text_lower_byte(in->p[i]);
		*in = slice_skip(*in, length + 1);
		if (!length)
			break;
	}
	*out = arena_copy(mem, slice(text, n));
	return out->p != NULL;
}

static bool read_txt(struct slice in, struct arena *mem, struct slice *out)
{
	char *to = arena_new(mem, in.n + 1);
	size_t n = 0;
	while (to && in.n) {
		size_t length = (unsigned char)in.p[0];
		if (length + 1 > in.n)
			return false;
		memcpy(to + n, in.p + 1, length);
		n += length;
		in = slice_skip(in, length + 1);
	}
	*out = slice(to, n);
	return to != NULL;
}

bool dns_read_rdata(enum dns_type type, struct slice rdata, struct arena *mem, struct dns_record *out)
{
	*out = (struct dns_record){ 0 };
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		out->data = arena_copy(mem, rdata);
		return out->data.p && rdata.n == (type == DNS_A ? 4 : 16);
	case DNS_TLSA:
		out->data = arena_copy(mem, rdata);
		return out->data.p && rdata.n >= 3;
	case DNS_TXT:
		return read_txt(rdata, mem, &out->data);
	case DNS_MX:
		if (rdata.n < 3)
			return false;
		out->preference = (uint16_t)((unsigned char)rdata.p[0] << 8 | (unsigned char)rdata.p[1]);
		rdata = slice_skip(rdata, 2);
		return read_name(&rdata, mem, &out->data) && !rdata.n;
	case DNS_CNAME:
	case DNS_PTR:
		return read_name(&rdata, mem, &out->data) && !rdata.n;
	}
	return false;
}
