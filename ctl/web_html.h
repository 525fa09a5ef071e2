#ifndef CTL_WEB_HTML_H
#define CTL_WEB_HTML_H
#include "base/buf.h"
#include "base/slice.h"
#include "ctl/rndr.h"
#include "ctl/web_record.h"

/* The pages of the web process as HTML, and the picture of a result as SVG. Everything foreign passes html_add_text; pages hold no inline script or style,
 * so that the content security policy can forbid both. */

/* Text with <, >, &, quotes and control bytes made harmless, for elements and quoted attributes. Not well-formed UTF-8 becomes U+FFFD. */
int html_add_text(struct buf *out, struct slice s);

void html_page_ask(struct buf *out, struct slice complaint, const struct web_record *filled, bool by_mail);
void html_page_check(struct buf *out, const struct web_record *r, const struct rndr_sum *sum);
void html_page_message(struct buf *out, struct slice title, struct slice text);

void html_page_consent(struct buf *out, const struct web_record *r);

/* For pages that are text: title and frame. */
void html_begin(struct buf *out, struct slice title);
void html_end(struct buf *out);

/* One row of a result, as it is kept and shown (ctl/web_record.h). The picture: who sends, who accepts, which arrow led to the victim. */
void html_picture(struct buf *out, const struct web_record *r);
void web_record_text(struct buf *out, const struct web_record *r);

/* Static parts. */
extern const struct slice web_style, web_script;
#endif
