#ifndef BASE_MAIL_AUTHRES_H
#define BASE_MAIL_AUTHRES_H
#include <stdbool.h>
#include "base/buf.h"
#include "base/slice.h"

/* Authentication-Results (RFC 8601): written method by method, and recognised, so that nobody else's results stand under our name. The same text
 * is the body of ARC-Authentication-Results (RFC 8617, 4.1.1). Values are quoted where they must be; bytes that may not stand in a field are left out. */

/* "id;" and nothing yet; authres_end writes "none" where no method came. */
void authres_begin(struct buf *out, struct slice id);
/* A new line "\r\n\tmethod=result", with reason="..." and a (comment) where they aren't empty. */
void authres_method(struct buf *out, const char *method, const char *result, struct slice reason, struct slice comment);
/* " ptype.property=value"; nothing where the value is empty. */
void authres_property(struct buf *out, const char *property, struct slice value);
void authres_end(struct buf *out);

/* The authserv-id of a field's value, in *id (a view; a quoted one without its quotes). False: it has none, or can't be read. */
bool authres_id(struct slice value, struct slice *id);

/* True for a field that claims our id, one that can't be read but names it too. */
bool authres_is_ours(struct slice value, struct slice id);

/* One result of a field's value after another, from behind its id. Methods and results come as they stand; the value of `property`
 * ("header.d") in what is left until the next one by authres_find. False at the end or at what can't be read. */
struct authres_item {
	struct slice method, result, rest;
};
bool authres_next(struct slice *in, struct authres_item *item);
bool authres_skip_id(struct slice *in);
struct slice authres_find(const struct authres_item *item, struct slice property);
#endif
