/* The check `header`: the rules of the map `header`, at the dot. A process compiles the patterns once for each generation of maps. */
#include "smtpd/header_rules.h"

#include "base/log.h"
#include "base/mail_header.h"
#include "maps/header_rule.h"
#include "maps/map.h"
#include "smtpd/filter_settings.h"
#include "smtpd/smtpd.h"

static struct header_rules *rules;
static enum answer rules_answer = ABSENT;
static uint64_t rules_generation;
static bool rules_known;

static void renew(struct smtpd *d)
{
	uint64_t generation = map_set_generation(d->maps);
	if (rules_known && generation == rules_generation)
		return;
	header_rules_free(rules);
	rules = header_rules_new(d->maps, (uint32_t)filter_settings.header_match_limit, &rules_answer);
	rules_generation = generation;
	rules_known = true;
}

/* A session whose maps have no rules at its beginning is not looked into, though the next generation may have some: it costs nothing then. */
static void *begin(struct check *c)
{
	struct map_set *maps = check_smtpd(c)->maps;
	return maps && map_size(maps, MAP_HEADER) ? c : NULL;
}

static enum check_step unsure(struct check *c)
{
	check_refuse(c, MAIL_STATUS(MAIL_LATER, 451, 7, 1, "The content rules can't be told just now; try again later"));
	return CHECK_REFUSE;
}

/* One line for a rule in a message, however many of its fields it finds. */
static void note(struct check *c, struct slice name, size_t from)
{
	if (header_rules_is_news(rules, from))
		log_event(LOG_INFO, "header-rule", LOG_STR("session", unique_slice(&check_facts(c)->id)), LOG_STR("field", name),
		          LOG_UINT("line", header_rules_line(rules, from)), LOG_END);
}

static void note_limit(struct check *c, struct slice name, size_t from)
{
	log_event(LOG_WARN, "header-limit", LOG_STR("session", unique_slice(&check_facts(c)->id)), LOG_STR("field", name), LOG_UINT("line", header_rules_line(rules, from)),
	          LOG_CSTR("why", header_rules_are_spent(rules) ? "all patterns together took more than header-time-limit" : "the pattern took more than header-match-limit"), LOG_END);
}

/* One field against all rules. CHECK_WAIT means: an `accept` ends it. */
static enum check_step look(struct check *c, struct slice name, struct slice value)
{
	const struct access *a;
	size_t from = 0;
	for (;;) {
		switch (header_rules_look(rules, name, value, &from, &a)) {
		case ABSENT:
			return CHECK_GO_ON;
		case UNSURE:
			note_limit(c, name, from);
			return unsure(c);
		case FOUND:
			break;
		}
		note(c, name, from);
		for (size_t i = 0; i < a->tag_count; i++)
			check_tag(c, a->tags[i]);
		switch (a->verdict) {
		case ACCESS_NONE:
			break;
		case ACCESS_ACCEPT:
			return CHECK_WAIT;
		case ACCESS_REFUSE:
		case ACCESS_DEFER:
			check_refuse(c, a->status);
			return CHECK_REFUSE;
		}
	}
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	(void)state;
	if (stage != CHECK_DOT || !check_smtpd(c)->maps)
		return CHECK_GO_ON;
	renew(check_smtpd(c));
	if (rules_answer == UNSURE)
		return unsure(c);
	if (!rules)
		return CHECK_GO_ON;
	header_rules_begin(rules, filter_settings.header_time_limit_ms);
	struct slice in = buf_slice(&check_message(c)->head);
	struct buf value = BUF_INIT(MESSAGE_MAX_HEAD);
	struct mail_field f;
	enum mail_field_kind kind;
	enum check_step step = CHECK_GO_ON;
	while (step == CHECK_GO_ON && (kind = mail_field_next(&in, &f)) != MAIL_FIELD_END) {
		if (kind == MAIL_FIELD_BAD)
			continue;
		buf_clear(&value);
		mail_unfold(&value, f.value);
		step = look(c, f.name, buf_slice(&value));
	}
	buf_free(&value);
	return step == CHECK_WAIT ? CHECK_GO_ON : step;
}

static void end(void *state)
{
	(void)state;
}

const struct check_kind header_check = { .name = "header", .begin = begin, .run = run, .end = end };
