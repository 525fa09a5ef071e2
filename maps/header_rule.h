#ifndef MAPS_HEADER_RULE_H
#define MAPS_HEADER_RULE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/answer.h"
#include "base/slice.h"
#include "maps/access.h"

/* The map `header`, a list in the order of its lines: what a header field may not say. PCRE2 behind this file.
 *
 *	subject   /\bcheap watches\b/i   refuse 554 5.7.1 No watches, please.
 *	x-mailer  !^Acme!                tag acme
 *	*         /^X-Worm:/i            refuse
 *
 * A field's name, or * for all of them (then the pattern sees "Name: value"); a pattern between two equal marks, with the flags i (case) and u (UTF-8); an action as in
 * `access` (accept ends the list). Values are unfolded before they are looked at. */
struct header_rules;

/* NULL, or what is wrong with a line. */
const char *header_rule_check(struct slice line);

/* All lines of the map; match_limit bounds the steps of one match. NULL: the map is empty. *answer UNSURE: it could not be read. */
struct map_set;
struct header_rules *header_rules_new(struct map_set *s, uint32_t match_limit, enum answer *answer);
void header_rules_free(struct header_rules *r); /* NULL is fine */

/* A message begins: until the next one all look-ups together may take so much of the processor's time. Without a beginning they have no limit. */
void header_rules_begin(struct header_rules *r, uint64_t limit_ms);
bool header_rules_are_spent(const struct header_rules *r); /* that was reached */

/* Looks at one field, whose value is unfolded. FOUND: *out is the action of the first rule behind *from that matches, and *from is behind it. UNSURE: a pattern
 * reached its limit, or the message its. */
enum answer header_rules_look(struct header_rules *r, struct slice name, struct slice value, size_t *from, const struct access **out);
bool header_rules_is_news(struct header_rules *r, size_t from); /* the rule before `from` is asked about for the first time in this message */
uint32_t header_rules_line(const struct header_rules *r, size_t from); /* of the rule before `from` in the text map */
#endif
