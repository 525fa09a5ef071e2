/* Helpers that fetch policies: at most a few side by side, each with a channel on which it answers. */
#include "delivery/sts_house.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/field.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "delivery/tls_policy_settings.h"

struct helper {
	struct sts_house *owner;
	struct ipc *channel;
	char *domain, *id;            /* NULL: it tells what is on disk, or has answered */
	bool loads;                   /* it tells what is on disk */
	struct helper *next;
};

struct sts_house {
	struct house *house;
	struct sts *sts;
	struct helper *helpers;
	size_t count;
	uint64_t last_id;
	struct loop_timer *begin, *hour;
};

static void helper_free(struct helper *h)
{
	struct helper **at = &h->owner->helpers;
	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	h->owner->count--;
	ipc_free(h->channel);
	mem_free(h->domain);
	mem_free(h->id);
	mem_free(h);
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct helper *h = arg;
	struct slice in = m->payload, v, domain = SLICE_NONE, id = SLICE_NONE, text = SLICE_NONE;
	uint64_t fetched = 0, end = HTTPS_GOOD;
	uint8_t tag;
	(void)from;
	while (field_next(&in, &tag, &v)) {
		if (tag == STS_TAG_DOMAIN)
			domain = v;
		else if (tag == STS_TAG_ID)
			id = v;
		else if (tag == STS_TAG_TEXT)
			text = v;
		else if (!(tag == STS_TAG_FETCHED && field_uint(v, INT64_MAX, &fetched)) && !(tag == STS_TAG_END && field_uint(v, HTTPS_FAILED, &end)))
			return -EPROTO;
	}
	if (m->type != STS_FETCHED || in.n || (h->domain && !slice_eq(domain, slice_of(h->domain))))
		return -EPROTO;
	mem_free(h->domain); /* answered */
	h->domain = NULL;
	if (end == HTTPS_GOOD)
		sts_fetched(h->owner->sts, domain, id, text, (int64_t)fetched);
	else
		sts_lost(h->owner->sts, domain, id, (enum https_end)end);
	return 0;
}

static void on_close(void *arg, struct ipc *which)
{
	struct helper *h = arg;
	struct sts *sts = h->owner->sts;
	char *domain = h->domain, *id = h->id;
	h->domain = h->id = NULL;
	bool loads = h->loads;
	h->channel = NULL;
	ipc_free(which);
	helper_free(h);
	if (loads)
		sts_loading(sts, false);
	if (domain)
		sts_lost(sts, slice_of(domain), slice_of(id), HTTPS_FAILED); /* it ended without a word */
	mem_free(domain);
	mem_free(id);
}

static int start(struct sts_house *s, const struct slice *words, size_t count, struct slice domain, struct slice id)
{
	static const struct ipc_handler handler = { on_message, on_close };
	int fds[2], error = s->count >= STS_MAX_HELPERS ? -EAGAIN : ipc_pair(fds);
	if (error)
		return error;
	fcntl(fds[1], F_SETFL, 0); /* the helper waits when it writes */
	error = house_helper(s->house, ++s->last_id, SLICE("sts"), SLICE_NONE, SLICE_NONE, words, count, fds[1]);
	close(fds[1]);
	if (error) {
		close(fds[0]);
		return error;
	}
	struct helper *h = MEM_NEW(struct helper);
	*h = (struct helper){ s, NULL, domain.n ? mem_copy(domain.p, domain.n) : NULL, domain.n ? mem_copy(id.p, id.n) : NULL, !domain.n, s->helpers };
	s->helpers = h;
	s->count++;
	h->channel = ipc_new(s->house->loop, fds[0], &handler, h);
	return 0;
}

static int fetch(void *how, struct slice domain, struct slice id)
{
	struct slice words[] = { tls_policy_settings.sts_directory, tls_policy_settings.sts_connect, tls_settings.roots, domain, id };
	return start(how, words, 5, domain, id);
}

/* Once the parent can be asked. */
static void load(void *arg)
{
	struct sts_house *s = arg;
	struct slice words[] = { tls_policy_settings.sts_directory };
	int error = start(s, words, 1, SLICE_NONE, SLICE_NONE);
	if (!error)
		return;
	log_event(LOG_WARN, "sts-load", LOG_ERRNO(error), LOG_END);
	sts_loading(s->sts, false);
}

enum { MINUTE_MS = 60000, HOUR_MS = 60 * MINUTE_MS };

static void an_hour_is_over(void *arg)
{
	struct sts_house *s = arg;
	bool more = sts_refresh(s->sts);
	loop_timer_set(s->hour, more ? MINUTE_MS : HOUR_MS);
}

struct sts_house *sts_house_new(struct house *h, struct dns *d)
{
	struct sts_house *s = MEM_NEW(struct sts_house);
	s->house = h;
	s->sts = sts_new(h->loop, d, fetch, s);
	sts_loading(s->sts, true);
	s->begin = loop_timer_new(h->loop, load, s);
	loop_timer_set(s->begin, 0);
	s->hour = loop_timer_new(h->loop, an_hour_is_over, s);
	loop_timer_set(s->hour, HOUR_MS);
	return s;
}

struct sts *sts_house_sts(struct sts_house *s)
{
	return s->sts;
}

void sts_house_free(struct sts_house *s)
{
	while (s->helpers)
		helper_free(s->helpers);
	loop_timer_free(s->begin);
	loop_timer_free(s->hour);
	sts_free(s->sts);
	mem_free(s);
}
