/* Paths and what they answer. Every page carries the same strict headers; everything of the asker is length-checked here and escaped by ctl/web_html.c. */
#include "ctl/web_routes.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/web_html.h"
#include "ctl/web_settings.h"

enum { MAX_PAGE = 256 << 10 };

static void set_headers(struct web_request *r)
{
	web_set_header(r, "Content-Security-Policy",
	               "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
	web_set_header(r, "X-Content-Type-Options", "nosniff");
	web_set_header(r, "Referrer-Policy", "no-referrer");
	web_set_header(r, "Cross-Origin-Opener-Policy", "same-origin");
	web_set_header(r, "Cache-Control", "no-store");
}

static void reply_page(struct web_request *r, int code, const struct buf *page)
{
	web_reply(r, code, "text/html; charset=utf-8", buf_slice(page));
}

static void reply_message(struct web_request *r, int code, const char *title, const char *text)
{
	struct buf page = BUF_INIT(MAX_PAGE);
	html_page_message(&page, slice_of(title), slice_of(text));
	reply_page(r, code, &page);
	buf_free(&page);
}

static void not_found(struct web_request *r)
{
	reply_message(r, 404, "Not here", "There is nothing at this address.");
}

static void first_page(const struct web_site *s, struct web_request *r, int code, const char *complaint, const struct web_record *filled)
{
	struct buf page = BUF_INIT(MAX_PAGE);
	html_page_ask(&page, complaint ? slice_of(complaint) : SLICE(""), filled, web_checks_by_mail(s->checks));
	reply_page(r, code, &page);
	buf_free(&page);
}

/* An asker who waits for the record to be on disk. */
struct waiting {
	struct web_later *later;        /* NULL: gone */
	char path[64];
};

static void on_asker_gone(void *arg, struct web_later *l)
{
	(void)l;
	((struct waiting *)arg)->later = NULL;
}

static struct waiting *waiting_new(struct slice id)
{
	struct waiting *x = MEM_NEW(struct waiting);
	snprintf(x->path, sizeof x->path, "/check/%.*s", SLICE_FMT(id));
	return x;
}

static void on_kept(void *arg, const char *wrong)
{
	struct waiting *x = arg;
	struct buf page = BUF_INIT(MAX_PAGE);
	if (x->later && wrong) {
		html_page_message(&page, SLICE("Not begun"), slice_of(wrong));
		web_later_reply(x->later, 422, "text/html; charset=utf-8", buf_slice(&page), NULL);
	} else if (x->later) {
		web_later_reply(x->later, 303, "text/plain", SLICE("See the check's page.\n"), x->path);
	}
	buf_free(&page);
	mem_free(x);
}

static bool take_field(struct web_request *r, const char *name, char *to)
{
	struct slice value = slice_trim(web_form(r, name));
	if (value.n >= WEB_MAX_NAME || slice_find(value, '\0') < value.n)
		return false;
	memcpy(to, value.n ? value.p : "", value.n);
	to[value.n] = '\0';
	return true;
}

static void ask(struct web_site *s, struct web_request *r)
{
	struct web_record record = { .state = WEB_ASKED };
	struct net_ip asker = web_client(r);
	record.consent = slice_eq(web_form(r, "consent"), SLICE("mail")) ? WEB_CONSENT_MAIL : WEB_CONSENT_DNS;
	if (!take_field(r, "domain", record.domain) || !take_field(r, "host", record.host) || !take_field(r, "known", record.known) ||
	    !take_field(r, "forward", record.forward) || !take_field(r, "full", record.full) || !take_field(r, "dead_alias", record.dead_alias) ||
	    !take_field(r, "vacation", record.vacation) || !take_field(r, "deferred", record.deferred) || !take_field(r, "relayed", record.relayed))
		return first_page(s, r, 400, "Something in the form is too long.", NULL);
	struct waiting *x = waiting_new(SLICE(""));
	const char *wrong = web_checks_ask(s->checks, &record, &asker, on_kept, x);
	if (wrong) {
		mem_free(x);
		return first_page(s, r, 422, wrong, &record);
	}
	snprintf(x->path, sizeof x->path, "/check/%s", record.id);
	x->later = web_later_begin(r, on_asker_gone, x);
}

static void check_page(struct web_site *s, struct web_request *r, struct slice id)
{
	struct web_record record;
	struct rndr_sum sum;
	if (!web_checks_get(s->checks, id, &record, &sum))
		return not_found(r);
	struct buf page = BUF_INIT(MAX_PAGE);
	html_page_check(&page, &record, &sum);
	reply_page(r, 200, &page);
	buf_free(&page);
}

static void check_text(struct web_site *s, struct web_request *r, struct slice id)
{
	struct web_record record;
	struct rndr_sum sum;
	if (!web_checks_get(s->checks, id, &record, &sum))
		return not_found(r);
	struct buf text = BUF_INIT(MAX_PAGE);
	web_record_text(&text, &record);
	web_reply(r, 200, "text/plain; charset=utf-8", buf_slice(&text));
	buf_free(&text);
}

static void start(struct web_site *s, struct web_request *r, struct slice id)
{
	struct waiting *x = waiting_new(slice_head(id, WEB_ID));
	const char *wrong = web_checks_start(s->checks, id, web_form(r, "token"), on_kept, x);
	if (wrong) {
		mem_free(x);
		return reply_message(r, 422, "Not begun", wrong);
	}
	x->later = web_later_begin(r, on_asker_gone, x);
}

/* The link of the postmaster's message. Following it asks once more, so that a scanner of links in mail begins nothing. */
static void consent_page(struct web_site *s, struct web_request *r, struct slice id, struct slice token)
{
	struct web_record record;
	struct rndr_sum sum;
	if (!web_checks_get(s->checks, id, &record, &sum) || !slice_eq_secret(token, slice_of(record.token)))
		return not_found(r);
	struct buf page = BUF_INIT(MAX_PAGE);
	html_page_consent(&page, &record);
	reply_page(r, 200, &page);
	buf_free(&page);
}

static void advice(struct web_request *r, struct slice word)
{
	struct slice text = web_advice(word);
	if (!text.p)
		return not_found(r);
	struct buf page = BUF_INIT(MAX_PAGE);
	html_page_advice(&page, text);
	reply_page(r, 200, &page);
	buf_free(&page);
}

static void metrics(struct web_site *s, struct web_request *r)
{
	struct net_ip who = web_client(r);
	bool allowed = false;
	for (struct slice rest = web_settings.metrics_from; rest.n;) {
		struct slice item = slice_cut(rest, ' ', &rest);
		struct net_ip network;
		unsigned prefix;
		const char *why;
		allowed |= item.n && net_range_parse(item, &network, &prefix, &why) && net_ip_in(&who, &network, prefix);
	}
	if (!allowed)
		return reply_message(r, 403, "Not for you", "The setting metrics-from says who may read this.");
	struct buf text = BUF_INIT(MAX_PAGE);
	web_write_metrics(s, &text);
	web_reply(r, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8", buf_slice(&text));
	buf_free(&text);
}

static void check_path(struct web_site *s, struct web_request *r, struct slice rest)
{
	struct slice tail, id = slice_cut(rest, '/', &tail);
	bool post = web_method(r) == WEB_POST;
	if (tail.p && slice_eq(tail, SLICE("events")) && !post)
		return web_checks_watch(s->checks, id, r);
	if (tail.p && slice_eq(tail, SLICE("start")) && post)
		return start(s, r, id);
	if (tail.p || post)
		return not_found(r);
	if (slice_ends(id, SLICE(".txt")))
		return check_text(s, r, slice_head(id, id.n - 4));
	check_page(s, r, id);
}

static void get_static(struct web_site *s, struct web_request *r, struct slice path)
{
	static const struct slice icon = SLICE_INIT("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><path d=\"M2 4h12v8H2z\" fill=\"none\" stroke=\"#1b6b3a\" stroke-width=\"1.6\"/>"
	                                            "<path d=\"M2 4l6 5 6-5\" fill=\"none\" stroke=\"#1b6b3a\" stroke-width=\"1.6\"/></svg>");
	if (slice_eq(path, SLICE("/")))
		first_page(s, r, 200, NULL, NULL);
	else if (slice_eq(path, SLICE("/style.css")))
		web_reply(r, 200, "text/css; charset=utf-8", web_style);
	else if (slice_eq(path, SLICE("/page.js")))
		web_reply(r, 200, "text/javascript; charset=utf-8", web_script);
	else if (slice_eq(path, SLICE("/icon.svg")))
		web_reply(r, 200, "image/svg+xml", icon);
	else if (slice_eq(path, SLICE("/healthz")))
		web_reply(r, 200, "text/plain", SLICE("ok\n"));
	else if (slice_eq(path, SLICE("/metrics")))
		metrics(s, r);
	else
		not_found(r);
}

void web_route(void *arg, struct web_request *r)
{
	struct web_site *s = arg;
	struct slice path = web_path(r);
	set_headers(r);
	if (slice_eq(path, SLICE("/check")) && web_method(r) == WEB_POST)
		return ask(s, r);
	if (slice_starts(path, SLICE("/check/")))
		return check_path(s, r, slice_skip(path, 7));
	if (web_method(r) == WEB_POST)
		return reply_message(r, 405, "Not here", "Nothing can be sent to this address.");
	if (slice_starts(path, SLICE("/consent/"))) {
		struct slice token, id = slice_cut(slice_skip(path, 9), '/', &token);
		return consent_page(s, r, id, token.p ? token : SLICE(""));
	}
	if (slice_starts(path, SLICE("/advice/")))
		return advice(r, slice_skip(path, 8));
	get_static(s, r, path);
}
