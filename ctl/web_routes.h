#ifndef CTL_WEB_ROUTES_H
#define CTL_WEB_ROUTES_H
#include "base/web.h"
#include "ctl/web_checks.h"
#include "queue/attacks.h"

/* What each path of the web process answers. */
struct web_site {
	struct web_checks *checks;
	struct attacks *attacks;      /* NULL: no account of attacks */
	struct web *web;
};
void web_route(void *arg, struct web_request *r); /* arg: struct web_site */

/* /metrics as OpenMetrics 1.0. */
void web_write_metrics(const struct web_site *s, struct buf *out);

/* What to change in a server, by its word in the path ("postfix"); SLICE_NONE: none of that name. Text: "Title\n\n" and paragraphs, "  code" lines, "Source: ". */
struct slice web_advice(struct slice word);
void html_page_advice(struct buf *out, struct slice text);
#endif
