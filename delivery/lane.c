/* Lanes: what a place has shown of itself lately. */
#include "delivery/lane.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

enum { WINDOW_FIRST = 10, MAX_LANES = 10000, REST_FIRST_MS = 5000, REST_MAX_MS = 300000 };

struct lane *lane_of(struct lane **all, struct slice place)
{
	for (struct lane **at = all; *at; at = &(*at)->next)
		if (slice_eq(buf_slice(&(*at)->place), place)) {
			struct lane *l = *at; /* to the front: busy places are found first */
			*at = l->next;
			l->next = *all;
			return *all = l;
		}
	struct lane *l = MEM_NEW(struct lane);
	*l = (struct lane){ .next = *all, .window = WINDOW_FIRST, .last = &l->first };
	buf_init(&l->place, place.n);
	buf_add(&l->place, place);
	return *all = l;
}

void lane_drop_idle(struct lane **all)
{
	struct lane **at = all;
	size_t n = 0;
	while (*at) {
		struct lane *l = *at;
		bool worth = l->jobs || (n < MAX_LANES && l->until_ms > clock_mono_ms());
		if (worth || (n < 64 && l->window > WINDOW_FIRST)) {
			at = &l->next;
			n++;
			continue;
		}
		*at = l->next;
		buf_free(&l->place);
		mem_free(l);
	}
}

void lane_learn(struct lane *l, bool failed, bool crowded, uint64_t rest_ms, unsigned max)
{
	if (!failed) {
		l->failures = 0;
		l->until_ms = 0;
		if (!crowded && l->window < max)
			l->window++;
	}
	if (failed || crowded)
		l->window = l->window > 1 ? l->window / 2 : 1;
	if (!failed)
		return;
	uint64_t rest = REST_FIRST_MS;
	for (unsigned i = 0; i < l->failures && rest < REST_MAX_MS; i++)
		rest *= 2;
	l->failures++;
	rest = rest < REST_MAX_MS ? rest : REST_MAX_MS;
	l->until_ms = clock_mono_ms() + (rest_ms > rest ? rest_ms : rest);
}

/* 4xx of the system or the network (RFC 3463: x.3, x.4), not of a mailbox, an address or a policy. */
bool lane_is_crowded(const struct mail_status *s)
{
	return s->fate == MAIL_LATER && (s->enhanced[0] == 3 || s->enhanced[0] == 4 || s->enhanced[0] == 0);
}

static bool holds(struct slice s, struct slice word)
{
	while (s.n >= word.n && !slice_starts_nocase(s, word))
		s = slice_skip(s, 1);
	return s.n >= word.n;
}

/* 421; 4.7.28 (mail flood), 4.4.5 and 4.3.2 (busy); and what hosts say with a 4.7.1 or 4.2.1, which stand for greylisting and full mailboxes just as well. */
bool lane_is_too_fast(const struct mail_status *s)
{
	static const char *const words[] = { "rate limit", "rate-limit", "ratelimit", "throttl", "too fast", "too quickly", "too many mes", "too many mail",
	                                     "too many email", "too much mail", "slow down" };
	unsigned subject = s->enhanced[0], detail = s->enhanced[1];
	if (s->fate != MAIL_LATER || subject == 5)
		return false;
	bool found = s->code == 421 || (subject == 7 && detail == 28) || (subject == 4 && detail == 5) || (subject == 3 && detail == 2);
	for (size_t i = 0; i < sizeof words / sizeof words[0] && !found; i++)
		found = holds(s->text, slice_of(words[i]));
	return found;
}

uint64_t lane_rest(const struct lane *l)
{
	uint64_t now = clock_mono_ms();
	return l->until_ms > now ? l->until_ms - now : 0;
}

void lane_report(const struct lane *all, struct buf *json)
{
	const char *before = "";
	buf_add(json, SLICE(",\"places\":["));
	for (const struct lane *l = all; l; l = l->next) {
		if (!l->jobs && !lane_rest(l))
			continue;
		buf_addf(json, "%s{\"place\":", before);
		text_add_json(json, buf_slice(&l->place));
		buf_addf(json, ",\"window\":%u,\"running\":%u,\"jobs\":%zu,\"rest_ms\":%llu}", l->window, l->running, l->jobs, (unsigned long long)lane_rest(l));
		before = ",";
	}
	buf_add_byte(json, ']');
}
