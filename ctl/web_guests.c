/* A table of marks with what came for them. Whoever may ask by the control socket runs this house; what comes by SMTP is matched whole. */
#include "ctl/web_guests.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { MAX_MARK = 128, KEPT_S = 2 * 86400 };

struct mark {
	char text[MAX_MARK];
	size_t n;
	uint64_t count, bytes;
	bool body;
};

struct guest {
	size_t mark_count;            /* 0: free */
	int64_t since_s;
	struct mark marks[RNDR_WAYS];
};

struct web_guests {
	struct guest guests[WEB_GUESTS];
};

struct web_guests *web_guests_new(void)
{
	return MEM_NEW(struct web_guests);
}

void web_guests_free(struct web_guests *g)
{
	mem_free(g);
}

static struct mark *find(struct web_guests *g, struct slice mark, struct guest **whose)
{
	for (size_t i = 0; i < WEB_GUESTS; i++)
		for (size_t k = 0; k < g->guests[i].mark_count; k++)
			if (slice_eq_secret(slice(g->guests[i].marks[k].text, g->guests[i].marks[k].n), mark)) {
				*whose = &g->guests[i];
				return &g->guests[i].marks[k];
			}
	return NULL;
}

/* A free place, or that of the oldest whose time is over. */
static struct guest *place(struct web_guests *g)
{
	int64_t now = clock_wall_s();
	for (size_t i = 0; i < WEB_GUESTS; i++)
		if (!g->guests[i].mark_count || now - g->guests[i].since_s > KEPT_S)
			return &g->guests[i];
	return NULL;
}

static int take_marks(struct web_guests *g, const struct slice *marks, size_t count)
{
	struct guest *new = place(g);
	for (size_t i = 0; i < count; i++)
		if (!marks[i].n || marks[i].n >= MAX_MARK)
			return 64;
	if (!count || count > RNDR_WAYS)
		return 64;
	if (!new)
		return 75;
	memset(new, 0, sizeof *new);
	new->mark_count = count;
	new->since_s = clock_wall_s();
	for (size_t i = 0; i < count; i++) {
		memcpy(new->marks[i].text, marks[i].p, marks[i].n);
		new->marks[i].n = marks[i].n;
	}
	log_event(LOG_INFO, "rndr-catch", LOG_UINT("marks", count), LOG_END);
	return 0;
}

static int tell(struct web_guests *g, struct slice mark, bool forget, struct buf *answer)
{
	struct guest *guest;
	if (!find(g, mark, &guest))
		return 1;
	for (size_t i = 0; i < guest->mark_count; i++)
		buf_addf(answer, "%llu %llu %d\n", (unsigned long long)guest->marks[i].count, (unsigned long long)guest->marks[i].bytes, guest->marks[i].body);
	if (forget)
		guest->mark_count = 0;
	return 0;
}

int web_guests_ask(struct web_guests *g, const struct slice *words, size_t count, struct buf *answer)
{
	if (count && slice_eq(words[0], SLICE("catch")))
		return take_marks(g, words + 1, count - 1);
	bool all = count == 2 && slice_eq(words[0], SLICE("caught-all"));
	if (all || (count == 2 && slice_eq(words[0], SLICE("caught"))))
		return tell(g, words[1], all, answer);
	return -ENOSYS;
}

static struct slice local_part_in(struct slice probe_domain, struct slice recipient)
{
	size_t at = slice_rfind(recipient, '@');
	return at < recipient.n && slice_eq_nocase(slice_skip(recipient, at + 1), probe_domain) ? slice_head(recipient, at) : SLICE_NONE;
}

bool web_guests_know(const struct web_guests *g, struct slice probe_domain, struct slice recipient)
{
	struct guest *ignored;
	struct slice mark = local_part_in(probe_domain, recipient);
	return mark.n && find((struct web_guests *)(uintptr_t)g, mark, &ignored);
}

void web_guests_note(struct web_guests *g, struct slice probe_domain, const struct catch_message *m)
{
	struct guest *ignored;
	struct mark *mark = find(g, local_part_in(probe_domain, m->recipient), &ignored);
	if (!mark)
		return;
	mark->count++;
	mark->bytes += m->bytes;
	mark->body |= m->body;
}
