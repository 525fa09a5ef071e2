/* The terms of SPF that ask for hosts: a, mx, exists, ptr; macros' names, and the client's validated ones for ptr and %{p}. Each answer goes on with the walk by spf_run. */
#include "base/mail_spf_inside.h"

#include "base/text.h"

/* -- targets -------------------------------------------------------------------------------------------------------------- */

static bool is_below(struct slice name, struct slice domain)
{
	return slice_ends_nocase(name, domain) && (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
}

/* %{p}: the domain itself, else a name below it, else any (7.3). */
static struct slice best_validated(const struct spf *s, struct slice domain)
{
	for (size_t i = 0; i < s->validated_count; i++)
		if (slice_eq_nocase(s->validated[i], domain))
			return s->validated[i];
	for (size_t i = 0; i < s->validated_count; i++)
		if (is_below(s->validated[i], domain))
			return s->validated[i];
	return s->validated_count ? s->validated[0] : SLICE("");
}

struct slice spf_expand(struct spf *s, struct slice spec)
{
	struct spf_frame *f = spf_top(s);
	if (!spec.n)
		return f->domain;
	struct spf_names names = { s->client, s->local_part, s->sender_domain, s->helo, f->domain, best_validated(s, f->domain) };
	struct buf out = BUF_INIT(8192);
	spf_macro_expand(spec, &names, &out);
	struct slice name = text_lower(&s->mem, buf_slice(&out));
	buf_free(&out);
	return name.p ? name : SLICE("");
}

/* -- a, mx, exists -------------------------------------------------------------------------------------------------------- */

enum dns_type spf_address_type(const struct spf *s)
{
	return s->client.is_v4 ? DNS_A : DNS_AAAA;
}

static bool holds_client(const struct spf *s, const struct dns_answer *a, unsigned prefix4, unsigned prefix6)
{
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++) {
		struct net_ip ip = { .is_v4 = s->client.is_v4, .bytes = { [10] = 0xff, [11] = 0xff } };
		size_t width = ip.is_v4 ? 4 : 16;
		if (a->records[i].data.n != width)
			continue;
		memcpy(ip.bytes + 16 - width, a->records[i].data.p, width);
		if (net_ip_in(&s->client, &ip, ip.is_v4 ? prefix4 : prefix6))
			return true;
	}
	return false;
}

bool spf_is_wide(const struct spf *s, unsigned prefix4, unsigned prefix6)
{
	return s->client.is_v4 ? prefix4 < 8 : prefix6 < 16;
}

/* Goes on after an answer: matched, or the next term. */
static void resume(struct spf *s, bool match, unsigned weak)
{
	if (match) {
		s->verdict.weak |= weak;
		if (spf_matched(s) == STEP_ENDED)
			return;
	} else {
		s->verdict.path_count = s->term_mark;
		spf_tell(s, spf_top(s)->record.terms[spf_top(s)->at].text, "no match");
		spf_top(s)->at++;
	}
	spf_run(s);
}

/* An answer that ends the check; true if it did. */
static bool ends(struct spf *s, const struct dns_answer *a)
{
	s->query = NULL;
	if (a->answer == UNSURE)
		spf_end(s, SPF_TEMPERROR, a->why ? a->why : "dns");
	else if (!spf_count_void(s, a))
		spf_end(s, SPF_PERMERROR, "too many void look-ups");
	return s->known;
}

void spf_on_addresses(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	const struct spf_term *t = &spf_top(s)->record.terms[spf_top(s)->at];
	if (ends(s, a))
		return;
	spf_walk_by(s, spf_expand(s, t->target), a);
	resume(s, holds_client(s, a, t->prefix4, t->prefix6), spf_is_wide(s, t->prefix4, t->prefix6) ? SPF_WEAK_WIDE : 0);
}

void spf_on_exists(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	if (!ends(s, a))
		resume(s, a->answer == FOUND, SPF_WEAK_EXISTS);
}

static void ask_next_host(struct spf *s);

static void on_host(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	const struct spf_term *t = &spf_top(s)->record.terms[spf_top(s)->at];
	s->query = NULL;
	if (a->answer == UNSURE)
		spf_end(s, SPF_TEMPERROR, a->why ? a->why : "dns");
	else if (!holds_client(s, a, t->prefix4, t->prefix6))
		ask_next_host(s);
	else {
		spf_walk_by(s, s->names[s->name_at - 1], a);
		resume(s, true, spf_is_wide(s, t->prefix4, t->prefix6) ? SPF_WEAK_WIDE : 0);
	}
}

static void ask_next_host(struct spf *s)
{
	if (s->name_at < s->name_count)
		spf_ask(s, spf_address_type(s), s->names[s->name_at++], on_host);
	else
		resume(s, false, 0);
}

/* Copies the answer's names, at most `max`; the root (null MX) is none. */
static void keep_names(struct spf *s, const struct dns_answer *a, size_t max)
{
	s->name_count = s->name_at = 0;
	s->names = ARENA_ARRAY(&s->mem, struct slice, max);
	for (size_t i = 0; s->names && a->answer == FOUND && i < a->count && s->name_count < max; i++) {
		struct slice name = arena_copy(&s->mem, a->records[i].data);
		if (name.n)
			s->names[s->name_count++] = name;
	}
}

void spf_on_mx(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	if (ends(s, a))
		return;
	if (a->answer == FOUND && a->count > SPF_MAX_NAMES) {
		spf_end(s, SPF_PERMERROR, "too many MX"); /* 4.6.4 */
		return;
	}
	spf_walk_by(s, spf_expand(s, spf_top(s)->record.terms[spf_top(s)->at].target), a);
	keep_names(s, a, SPF_MAX_NAMES);
	ask_next_host(s);
}

/* -- ptr and %{p} --------------------------------------------------------------------------------------------------------- */

static void validate_next(struct spf *s);

static void on_validated(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	s->query = NULL;
	if (holds_client(s, a, 32, 128)) /* an error skips the name (5.5) */
		s->validated[s->validated_count++] = s->names[s->name_at - 1];
	validate_next(s);
}

static void validate_next(struct spf *s)
{
	if (s->name_at < s->name_count) {
		spf_ask(s, spf_address_type(s), s->names[s->name_at++], on_validated);
		return;
	}
	s->validated_known = true;
	spf_run(s);
}

static void on_ptr(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	s->query = NULL;
	if (!spf_count_void(s, a)) {
		spf_end(s, SPF_PERMERROR, "too many void look-ups");
		return;
	}
	keep_names(s, a, SPF_MAX_NAMES); /* none after an error: no match (5.5) */
	validate_next(s);
}

enum spf_step spf_validate_client(struct spf *s)
{
	struct buf name = BUF_INIT(128);
	net_ip_add_reverse_name(&name, &s->client);
	spf_ask(s, DNS_PTR, buf_slice(&name), on_ptr);
	buf_free(&name);
	return STEP_WAIT;
}

enum spf_step spf_check_ptr(struct spf *s, const struct spf_term *t)
{
	if (!s->validated_known)
		return spf_validate_client(s);
	struct slice target = spf_expand(s, t->target);
	for (size_t i = 0; i < s->validated_count; i++)
		if (is_below(s->validated[i], target)) {
			s->verdict.weak |= SPF_WEAK_PTR;
			return STEP_MATCH;
		}
	return STEP_NEXT;
}
