/* Checks of the page, one running at a time; the others wait in the order in which consent was shown. */
#include "ctl/web_checks.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/rndr_catch.h"
#include "ctl/rndr_consent.h"
#include "ctl/web_guests.h"
#include "ctl/web_store.h"
#include "maps/map_key.h"

enum { DAY_S = 86400, WAIT_MS = 60000, OWN_WAIT_MS = 3000, PAUSE_MS = 1000, OWN_PAUSE_MS = 50, AGAIN_MS = 90000, MAX_EVENT = 32 << 10 };

struct watcher {
	struct web_checks *checks;
	char id[WEB_ID + 1];
	struct web_stream *stream;
	struct watcher *next;
};

struct web_checks {
	struct loop *loop;
	struct arena mem;
	struct web_checks_setup setup;
	struct web_store *store;
	struct rndr_catch *catches[4];
	struct consent *consent;          /* of the one whose turn it is */
	struct rndr_check *check;
	struct web_record current;        /* id "" : none */
	struct loop_timer *next_one;
	struct watcher *watchers;
	uint64_t asked, finished;
};

/* Watchers ---------------------------------------------------------------------------------------------------------------------------- */

static const char *const CLASSES[RNDR_VERDICTS] = { "pending", "refused", "silent", "bounced", "untested" };

static void add_event(struct buf *out, const struct web_record *r, const struct rndr_sum *sum)
{
	const char *phase = r->state == WEB_QUEUED ? "Waiting for its turn." : sum && sum->again_left_ms ? "The server asked to come again later (greylisting): waiting for that." : sum && sum->wait_left_ms ? "Everything is sent; listening for what comes back." : "Running.";
	buf_addf(out, "{\"decided\":%u,\"total\":%u,\"phase\":\"%s\",\"ways\":[", sum ? sum->decided : 0, sum && sum->total ? sum->total : RNDR_WAYS, phase);
	for (unsigned w = 0; w < RNDR_WAYS; w++) {
		buf_addf(out, "%s{\"way\":\"%.*s\",\"class\":\"%s\",\"verdict\":\"%.*s\",\"note\":", w ? "," : "", SLICE_FMT(rndr_ways[w].word), CLASSES[r->rows[w].verdict],
		         SLICE_FMT(rndr_verdict_name(r->rows[w].verdict)));
		text_add_json(out, web_note_of(&r->rows[w]));
		buf_add(out, SLICE("}"));
	}
	buf_add(out, SLICE("]}"));
}

static void tell_watchers(struct web_checks *w, const struct web_record *r, const struct rndr_sum *sum)
{
	struct buf event = BUF_INIT(MAX_EVENT);
	bool over = r->state == WEB_FINISHED || r->state == WEB_FAILED;
	add_event(&event, r, sum);
	for (struct watcher **at = &w->watchers; *at;) {
		struct watcher *x = *at;
		if (strcmp(x->id, r->id) != 0) {
			at = &x->next;
			continue;
		}
		web_stream_send(x->stream, SLICE("progress"), buf_slice(&event));
		if (!over) {
			at = &x->next;
			continue;
		}
		web_stream_send(x->stream, SLICE("done"), SLICE("{}"));
		web_stream_end(x->stream);
		*at = x->next;
		mem_free(x);
	}
	buf_free(&event);
}

static void on_gone(void *arg, struct web_stream *s)
{
	struct web_checks *w = arg;
	for (struct watcher **at = &w->watchers; *at; at = &(*at)->next)
		if ((*at)->stream == s) {
			struct watcher *x = *at;
			*at = x->next;
			mem_free(x);
			return;
		}
}

void web_checks_watch(struct web_checks *w, struct slice id, struct web_request *request)
{
	struct web_record r;
	struct rndr_sum sum;
	if (!web_checks_get(w, id, &r, &sum))
		return web_reply(request, 404, "text/plain", SLICE("There is no such check.\n"));
	struct web_stream *stream = web_stream_begin(request, on_gone, w);
	if (!stream)
		return;
	struct watcher *x = MEM_NEW(struct watcher);
	x->checks = w;
	memcpy(x->id, r.id, sizeof x->id);
	x->stream = stream;
	x->next = w->watchers;
	w->watchers = x;
	tell_watchers(w, &r, &sum);
}

/* One check after the other ------------------------------------------------------------------------------------------------------------ */

static void keep(struct web_checks *w, const struct web_record *r)
{
	int error = web_store_put(w->store, r, NULL, NULL);
	if (error)
		log_event(LOG_ERROR, "check-not-kept", LOG_CSTR("id", r->id), LOG_ERRNO(error), LOG_END);
}

static void end_current(struct web_checks *w, enum web_state state, struct slice note)
{
	struct web_record *r = &w->current;
	r->state = state;
	r->ended_s = clock_wall_s();
	struct slice text = slice_head(note, sizeof r->note - 1);
	memcpy(r->note, text.n ? text.p : "", text.n);
	r->note[text.n] = '\0';
	w->finished++;
	keep(w, r);
	log_event(LOG_INFO, "rndr-check", LOG_CSTR("id", r->id), LOG_CSTR("domain", r->domain), LOG_CSTR("state", state == WEB_FINISHED ? "finished" : "failed"),
	          LOG_STR("note", text), LOG_END);
	tell_watchers(w, r, NULL);
	consent_free(w->consent);
	rndr_check_free(w->check);
	w->consent = NULL;
	w->check = NULL;
	memset(r, 0, sizeof *r);
	loop_timer_set(w->next_one, 0);
}

static void on_progress(void *arg, const struct rndr_check *c)
{
	struct web_checks *w = arg;
	struct rndr_sum sum = rndr_check_sum(c);
	web_record_take(&w->current, c);
	tell_watchers(w, &w->current, &sum);
}

static void on_done(void *arg, const struct rndr_check *c)
{
	struct web_checks *w = arg;
	web_record_take(&w->current, c);
	end_current(w, WEB_FINISHED, SLICE(""));
}

static const struct rndr_handler check_handler = { on_progress, on_done };

static void begin_check(struct web_checks *w, const struct consent_result *c)
{
	struct web_record *r = &w->current;
	struct net_ip ip = net_ip_of(&c->address);
	bool own = consent_is_own_address(&ip);
	struct arena mem = ARENA_INIT(1 << 16);
	struct slice domain = slice_of(r->domain);
	r->deaf = !w->catches[0];
	struct rndr_setup s = { .target = c->address, .host = buf_slice(&c->host), .domain = domain, .probe_domain = w->setup.probe_domain, .helo = w->setup.helo,
		                .wait_ms = own ? OWN_WAIT_MS : WAIT_MS, .pause_ms = own ? OWN_PAUSE_MS : PAUSE_MS, .again_ms = own ? 1000 : AGAIN_MS, .deaf = r->deaf,
		                .addresses = { .known = slice_of(r->known), .dead_alias = slice_of(r->dead_alias), .forward = slice_of(r->forward), .full = slice_of(r->full),
		                               .vacation = slice_of(r->vacation), .deferred = slice_of(r->deferred), .relayed = slice_of(r->relayed) } };
	if (!s.addresses.known.n)
		s.addresses.known = map_key_join(SLICE("postmaster"), domain, &mem);
	w->check = rndr_check_new(w->loop, &s, &check_handler, w);
	arena_free(&mem);
}

static void on_consent(void *arg, const struct consent_result *c)
{
	struct web_checks *w = arg;
	struct web_record *r = &w->current;
	if (!c->given) {
		/* It may be shown later: the record waits again. */
		struct buf note = BUF_INIT(WEB_MAX_NOTE);
		buf_addf(&note, "Not begun: %.*s.", SLICE_FMT(buf_slice(&c->why)));
		r->state = WEB_ASKED;
		memcpy(r->note, note.p, note.n);
		r->note[note.n] = '\0';
		buf_free(&note);
		keep(w, r);
		struct web_record told = *r;
		told.state = WEB_FAILED;
		tell_watchers(w, &told, NULL);
		consent_free(w->consent);
		w->consent = NULL;
		memset(r, 0, sizeof *r);
		return loop_timer_set(w->next_one, 0);
	}
	begin_check(w, c);
	consent_free(w->consent);
	w->consent = NULL;
}

static bool is_loopback_asker(const struct web_record *r)
{
	return slice_starts(slice_of(r->asker), SLICE("127.")) || slice_eq(slice_of(r->asker), SLICE("::/48"));
}

static void begin(struct web_checks *w, const struct web_record *r)
{
	w->current = *r;
	w->current.state = WEB_RUNNING;
	w->current.began_s = clock_wall_s();
	w->current.note[0] = '\0';
	keep(w, &w->current);
	struct slice host = slice_of(r->host);
	struct consent_plan plan = { .domain = slice_of(r->domain), .port = 25, .token = slice_of(r->token), .proved = r->consent == WEB_CONSENT_MAIL, .own_ok = is_loopback_asker(r) };
	size_t colon = slice_rfind(host, ':');
	uint64_t port;
	if (plan.own_ok && colon < host.n && slice_find(host, ':') == colon && scan_uint_all(slice_skip(host, colon + 1), 65535, &port)) {
		plan.port = (uint16_t)port;
		host = slice_head(host, colon);
	}
	plan.host = host;
	w->consent = consent_ask(w->loop, w->setup.dns, &plan, on_consent, w);
}

/* The one that has waited longest; a check that a restart interrupted is begun again. */
static bool earlier(void *arg, const struct web_record *r)
{
	struct web_record *best = arg;
	if ((r->state == WEB_QUEUED || r->state == WEB_RUNNING) && (!best->id[0] || r->asked_s < best->asked_s))
		*best = *r;
	return true;
}

static void begin_next(void *arg)
{
	struct web_checks *w = arg;
	struct web_record next = { .id = "" };
	if (w->current.id[0])
		return;
	web_store_each(w->store, earlier, &next);
	if (next.id[0])
		begin(w, &next);
}

/* Asking ------------------------------------------------------------------------------------------------------------------------------- */

struct tally {
	const struct web_record *asked;
	int64_t since_s;
	uint64_t same_asker, same_domain;
};

static bool tally_one(void *arg, const struct web_record *r)
{
	struct tally *t = arg;
	if (r->asked_s >= t->since_s) {
		t->same_asker += strcmp(r->asker, t->asked->asker) == 0;
		t->same_domain += strcmp(r->domain, t->asked->domain) == 0;
	}
	return true;
}

static void name_network(struct web_record *r, const struct net_ip *ip)
{
	struct net_ip network = *ip;
	struct buf b = BUF_INIT(sizeof r->asker - 1);
	memset(network.bytes + (ip->is_v4 ? 15 : 6), 0, ip->is_v4 ? 1 : 10);
	net_ip_print(&b, &network);
	buf_add(&b, ip->is_v4 ? SLICE("/24") : SLICE("/48"));
	memcpy(r->asker, b.p, b.n);
	r->asker[b.n] = '\0';
	buf_free(&b);
}

static const char *check_addresses(struct web_record *r)
{
	char *const fields[] = { r->known, r->forward, r->full, r->dead_alias, r->vacation, r->deferred };
	struct arena mem = ARENA_INIT(1 << 14);
	const char *wrong = NULL, *why;
	struct slice domain;
	struct mail_path path;
	for (size_t i = 0; i < sizeof fields / sizeof *fields && !wrong; i++)
		if (*fields[i] && (mail_path_parse_address(slice_of(fields[i]), &mem, &path, &why) < 0 || !slice_eq_nocase(path.domain, slice_of(r->domain))))
			wrong = "The addresses have to be addresses of the tested domain.";
	if (!wrong && *r->relayed && map_key_domain(slice_of(r->relayed), &mem, &domain))
		wrong = "The relayed domain is no domain.";
	arena_free(&mem);
	return wrong;
}

/* Kept on disk, then told ------------------------------------------------------------------------------------------------------------------ */

struct keeping {
	struct web_checks *checks;
	char id[WEB_ID + 1];
	bool asked;                       /* a new one, not one that starts */
	web_checks_kept kept;
	void *arg;
};

static void on_kept(void *arg, int error)
{
	struct keeping *k = arg;
	struct web_checks *w = k->checks;
	struct web_record r;
	const char *wrong = error ? "The check could not be kept. Try again later." : NULL;
	if (!wrong && k->asked) {
		w->asked++;
		if (web_store_get(w->store, slice_of(k->id), &r) && r.consent == WEB_CONSENT_MAIL && !w->setup.send_mail(w->setup.arg, &r))
			wrong = "The message to the postmaster can't be sent just now. Show by DNS that the domain is yours, or try again later.";
	}
	if (!wrong && !k->asked)
		loop_timer_set(w->next_one, 0);
	k->kept(k->arg, wrong);
	mem_free(k);
}

static const char *keep_then(struct web_checks *w, const struct web_record *r, bool asked, web_checks_kept kept, void *arg)
{
	struct keeping *k = MEM_NEW(struct keeping);
	*k = (struct keeping){ .checks = w, .asked = asked, .kept = kept, .arg = arg };
	memcpy(k->id, r->id, sizeof k->id);
	if (web_store_put(w->store, r, on_kept, k) == 0)
		return NULL;
	mem_free(k);
	return "Too many checks are waiting. Try again later.";
}

static const char *refuse(const struct web_record *r, const char *why)
{
	log_event(LOG_INFO, "rndr-check-refused", LOG_CSTR("domain", r->domain), LOG_CSTR("asker", r->asker), LOG_CSTR("why", why), LOG_END);
	return why;
}

const char *web_checks_ask(struct web_checks *w, struct web_record *r, const struct net_ip *asker, web_checks_kept kept, void *arg)
{
	struct arena mem = ARENA_INIT(1 << 14);
	struct slice domain;
	name_network(r, asker);
	const char *wrong = map_key_domain(slice_of(r->domain), &mem, &domain) ? "This is no mail domain." : NULL;
	if (!wrong && slice_find(domain, '.') == domain.n)
		wrong = "A whole domain is wanted, for example example.org.";
	if (!wrong) {
		memcpy(r->domain, domain.p, domain.n);
		r->domain[domain.n] = '\0';
	}
	arena_free(&mem);
	wrong = wrong ? wrong : check_addresses(r);
	if (wrong)
		return refuse(r, wrong);
	r->asked_s = clock_wall_s();
	struct tally t = { r, r->asked_s - DAY_S, 0, 0 };
	web_store_each(w->store, tally_one, &t);
	if (!net_ip_is_loopback(asker) && t.same_asker >= w->setup.limit_asker)
		return refuse(r, "Your network has asked for as many checks as it may in a day. Try again tomorrow.");
	if (!net_ip_is_loopback(asker) && t.same_domain >= w->setup.limit_domain)
		return refuse(r, "This domain has been checked as often as it may be in a day. Try again tomorrow.");
	web_record_random(r->id, WEB_ID);
	web_record_random(r->token, WEB_TOKEN);
	r->state = WEB_ASKED;
	if (r->consent == WEB_CONSENT_MAIL && !w->setup.send_mail)
		return "This server writes to no postmaster. Show by DNS that the domain is yours.";
	log_event(LOG_INFO, "rndr-check-asked", LOG_CSTR("domain", r->domain), LOG_CSTR("host", r->host), LOG_CSTR("asker", r->asker), LOG_END);
	return keep_then(w, r, true, kept, arg);
}

const char *web_checks_start(struct web_checks *w, struct slice id, struct slice token, web_checks_kept kept, void *arg)
{
	struct web_record r;
	if (!web_store_get(w->store, id, &r))
		return "There is no such check.";
	if (r.state != WEB_ASKED)
		return keep_then(w, &r, false, kept, arg);      /* it is on its way already */
	if (r.consent == WEB_CONSENT_MAIL && !slice_eq_secret(token, slice_of(r.token)))
		return "Only the link in the message to the postmaster begins this check.";
	r.state = WEB_QUEUED;
	r.note[0] = '\0';
	return keep_then(w, &r, false, kept, arg);
}

bool web_checks_get(struct web_checks *w, struct slice id, struct web_record *out, struct rndr_sum *sum)
{
	memset(sum, 0, sizeof *sum);
	if (w->current.id[0] && slice_eq(id, slice_of(w->current.id))) {
		*out = w->current;
		if (w->check)
			*sum = rndr_check_sum(w->check);
		return true;
	}
	return web_store_get(w->store, id, out);
}

bool web_checks_by_mail(const struct web_checks *w)
{
	return w->setup.send_mail != NULL;
}

void web_checks_count(const struct web_checks *w, uint64_t *asked, uint64_t *finished)
{
	*asked = w->asked;
	*finished = w->finished;
}

/* The catcher -------------------------------------------------------------------------------------------------------------------------- */

static bool knows(void *arg, struct slice recipient)
{
	const struct web_checks *w = arg;
	return (w->check && rndr_check_knows(w->check, recipient)) || web_guests_know(w->setup.guests, w->setup.probe_domain, recipient);
}

static void on_return(void *arg, const struct catch_message *m)
{
	struct web_checks *w = arg;
	if (!w->check || !rndr_check_return(w->check, m->recipient, m->bytes, m->body))
		web_guests_note(w->setup.guests, w->setup.probe_domain, m);
}

static const struct catch_handler catch_handler = { knows, on_return };

int web_checks_new(struct loop *l, const struct web_checks_setup *setup, struct web_checks **out)
{
	struct web_checks *w = MEM_NEW(struct web_checks);
	w->loop = l;
	w->setup = *setup;
	int error = web_store_open(l, setup->directory, &w->store);
	if (error) {
		mem_free(w);
		return error;
	}
	for (size_t i = 0; i < 4; i++)
		if (setup->catch_fds[i] >= 0)
			w->catches[i] = rndr_catch_new(l, setup->catch_fds[i], SLICE(RNDR_CANARY), &catch_handler, w);
	w->next_one = loop_timer_new(l, begin_next, w);
	loop_timer_set(w->next_one, 0);
	*out = w;
	return 0;
}

void web_checks_free(struct web_checks *w)
{
	if (!w)
		return;
	consent_free(w->consent);
	rndr_check_free(w->check);
	for (size_t i = 0; i < 4; i++)
		rndr_catch_free(w->catches[i]);
	while (w->watchers) {
		struct watcher *x = w->watchers;
		w->watchers = x->next;
		mem_free(x);
	}
	loop_timer_free(w->next_one);
	web_store_close(w->store);
	mem_free(w);
}
