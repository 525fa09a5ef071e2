/* The conversation: MAIL, recipients, content, and what each reply means. Told answers are kept: a host that replaces another is asked again for what was
 * promised, and a promise that it does not renew makes the content a 451. */
#include "delivery/attempt.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "delivery/attempt_inside.h"
#include "queue/envelope.h"

static const struct client_offer *offer(const struct attempt *a)
{
	return client_offer(a->link->client);
}

/* -- what the host must offer ---------------------------------------------------------------------------------------------------------- */

static bool holds_utf8(const struct attempt *a)
{
	return a->envelope.flags & HOP_UTF8 || !slice_is_ascii(a->envelope.reverse_path);
}

/* 6531, 3.4: MAIL announces it also for the recipients' sake; an alias of ours leads from an ASCII message to them. */
static bool needs_utf8(const struct attempt *a)
{
	bool needs = holds_utf8(a);
	for (size_t i = 0; i < a->count && !needs; i++)
		needs = !slice_is_ascii(a->rcpts[i].is.address);
	return needs;
}

/* What is left of the time; 0 or less: nothing. */
static int64_t time_left_s(const struct attempt *a)
{
	return (int64_t)a->envelope.deliver_by_s - clock_wall_s();
}

/* RFC 2852: in mode R a message is not given to who doesn't take the deadline over. A host of LMTP is no relay. */
static bool keeps_deadline(const struct attempt *a, struct mail_status *s)
{
	const struct client_offer *o = offer(a);
	if (a->lmtp || !a->envelope.deliver_by_s || !(a->envelope.flags & HOP_BY_RETURN))
		return true;
	if (!o->deliver_by)
		*s = MAIL_STATUS(MAIL_NEVER, 550, 3, 3, "The next hop does not support DELIVERBY, and the message may not be handed on without it");
	else if (time_left_s(a) < 1 || (uint64_t)time_left_s(a) < o->by_least_s)
		*s = MAIL_STATUS(MAIL_NEVER, 550, 4, 7, "The next hop needs more time than is left for delivery");
	else
		return true;
	return false;
}

/* Another host of the place may offer what this one doesn't; for REQUIRETLS each is to be asked (8689, 4.2.1). A kept connection is to one of them: the others are looked for. */
static bool goes_elsewhere(struct attempt *a, struct mail_status s)
{
	while (a->resolved && a->next + 1 < a->target_count && slice_eq(a->targets[a->next].host, a->targets[a->next + 1].host))
		a->next++;
	if (a->resolved && a->next + 1 >= a->target_count)
		return false;
	if (!a->resolved)
		a->next = (size_t)-1; /* attempt_next_host adds one */
	a->dials = true;
	attempt_next_host(a, s);
	return true;
}

bool attempt_may_serve(struct attempt *a)
{
	const struct client_offer *o = offer(a);
	const struct tls_info *tls = client_tls_info(a->link->client);
	struct mail_status s = MAIL_STATUS_OK;
	if (holds_utf8(a) && !o->utf8)
		s = MAIL_STATUS(MAIL_NEVER, 550, 6, 7, "The next hop does not take SMTPUTF8");
	else if (attempt_requires_tls(a) && !(tls && tls->verified && o->require_tls))
		s = MAIL_STATUS(MAIL_NEVER, 550, 7, 30, "The next hop does not support REQUIRETLS");
	else if (o->size_limit && a->envelope.size > o->size_limit)
		s = MAIL_STATUS(MAIL_NEVER, 552, 3, 4, "Message too large for the next hop");
	if (s.fate == MAIL_OK && keeps_deadline(a, &s))
		return true;
	if (goes_elsewhere(a, s))
		return false;
	a->over = true;
	a->down = false;
	a->last = attempt_of_place(a, s);
	attempt_refuse_all(a, a->last, SLICE_NONE);
	return false;
}

/* -- telling ------------------------------------------------------------------------------------------------------------------------------ */

void attempt_tell_rcpt(struct attempt *a, size_t index, struct mail_status s, struct slice reply)
{
	struct attempt_recipient *r = &a->rcpts[index];
	if (r->told)
		return;
	r->told = true;
	r->yes = s.fate == MAIL_OK;
	if (!r->yes)
		r->state = RCPT_NO;
	a->untold--;
	attempt_set_budget(a);
	a->handler->on_rcpt(a->arg, index, &s, reply);
}

static size_t count_yes(const struct attempt *a)
{
	size_t n = 0;
	for (size_t i = 0; i < a->count; i++)
		n += a->rcpts[i].yes;
	return n;
}

/* What is heard of one recipient holds by itself in LMTP (2033, 4.2). In PRDR a 250 to one is worth nothing unless the last reply, s, is good as well. */
static bool holds(const struct attempt *a, size_t i, const struct mail_status *s)
{
	return i < a->each_heard && (a->lmtp || a->each[i].fate != MAIL_OK || s->fate == MAIL_OK);
}

/* The content's end. s: of each; the statuses in a->each are used where they were heard and hold. */
static void tell_content(struct attempt *a, struct mail_status s, struct slice reply, bool late)
{
	size_t count = count_yes(a);
	struct hop_content_done d = { .status = s, .count = count, .each = mem_new_array(count, sizeof *d.each) };
	for (size_t i = 0; i < count; i++) {
		d.each[i] = holds(a, i, &s) ? a->each[i] : s;
		if (d.each[i].fate != d.each[0].fate || d.each[i].code != d.each[0].code)
			d.mixed = true;
	}
	if (count)
		d.status = d.mixed ? MAIL_STATUS_UNSURE("The recipients' answers differ, try again") : d.each[0];
	d.facts = *attempt_facts(a);
	if (!late)
		loop_timer_stop(a->budget);
	if (late)
		a->handler->on_late(a->arg, &d);
	else
		a->handler->on_content(a->arg, &d, reply);
	mem_free(d.each);
}

/* All that is open gets s: recipients without an answer, and the content. */
void attempt_refuse_all(struct attempt *a, struct mail_status s, struct slice reply)
{
	for (size_t i = 0; i < a->count && !a->freed; i++)
		attempt_tell_rcpt(a, i, s, reply);
	if (a->freed || a->content == CONTENT_NONE || a->content >= CONTENT_TOLD)
		return;
	a->content = CONTENT_TOLD;
	/* what was promised is withdrawn by a 4xx at the most: a refusal at MAIL or RCPT is none of the content */
	bool promised = count_yes(a) > 0;
	tell_content(a, promised && s.fate == MAIL_NEVER ? MAIL_STATUS_UNSURE("The next hop changed its mind, try again") : s, reply, false);
}

void attempt_content_lost(struct attempt *a, struct mail_status s)
{
	if (a->content == CONTENT_LATE) {
		a->content = CONTENT_TOLD;
		a->handler->on_late(a->arg, NULL);
		return;
	}
	if (a->content >= CONTENT_TOLD)
		return;
	a->unknown = a->dot_sent;
	a->content = CONTENT_TOLD;
	tell_content(a, a->dot_sent ? MAIL_STATUS(MAIL_LATER, 451, 4, 2, "The next hop's reply was lost, try again later") : s, SLICE_NONE, false);
	if (a->unknown && !a->freed)
		a->handler->on_late(a->arg, NULL);
}

void attempt_content_late(struct attempt *a)
{
	a->dot_sent = a->unknown = true;
	a->content = CONTENT_LATE;
	tell_content(a, MAIL_STATUS(MAIL_LATER, 451, 4, 2, "The next hop's reply is late, try again later"), SLICE_NONE, false);
}

/* -- saying --------------------------------------------------------------------------------------------------------------------------------- */

static void say_mail(struct attempt *a)
{
	const struct hop_envelope *e = &a->envelope;
	struct client_mail m = {
		.reverse_path = e->reverse_path, .size = e->size, .utf8 = needs_utf8(a), .require_tls = e->flags & HOP_REQUIRETLS && client_tls_info(a->link->client),
		.prdr = e->flags & HOP_PRDR,
		.eight_bit = true, /* declared wherever it is offered: what the content holds is known too late, and saying so costs nothing (6152, 3) */
		.ret = e->flags & HOP_RETURN_FULL && !(e->flags & HOP_REQUIRETLS) ? 'F' : e->flags & (HOP_RETURN_FULL | HOP_RETURN_HEADERS) ? 'H' : 0, /* 8689, 5 */
		.envelope_id = e->envelope_id,
		.by_mode = !e->deliver_by_s ? 0 : e->flags & HOP_BY_RETURN ? 'R' : 'N', .by_trace = e->flags & HOP_BY_TRACE, .by_s = time_left_s(a),
		.priority = e->priority ? e->priority - HOP_PRIORITY_BASE : 0
	};
	client_mail(a->link->client, &m);
	a->talk = TALK_MAIL;
}

/* RFC 2852, 4.1.4.2: where a deadline of mode N is not taken over, the host is asked to tell of delays. */
static unsigned notify_of(const struct attempt *a, const struct hop_recipient *r)
{
	bool ends_here = a->envelope.deliver_by_s && !(a->envelope.flags & HOP_BY_RETURN) && !offer(a)->deliver_by && !a->lmtp && time_left_s(a) > 0;
	return !ends_here || r->notify & NOTIFY_NEVER ? r->notify : (r->notify ? r->notify : NOTIFY_FAILURE) | NOTIFY_DELAY;
}

static void say_rcpt(struct attempt *a, size_t index)
{
	struct attempt_recipient *r = &a->rcpts[index];
	const struct client_offer *o = offer(a);
	if (o->rcpt_max && index >= o->rcpt_max && !r->yes) { /* 9422, 4.2 */
		r->over_limit = true;
		attempt_tell_rcpt(a, index, MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Too many recipients for the next hop"), SLICE_NONE);
	} else if (!slice_is_ascii(r->is.address) && o->utf8 && !client_utf8_said(a->link->client)) {
		attempt_tell_rcpt(a, index, MAIL_STATUS(MAIL_LATER, 452, 5, 3, "This recipient needs SMTPUTF8, send it in another transaction"), SLICE_NONE);
	} else if (!o->utf8 && !slice_is_ascii(r->is.address)) {
		attempt_tell_rcpt(a, index, MAIL_STATUS(MAIL_NEVER, 553, 6, 7, "The next hop does not take SMTPUTF8 addresses"), SLICE_NONE);
	} else {
		client_rcpt(a->link->client, index, r->is.address, r->is.original, notify_of(a, &r->is));
		r->state = RCPT_ASKED;
	}
}

static bool all_answered(const struct attempt *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->rcpts[i].state == RCPT_NEW || a->rcpts[i].state == RCPT_ASKED)
			return false;
	return true;
}

static bool content_fits(struct attempt *a, struct mail_status *s)
{
	const struct client_offer *o = offer(a);
	if (body_is_eight_bit(a->body) && !o->eight_bit)
		*s = MAIL_STATUS(MAIL_NEVER, 550, 6, 3, "The next hop does not take 8-bit content, and this server does not convert");
	else if (o->size_limit && body_length(a->body) > o->size_limit)
		*s = MAIL_STATUS(MAIL_NEVER, 552, 3, 4, "Message too large for the next hop");
	else
		return true;
	return false;
}

static bool by_chunks(const struct attempt *a)
{
	return a->hops->chunking && offer(a)->chunking && !a->lmtp && body_is_exact(a->body) && !(a->envelope.flags & HOP_PRDR && offer(a)->prdr);
}

static void forget_replies(struct attempt *a)
{
	mem_free(a->each);
	a->each_count = count_yes(a);
	a->each = mem_new_array(a->each_count, sizeof *a->each);
	a->each_heard = 0;
}

static void end_content(struct attempt *a, struct mail_status s, struct slice reply)
{
	a->content = CONTENT_TOLD;
	tell_content(a, s, reply, false);
}

/* Every recipient has its answer and nothing was said about content yet. */
static void begin_content(struct attempt *a)
{
	struct mail_status s;
	if (count_yes(a) == 0) {
		end_content(a, MAIL_STATUS_UNSURE("No recipient was accepted"), SLICE_NONE);
	} else if (a->broken) {
		end_content(a, MAIL_STATUS_UNSURE("The next hop changed its mind, try again"), SLICE_NONE);
	} else if (!content_fits(a, &s)) {
		end_content(a, attempt_of_place(a, s), SLICE_NONE);
	} else if (by_chunks(a)) {
		forget_replies(a);
		a->content = CONTENT_GOES;
		a->by_chunks = true;
		client_chunks(a->link->client, a->body);
	} else {
		a->content = CONTENT_ASKED;
		client_data(a->link->client);
	}
}

/* DATA may ride with the recipients where nothing else decides (2920, 3.1): one round trip less for every message. */
static void data_ahead(struct attempt *a)
{
	struct mail_status s;
	if (offer(a)->pipelining && a->count && !a->broken && content_fits(a, &s) && !by_chunks(a)) {
		a->content = CONTENT_ASKED;
		client_data(a->link->client);
	}
}

void attempt_talk(struct attempt *a)
{
	if (a->freed || a->over || !a->link || a->content >= CONTENT_TOLD)
		return;
	if (a->talk == TALK_NONE)
		say_mail(a);
	for (size_t i = 0; i < a->count && !a->freed; i++)
		if (a->rcpts[i].state == RCPT_NEW)
			say_rcpt(a, i);
	if (a->freed || a->over)
		return;
	if (a->content == CONTENT_WAITS && a->talk == TALK_OPEN && all_answered(a))
		begin_content(a);
	else if (a->content == CONTENT_WAITS && a->talk == TALK_MAIL)
		data_ahead(a);
	if (!a->freed && a->link)
		client_go(a->link->client);
}

/* -- hearing ---------------------------------------------------------------------------------------------------------------------------------- */

static bool more_hosts(const struct attempt *a)
{
	return a->next + 1 < a->target_count;
}

static struct slice words_of(struct attempt *a, const struct mail_reply *r)
{
	struct buf text = BUF_INIT(1024);
	struct mail_status s = mail_reply_status(r, &a->words);
	buf_addf(&text, "%u ", r->code);
	if (s.enhanced[0] || s.enhanced[1])
		buf_addf(&text, "%u.%u.%u ", r->code / 100, s.enhanced[0], s.enhanced[1]);
	buf_add(&text, s.text);
	struct slice words = arena_copy(&a->words, buf_slice(&text));
	buf_free(&text);
	return words;
}

/* What a kept connection is put off with may be for what it carried before (so many messages, so many unknown recipients), and no word of this sender or recipient: the host is asked
 * anew. A 503 says that it counts otherwise than we do. */
static bool is_worn(struct attempt *a, const struct mail_reply *r, bool any)
{
	bool worn = !a->fresh && (r->code == 421 || (any && (r->code / 100 == 4 || r->code == 503)));
	a->dials |= worn;
	return worn;
}

static void mail_replied(struct attempt *a, const struct mail_reply *r)
{
	struct mail_status s = mail_reply_status(r, &a->words);
	if (s.fate == MAIL_OK) {
		a->talk = TALK_OPEN;
	} else if (is_worn(a, r, true)) {
		attempt_same_host(a);
	} else if (s.fate == MAIL_LATER && more_hosts(a)) {
		a->down = false;
		attempt_next_host(a, s);
	} else {
		a->over = true;
		a->down = false;
		a->last = attempt_keep(a, s);
		client_unsay(a->link->client);
		attempt_refuse_all(a, a->last, words_of(a, r));
	}
}

static void rcpt_replied(struct attempt *a, size_t index, const struct mail_reply *r)
{
	struct attempt_recipient *rcpt = &a->rcpts[index];
	struct mail_status s = mail_reply_status(r, &a->words);
	if (s.fate != MAIL_OK && rcpt->yes)
		a->broken = true;
	if (r->code == 452 && index > 0 && count_yes(a) > 0)
		rcpt->over_limit = true; /* 5321, 4.5.3.1.10: maybe it's one too many */
	rcpt->heard = true;
	rcpt->state = s.fate == MAIL_OK ? RCPT_YES : RCPT_NO;
	attempt_tell_rcpt(a, index, s, words_of(a, r));
}

/* 354: content goes if there is anybody to get it; with nobody left the dot alone (2920, 3.1), and with a promise broken nothing may go at all. */
static void data_replied(struct attempt *a, const struct mail_reply *r)
{
	if (r->code / 100 == 3 && a->broken) {
		attempt_drop_link(a);
		end_content(a, MAIL_STATUS_UNSURE("The next hop changed its mind, try again"), SLICE_NONE);
	} else if (r->code / 100 == 3 && count_yes(a)) {
		forget_replies(a);
		a->content = CONTENT_GOES;
		a->by_chunks = false;
		client_body(a->link->client, a->body);
	} else if (r->code / 100 == 3) {
		client_body(a->link->client, NULL);
		end_content(a, MAIL_STATUS_UNSURE("No recipient was accepted"), SLICE_NONE);
	} else if (count_yes(a)) {
		struct mail_status s = mail_reply_status(r, &a->words);
		end_content(a, s.fate == MAIL_OK ? MAIL_STATUS_UNSURE("The next hop answered DATA wrongly") : s, words_of(a, r));
	} else {
		end_content(a, MAIL_STATUS_UNSURE("No recipient was accepted"), SLICE_NONE);
	}
}

static void content_replied(struct attempt *a, struct client *c, size_t index, const struct mail_reply *r)
{
	struct mail_status s = mail_reply_status(r, &a->words);
	bool whole = client_is_idle(c), late = a->content == CONTENT_LATE;
	if (a->content != CONTENT_GOES && !late)
		return;
	a->dot_sent = client_dot_sent(c);
	if (index < a->each_count && index == a->each_heard)
		a->each[a->each_heard++] = attempt_keep(a, s);
	if (a->dot_sent && !whole)
		return; /* LMTP, PRDR: more come */
	if (!a->dot_sent && s.fate == MAIL_OK)
		s = MAIL_STATUS_UNSURE("The next hop answered before the end");
	if (!a->lmtp && a->each_heard == 1) /* one for all */
		for (; a->each_heard < a->each_count; a->each_heard++)
			a->each[a->each_heard] = a->each[0];
	a->unknown = false;
	a->talk = s.fate != MAIL_OK && a->by_chunks ? TALK_OPEN : TALK_NONE; /* 3030, 2: what state a refused chunk leaves is not said */
	a->content = CONTENT_TOLD;
	tell_content(a, s, words_of(a, r), late);
}

void attempt_on_reply(void *arg, struct client *c, enum client_step step, size_t index, const struct mail_reply *r)
{
	struct attempt *a = arg;
	attempt_hold(a);
	arena_reset(&a->words);
	switch (step) {
	case CLIENT_MAIL:
		mail_replied(a, r);
		break;
	case CLIENT_RCPT:
		if (!a->over && !is_worn(a, r, false)) /* its end comes next, and all are asked for anew */
			rcpt_replied(a, index, r);
		break;
	case CLIENT_DATA:
		if (a->content == CONTENT_ASKED && !is_worn(a, r, false))
			data_replied(a, r);
		else if (r->code / 100 == 3)
			attempt_drop_link(a); /* MAIL was refused, DATA had gone with it, and it waits for content */
		break;
	case CLIENT_CONTENT_REPLY:
		content_replied(a, c, index, r);
		break;
	case CLIENT_RESET: /* of the one who had the connection before */
		if (r->code / 100 != 2)
			attempt_same_host(a);
		break;
	}
	if (!a->freed && !a->over && a->ready)
		attempt_talk(a);
	attempt_let_go(a);
}
