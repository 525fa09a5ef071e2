/* The picture of a result: the stranger on the left, the tested server in the middle, the forged sender on the right. One line for each way; only what was
 * returned goes on to the victim. Colours come from the style sheet by class, words stand beside them: nothing is told by colour alone. */
#include "ctl/web_html.h"

enum { ROW = 26, TOP = 64, LEFT = 20, SERVER = 330, VICTIM = 620, WIDTH = 720, MAX_TITLE = 34 };

static const char *const CLASSES[RNDR_VERDICTS] = { "pending", "refused", "silent", "bounced", "untested" };

static void text_at(struct buf *out, int x, int y, const char *class, const char *anchor, struct slice s)
{
	buf_addf(out, "<text x=\"%d\" y=\"%d\" class=\"%s\" text-anchor=\"%s\">", x, y, class, anchor);
	html_add_text(out, s);
	buf_add(out, SLICE("</text>\n"));
}

static void way_line(struct buf *out, const struct web_row *row, unsigned way, int y)
{
	const char *class = CLASSES[row->verdict];
	text_at(out, LEFT, y + 4, class, "start", rndr_ways[way].word);
	if (row->verdict == RNDR_COULD_NOT || row->verdict == RNDR_PENDING)
		return text_at(out, SERVER - 20, y + 4, class, "end", rndr_verdict_name(row->verdict));
	buf_addf(out, "<path class=\"%s\" d=\"M%d %dH%d\" marker-end=\"url(#head-%s)\"/>\n", class, LEFT + 110, y, SERVER - 24, class);
	if (row->verdict == RNDR_REFUSED)
		return buf_addf(out, "<path class=\"refused\" d=\"M%d %dl10 10m0 -10l-10 10\"/>\n", SERVER - 18, y - 5), (void)0;
	if (row->verdict == RNDR_SILENT)
		return text_at(out, SERVER + 62, y + 4, class, "start", SLICE("nothing came back"));
	buf_addf(out, "<path class=\"bounced\" d=\"M%d %dH%d\" marker-end=\"url(#head-bounced)\"/>\n", SERVER + 50, y, VICTIM - 4);
	struct buf words = BUF_INIT(64);
	buf_addf(&words, "%llu bytes%s", (unsigned long long)row->back_bytes, row->body_back ? ", the spam in them" : "");
	text_at(out, (SERVER + 50 + VICTIM) / 2 - 8, y - 7, "bounced", "middle", buf_slice(&words));
	buf_free(&words);
}

static void markers(struct buf *out)
{
	for (int v = RNDR_REFUSED; v <= RNDR_BOUNCED; v++)
		buf_addf(out,
		         "<marker id=\"head-%s\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path class=\"%s head\" d=\"M0 0L8 4L0 8z\"/></marker>\n",
		         CLASSES[v], CLASSES[v]);
}

/* A long name keeps its end, which says whose it is. */
static void add_domain(struct buf *out, struct slice domain)
{
	struct buf text = BUF_INIT(128);
	if (domain.n > MAX_TITLE)
		buf_add(&text, SLICE("…"));
	buf_add(&text, slice_skip(domain, domain.n > MAX_TITLE ? domain.n - MAX_TITLE : 0));
	text_at(out, SERVER + 17, 24, "party", "middle", buf_slice(&text));
	buf_free(&text);
}

void html_picture(struct buf *out, const struct web_record *r)
{
	int height = TOP + ROW * RNDR_WAYS + 10;
	bool hit = false;
	for (unsigned w = 0; w < RNDR_WAYS; w++)
		hit |= r->rows[w].verdict == RNDR_BOUNCED;
	buf_addf(out, "<svg class=\"picture\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"picture-title\" xmlns=\"http://www.w3.org/2000/svg\">\n"
	              "<title id=\"picture-title\">The way of each forged message, also told by the table below</title>\n<defs>\n", WIDTH, height);
	markers(out);
	buf_add(out, SLICE("</defs>\n"));
	text_at(out, LEFT, 24, "party", "start", SLICE("a stranger"));
	add_domain(out, slice_of(r->domain));
	text_at(out, VICTIM + 40, 24, "party", "middle", SLICE("the forged sender"));
	buf_addf(out, "<rect class=\"server\" x=\"%d\" y=\"36\" width=\"50\" height=\"%d\" rx=\"6\"/>\n", SERVER - 8, height - 44);
	buf_addf(out, "<rect class=\"victim %s\" x=\"%d\" y=\"36\" width=\"60\" height=\"%d\" rx=\"6\"/>\n", hit ? "hit" : "", VICTIM, height - 44);
	for (unsigned w = 0; w < RNDR_WAYS; w++)
		way_line(out, &r->rows[w], w, TOP + ROW * (int)w);
	buf_add(out, SLICE("</svg>\n"));
}
