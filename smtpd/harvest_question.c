/* What the postmaster asks about harvesting: who is counted, how a client stands, and that somebody be forgiven. */
#include "smtpd/harvest_question.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "smtpd/check.h"
#include "smtpd/harvest.h"
#include "smtpd/policy.h"

enum { LISTED = 500, USAGE = 64 };

static int list(struct smtpd *d, bool json, struct buf *out)
{
	struct harvest_entry *rows = mem_new_array(LISTED, sizeof *rows);
	size_t count = harvest_list(d->harvest, rows, LISTED, clock_wall_s());
	if (json)
		buf_add_byte(out, '[');
	else
		buf_addf(out, "%-44s %8s %8s  %s\n", "who", "unknown", "good", "level");
	for (size_t i = 0; i < count; i++) {
		const struct harvest_entry *r = &rows[i];
		struct slice level = harvest_level_name(r->level);
		if (!json) {
			buf_addf(out, "%-44s %8llu %8llu  %.*s", r->name, (unsigned long long)r->unknown, (unsigned long long)r->good, SLICE_FMT(level));
			if (r->refused_for_s)
				buf_addf(out, " for %llu s", (unsigned long long)r->refused_for_s);
			buf_add_byte(out, '\n');
			continue;
		}
		buf_add_cstr(out, i ? ",{\"who\":" : "{\"who\":");
		text_add_json(out, slice_of(r->name));
		buf_addf(out, ",\"unknown\":%llu,\"good\":%llu,\"level\":\"%.*s\",\"refused_for_s\":%llu}", (unsigned long long)r->unknown,
		         (unsigned long long)r->good, SLICE_FMT(level), (unsigned long long)r->refused_for_s);
	}
	if (json)
		buf_add_cstr(out, "]\n");
	mem_free(rows);
	return 0;
}

/* "192.0.2.1", "2001:db8::1", a network as the list shows it, "domain example.org" or one below it. */
static bool read_who(struct slice text, struct arena *mem, struct harvest_who *out)
{
	*out = (struct harvest_who){ .domain = SLICE("") };
	if (slice_starts(text, SLICE("domain "))) {
		struct slice lower = text_lower(mem, slice_trim(slice_skip(text, 7)));
		out->domain = checks_organisation(lower);
		return out->domain.n > 0;
	}
	struct slice prefix, address = slice_cut(text, '/', &prefix);
	return net_ip_parse(address, &out->ip) && (!prefix.p || slice_eq(prefix, out->ip.is_v4 ? SLICE("24") : SLICE("48")));
}

static int forgive(struct smtpd *d, const struct harvest_who *who, bool json, struct buf *out)
{
	bool found = harvest_forgive(d->harvest, who);
	if (json)
		buf_addf(out, "{\"forgiven\":%s}\n", found ? "true" : "false");
	else
		buf_add_cstr(out, found ? "forgiven\n" : "there was nothing to forgive\n");
	return found ? 0 : 1;
}

/* How this client would be answered if it named an unknown recipient now; nothing is counted. */
static int test(struct smtpd *d, struct harvest_who *who, bool json, struct buf *out)
{
	static const char *const words[] = {
		[HARVEST_OPEN] = "unknown recipients are answered 550 at once", [HARVEST_SLOW] = "answers to RCPT wait",
		[HARVEST_BLIND] = "every RCPT is answered 250, the dot 451", [HARVEST_REFUSE] = "connections are answered 421"
	};
	who->exempt = !who->domain.n && policy_is_exempt(&who->ip);
	enum harvest_level level = harvest_level(d->harvest, who, clock_wall_s());
	uint64_t delay_ms = level == HARVEST_SLOW ? harvest_delay_ms(d->harvest, who, clock_wall_s()) : 0;
	if (json)
		buf_addf(out, "{\"level\":\"%.*s\",\"exempt\":%s,\"delay_ms\":%llu}\n", SLICE_FMT(harvest_level_name(level)), who->exempt ? "true" : "false",
		         (unsigned long long)delay_ms);
	else
		buf_addf(out, "%.*s%s: %s\n", SLICE_FMT(harvest_level_name(level)), who->exempt ? " (exempt)" : "", words[level]);
	return 0;
}

int harvest_question(struct smtpd *d, const struct slice *words, size_t count, struct buf *answer)
{
	struct harvest_who who;
	bool json = count && slice_eq(words[count - 1], SLICE("--json"));
	count -= json;
	if (count == 2 && slice_eq(words[1], SLICE("list")))
		return list(d, json, answer);
	struct arena mem = ARENA_INIT(1024);
	int code = USAGE;
	if (count != 3 || !read_who(words[2], &mem, &who))
		buf_add_cstr(answer, "an address, its network (/24, /48), or \"domain NAME\", is wanted\n");
	else
		code = slice_eq(words[1], SLICE("forgive")) ? forgive(d, &who, json, answer) : test(d, &who, json, answer);
	arena_free(&mem);
	return code;
}
