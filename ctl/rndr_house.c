/* The house's answers are lines of numbers, in the order in which the marks were told; what is new since the last answer is told to the check. */
#include "ctl/rndr_house.h"

#include <unistd.h>

#include "base/general_settings.h"
#include "base/mem.h"
#include "base/scan.h"
#include "ctl/web_settings.h"

enum { ASK_MS = 500, MAX_ANSWER = 4096, PATIENCE = 100 };

struct rndr_house {
	struct ctl *ctl;
	struct rndr_check *check;
	struct loop_timer *next;
	const char *marks[RNDR_WAYS];
	uint64_t counts[RNDR_WAYS], bytes[RNDR_WAYS]; /* told to the check */
};

int rndr_house_domain(struct ctl *c, struct slice *probe_domain)
{
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (!web_settings.listen_http.n || !web_settings.listen_catch.n)
		return ctl_fail(CTL_CONFIG, "this Porter listens for no returns: set listen-http and listen-rndr-catch in porter.conf");
	*probe_domain = web_settings.probe_domain.n ? web_settings.probe_domain : general_settings.hostname;
	return 0;
}

static bool read_line(struct slice *text, uint64_t *count, uint64_t *bytes, uint64_t *body)
{
	struct slice line, rest;
	if (!scan_line(text, &line))
		return false;
	struct slice first = slice_cut(line, ' ', &rest), last, second = slice_cut(rest, ' ', &last);
	return scan_uint_all(first, UINT32_MAX, count) && scan_uint_all(second, UINT64_MAX / 2, bytes) && scan_uint_all(last, 1, body);
}

static void take(struct rndr_house *h, unsigned way, uint64_t count, uint64_t bytes, bool body)
{
	struct buf path = BUF_INIT(600);
	buf_addf(&path, "%s@%.*s", h->marks[way], SLICE_FMT(rndr_check_setup(h->check)->probe_domain));
	for (; h->counts[way] < count; h->counts[way]++) {
		rndr_check_return(h->check, buf_slice(&path), bytes - h->bytes[way], body);
		h->bytes[way] = bytes;
	}
	buf_free(&path);
}

static void ask(void *arg)
{
	struct rndr_house *h = arg;
	const char *words[] = { "caught", h->marks[0] };
	struct buf answer = BUF_INIT(MAX_ANSWER);
	if (ctl_ask(h->ctl, "web", words, 2, &answer) == 0) {
		struct slice text = buf_slice(&answer);
		uint64_t count, bytes, body;
		for (unsigned w = 0; w < RNDR_WAYS && read_line(&text, &count, &bytes, &body); w++)
			take(h, w, count, bytes, body);
	}
	buf_free(&answer);
	loop_timer_set(h->next, ASK_MS);
}

int rndr_house_begin(struct ctl *c, struct loop *l, struct rndr_check *check, struct rndr_house **out)
{
	struct rndr_house *h = MEM_NEW(struct rndr_house);
	const char *words[RNDR_WAYS + 1] = { "catch" };
	struct buf answer = BUF_INIT(MAX_ANSWER);
	*h = (struct rndr_house){ .ctl = c, .check = check };
	for (unsigned w = 0; w < RNDR_WAYS; w++)
		words[w + 1] = h->marks[w] = arena_cstr(&c->mem, rndr_check_mark(check, (enum rndr_way)w, &c->mem));
	int code = ctl_ask(c, "web", words, RNDR_WAYS + 1, &answer);
	for (int i = 0; i < PATIENCE && code == CTL_UNAVAILABLE; i++) {
		usleep(100000);         /* the house has only just begun, or its process comes back */
		code = ctl_ask(c, "web", words, RNDR_WAYS + 1, &answer);
	}
	buf_free(&answer);
	if (code) {
		mem_free(h);
		return ctl_fail(code < 0 ? CTL_UNAVAILABLE : code, "the running Porter does not catch for this check: %s",
		                code < 0 ? "it does not answer" : "it catches for others already, or is an older one");
	}
	h->next = loop_timer_new(l, ask, h);
	loop_timer_set(h->next, ASK_MS);
	*out = h;
	return 0;
}

void rndr_house_free(struct rndr_house *h)
{
	if (!h)
		return;
	const char *words[] = { "caught-all", h->marks[0] };
	struct buf answer = BUF_INIT(MAX_ANSWER);
	ctl_ask(h->ctl, "web", words, 2, &answer);
	buf_free(&answer);
	loop_timer_free(h->next);
	mem_free(h);
}
