/* The pages. Plain HTML that reads well without style and works without script; names, labels and order make it usable by keyboard and screen reader. */
#include "ctl/web_html.h"

#include <errno.h>

#include "base/mail_date.h"
#include "base/text.h"
#include "ctl/web_settings.h"

int html_add_text(struct buf *out, struct slice s)
{
	if (!text_is_utf8(s)) {
		for (size_t i = 0; i < s.n; i++)
			if (text_is_print((unsigned char)s.p[i]))
				html_add_text(out, slice(s.p + i, 1));
			else
				buf_add(out, SLICE("\xef\xbf\xbd"));
		return buf_full(out) ? -EMSGSIZE : 0;
	}
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '<')
			buf_add(out, SLICE("&lt;"));
		else if (c == '>')
			buf_add(out, SLICE("&gt;"));
		else if (c == '&')
			buf_add(out, SLICE("&amp;"));
		else if (c == '"')
			buf_add(out, SLICE("&quot;"));
		else if (c == '\'')
			buf_add(out, SLICE("&#39;"));
		else if (c < 0x20 || c == 0x7f)
			buf_add(out, SLICE(" "));
		else
			buf_add_byte(out, (char)c);
	}
	return buf_full(out) ? -EMSGSIZE : 0;
}

static void add_text(struct buf *out, const char *s)
{
	html_add_text(out, slice_of(s));
}

static void begin(struct buf *out, const char *title, int refresh_s)
{
	buf_add(out, SLICE("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>"));
	add_text(out, title);
	buf_add(out, SLICE("</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n<link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">\n"));
	if (refresh_s)
		buf_addf(out, "<noscript><meta http-equiv=\"refresh\" content=\"%d\"></noscript>\n", refresh_s);
	buf_add(out, SLICE("</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the content</a>\n<header><p><a href=\"/\">RNDR check</a></p></header>\n<main id=\"main\">\n"));
}

static void end(struct buf *out)
{
	buf_add(out, SLICE("</main>\n<footer><p>Served by Porter, a mail server that never accepts what it can't deliver. No cookies, nothing from elsewhere. Reports of abuse: "));
	html_add_text(out, web_settings.abuse_contact);
	buf_add(out, SLICE(".</p></footer>\n</body>\n</html>\n"));
}

/* Asking ---------------------------------------------------------------------------------------------------------------------------- */

static void field(struct buf *out, const char *name, const char *label, const char *hint, const char *value, bool required)
{
	buf_addf(out, "<p><label for=\"%s\">%s</label>", name, label);
	buf_addf(out, "<input id=\"%s\" name=\"%s\" maxlength=\"255\" autocapitalize=\"none\" spellcheck=\"false\"%s aria-describedby=\"%s-hint\" value=\"", name, name,
	         required ? " required" : "", name);
	add_text(out, value);
	buf_addf(out, "\"><span class=\"hint\" id=\"%s-hint\">%s</span></p>\n", name, hint);
}

static void ways_fields(struct buf *out, const struct web_record *f)
{
	buf_add(out, SLICE("<details><summary>Addresses that let more ways be tested</summary>\n"));
	field(out, "known", "A mailbox that exists", "Gets up to five odd messages. Without it: postmaster.", f->known, false);
	field(out, "forward", "An address that forwards to a remote one that refuses", "", f->forward, false);
	field(out, "full", "A mailbox that is full", "", f->full, false);
	field(out, "dead_alias", "An alias that leads to nobody", "", f->dead_alias, false);
	field(out, "vacation", "A mailbox with a vacation message", "", f->vacation, false);
	field(out, "deferred", "An address whose next hop does not answer", "", f->deferred, false);
	field(out, "relayed", "A domain that is relayed to another server", "", f->relayed, false);
	buf_add(out, SLICE("</details>\n"));
}

/* Only what this server can do is offered. */
static void consent_fields(struct buf *out, const struct web_record *f, bool by_mail)
{
	buf_addf(out, "<fieldset><legend>How do you show that it is yours?</legend>\n"
	              "<p><input type=\"radio\" id=\"dns\" name=\"consent\" value=\"dns\"%s><label for=\"dns\">I put a TXT record into its DNS</label></p>\n",
	         !by_mail || f->consent == WEB_CONSENT_DNS ? " checked" : "");
	if (by_mail)
		buf_addf(out, "<p><input type=\"radio\" id=\"mail\" name=\"consent\" value=\"mail\"%s><label for=\"mail\">Write to its postmaster, who follows a link</label></p>\n",
		         f->consent == WEB_CONSENT_MAIL ? " checked" : "");
	buf_add(out, SLICE("</fieldset>\n"));
}

void html_page_ask(struct buf *out, struct slice complaint, const struct web_record *f, bool by_mail)
{
	static const struct web_record blank;
	f = f ? f : &blank;
	begin(out, "Does your mail server return spam to forged senders?", 0);
	buf_add(out, SLICE("<h1>Does your mail server return spam to forged senders?</h1>\n"
	                   "<p class=\"lead\">Spammers forge a sender, write to people who don&#39;t exist, and let your server return their message to the forged sender. "
	                   "That is a <em>reverse NDR attack</em>; what it sends is called backscatter, and it brings your server onto blocklists.</p>\n"
	                   "<p>This page plays the attack harmlessly against your own server: one marked message for each of sixteen ways, and a look at what comes back.</p>\n"));
	if (complaint.n) {
		buf_add(out, SLICE("<p class=\"error\" role=\"alert\">"));
		html_add_text(out, complaint);
		buf_add(out, SLICE("</p>\n"));
	}
	buf_add(out, SLICE("<form method=\"post\" action=\"/check\">\n"));
	field(out, "domain", "Your organisation&#39;s mail domain", "For example <code>example.org</code>", f->domain, true);
	field(out, "host", "Its mail server", "Empty: the domain&#39;s first MX is asked", f->host, false);
	ways_fields(out, f);
	consent_fields(out, f, by_mail);
	buf_add(out, SLICE("<p><button type=\"submit\">Prepare the check</button></p>\n</form>\n"));
	buf_add(out, SLICE("<p class=\"hint\">Nothing is sent before that is shown.</p>\n"));
	end(out);
}

void html_begin(struct buf *out, struct slice title)
{
	struct buf name = BUF_INIT(200);
	buf_add(&name, slice_head(title, 190));
	buf_add_byte(&name, '\0');
	begin(out, name.p, 0);
	buf_free(&name);
	buf_add(out, SLICE("<h1>"));
	html_add_text(out, title);
	buf_add(out, SLICE("</h1>\n"));
}

void html_end(struct buf *out)
{
	buf_add(out, SLICE("<p><a href=\"/\">To the first page</a></p>\n"));
	end(out);
}

void html_page_message(struct buf *out, struct slice title, struct slice text)
{
	html_begin(out, title);
	buf_add(out, SLICE("<p>"));
	html_add_text(out, text);
	buf_add(out, SLICE("</p>\n"));
	html_end(out);
}

void html_page_consent(struct buf *out, const struct web_record *r)
{
	html_begin(out, SLICE("May this mail server be checked?"));
	buf_add(out, SLICE("<p>Somebody asked whether the mail server of <strong>"));
	add_text(out, r->domain);
	buf_add(out, SLICE("</strong> returns spam to forged senders. The check sends it at most sixteen marked, harmless messages.</p>\n<form method=\"post\" action=\"/check/"));
	buf_addf(out, "%s/start\"><input type=\"hidden\" name=\"token\" value=\"%s\"><p><button type=\"submit\">Yes, check it</button></p></form>\n"
	              "<p>If not, nothing has to be done: without this nothing is sent.</p>\n", r->id, r->token);
	html_end(out);
}

/* A check --------------------------------------------------------------------------------------------------------------------------- */

static void consent_part(struct buf *out, const struct web_record *r)
{
	if (r->consent == WEB_CONSENT_MAIL) {
		buf_add(out, SLICE("<p>A message is on its way to <code>postmaster@"));
		add_text(out, r->domain);
		buf_add(out, SLICE("</code>. The check begins when the link in it is followed.</p>\n"));
		return;
	}
	buf_add(out, SLICE("<p>Put this record into the domain&#39;s DNS, and press the button. It may be removed afterwards.</p>\n<pre tabindex=\"0\" aria-label=\"DNS record\">_rndr-check."));
	add_text(out, r->domain);
	buf_add(out, SLICE(". IN TXT &quot;"));
	add_text(out, r->token);
	buf_addf(out, "&quot;</pre>\n<form method=\"post\" action=\"/check/%s/start\"><p><button type=\"submit\">It is there: check now</button></p></form>\n", r->id);
}

static void progress_part(struct buf *out, const struct web_record *r, const struct rndr_sum *sum)
{
	unsigned done = sum ? sum->decided : 0, total = sum && sum->total ? sum->total : RNDR_WAYS;
	buf_addf(out, "<p role=\"status\" id=\"phase\">%s</p>\n", r->state == WEB_QUEUED ? "Waiting for its turn." : "Running.");
	buf_addf(out, "<p><label for=\"bar\">Ways tried</label> <progress id=\"bar\" max=\"%u\" value=\"%u\">%u of %u</progress> <span id=\"count\">%u of %u</span></p>\n", total,
	         done, done, total, done, total);
	buf_addf(out, "<script src=\"/page.js\" data-events=\"/check/%s/events\" defer></script>\n", r->id);
}

static const char *const CLASSES[RNDR_VERDICTS] = { "pending", "refused", "silent", "bounced", "untested" };

static void result_row(struct buf *out, const struct web_row *row, unsigned way)
{
	buf_addf(out, "<tr class=\"%s\" id=\"way-%.*s\"><th scope=\"row\">", CLASSES[row->verdict], SLICE_FMT(rndr_ways[way].word));
	html_add_text(out, rndr_ways[way].sentence);
	buf_add(out, SLICE("</th><td>"));
	html_add_text(out, rndr_verdict_name(row->verdict));
	buf_add(out, SLICE("</td><td>"));
	if (row->verdict == RNDR_BOUNCED)
		buf_addf(out, "%u × back, %llu bytes (%llu&nbsp;%% of what was sent), after %llu.%llu s, %s the spam&#39;s body", row->returns, (unsigned long long)row->back_bytes,
		         (unsigned long long)(row->sent_bytes ? row->back_bytes * 100 / row->sent_bytes : 0), (unsigned long long)row->back_ms / 1000,
		         (unsigned long long)row->back_ms % 1000 / 100, row->body_back ? "with" : "without");
	else
		html_add_text(out, web_note_of(row));
	if (row->verdict == RNDR_SILENT)
		html_add_text(out, rndr_silence((enum rndr_way)way));
	if (row->deferred)
		buf_add(out, SLICE(" (deferred at first, and tried again)"));
	buf_add(out, SLICE("</td></tr>\n"));
}

static void advice_part(struct buf *out)
{
	static const char *const servers[][2] = { { "postfix", "Postfix" }, { "exim", "Exim" }, { "opensmtpd", "OpenSMTPD" }, { "sendmail", "Sendmail" },
		{ "exchange", "Microsoft Exchange" }, { "microsoft365", "Microsoft 365" }, { "google", "Google Workspace" } };
	buf_add(out, SLICE("<h2>What to change</h2>\n<ul class=\"advice\">\n"));
	for (size_t i = 0; i < sizeof servers / sizeof *servers; i++)
		buf_addf(out, "<li><a href=\"/advice/%s\">%s</a></li>\n", servers[i][0], servers[i][1]);
	buf_add(out, SLICE("</ul>\n"));
}

static unsigned count_of(const struct web_record *r, enum rndr_verdict v)
{
	unsigned n = 0;
	for (size_t w = 0; w < RNDR_WAYS; w++)
		n += r->rows[w].verdict == v;
	return n;
}

/* One sentence, the same on the page and in the text. */
static void add_verdict(struct buf *out, const struct web_record *r)
{
	unsigned bounced = count_of(r, RNDR_BOUNCED), tested = RNDR_WAYS - count_of(r, RNDR_COULD_NOT);
	if (bounced)
		buf_addf(out, "This server returned mail to a forged sender in %u of %u ways.", bounced, tested);
	else if (web_record_answer(r) == 0)
		buf_addf(out, "No backscatter was seen in %u ways.", tested);
	else
		buf_addf(out, "No backscatter was seen in %u ways, but that does not clear this server: something was accepted that nobody can have, or too little could be tested.", tested);
}

static void verdict_part(struct buf *out, const struct web_record *r)
{
	static const char *const classes[] = { "verdict good", "verdict bad", "verdict" };
	buf_addf(out, "<p class=\"%s\">", classes[web_record_answer(r)]);
	add_verdict(out, r);
	buf_add(out, SLICE("</p>\n"));
	if (r->deaf)
		buf_add(out, SLICE("<p>Nothing listens here for what comes back (listen-rndr-catch), so only refusals can be told from the rest.</p>\n"));
}

static void result_part(struct buf *out, const struct web_record *r, bool finished)
{
	if (finished) {
		verdict_part(out, r);
		buf_add(out, SLICE("<figure>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Picture of the messages&#39; way\">\n"));
		html_picture(out, r);
		buf_add(out, SLICE("</div>\n<figcaption>The way of the forged messages. A red arrow hit the victim.</figcaption></figure>\n"));
	}
	buf_add(out, SLICE("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Result for each way\"><table>\n<caption>Result for each way</caption>\n"
	                   "<thead><tr><th scope=\"col\">Way</th><th scope=\"col\">Verdict</th><th scope=\"col\">What was seen</th></tr></thead>\n<tbody id=\"rows\">\n"));
	for (unsigned w = 0; w < RNDR_WAYS; w++)
		result_row(out, &r->rows[w], w);
	buf_add(out, SLICE("</tbody></table></div>\n"));
	if (finished) {
		buf_addf(out, "<p><a href=\"/check/%s.txt\">The result as plain text</a>, to mail on.</p>\n", r->id);
		advice_part(out);
	}
}

static void add_link(struct buf *out, const struct web_record *r)
{
	struct slice url = web_settings.page_url;
	while (slice_ends(url, SLICE("/")))
		url.n--;
	html_add_text(out, url);
	buf_addf(out, "/check/%s", r->id);
}

static void link_part(struct buf *out, const struct web_record *r)
{
	buf_addf(out, "<p class=\"hint\">This page is permanent and private: who has its address can read it, and nobody finds it otherwise. Keep it: <a href=\"/check/%s\">", r->id);
	add_link(out, r);
	buf_add(out, SLICE("</a></p>\n"));
}

void html_page_check(struct buf *out, const struct web_record *r, const struct rndr_sum *sum)
{
	bool running = r->state == WEB_QUEUED || r->state == WEB_RUNNING;
	begin(out, "Check of a mail server", running || r->state == WEB_ASKED ? 3 : 0);
	buf_add(out, SLICE("<h1>Check of "));
	add_text(out, r->domain);
	buf_add(out, SLICE("</h1>\n"));
	if (r->note[0]) {
		buf_add(out, SLICE("<p class=\"error\" role=\"alert\">"));
		add_text(out, r->note);
		buf_add(out, SLICE("</p>\n"));
	}
	if (r->state == WEB_ASKED)
		consent_part(out, r);
	if (running)
		progress_part(out, r, sum);
	if (running || r->state == WEB_FINISHED)
		result_part(out, r, r->state == WEB_FINISHED);
	link_part(out, r);
	end(out);
}

void web_record_text(struct buf *out, const struct web_record *r)
{
	buf_addf(out, "Reverse NDR check of %s", r->domain);
	if (r->host[0])
		buf_addf(out, " (%s)", r->host);
	buf_add(out, SLICE("\n"));
	if (r->ended_s)
		mail_date_print(out, r->ended_s, 0);
	buf_add(out, SLICE("\n\n"));
	if (r->state == WEB_FINISHED) {
		add_verdict(out, r);
		buf_add(out, SLICE("\n\n"));
	}
	for (unsigned w = 0; w < RNDR_WAYS; w++) {
		const struct web_row *row = &r->rows[w];
		buf_addf(out, "%.*s: %.*s\n    %.*s\n", SLICE_FMT(rndr_ways[w].word), SLICE_FMT(rndr_verdict_name(row->verdict)), SLICE_FMT(rndr_ways[w].sentence));
		if (row->verdict == RNDR_BOUNCED)
			buf_addf(out, "    %u came back, %llu bytes, the first after %llu ms, %s the spam's body\n", row->returns, (unsigned long long)row->back_bytes,
			         (unsigned long long)row->back_ms, row->body_back ? "with" : "without");
		else if (row->note[0])
			buf_addf(out, "    %.*s%.*s\n", SLICE_FMT(web_note_of(row)), SLICE_FMT(row->verdict == RNDR_SILENT ? rndr_silence((enum rndr_way)w) : SLICE("")));
	}
	buf_add(out, SLICE("\nThe result as a page, with what to change in Postfix, Exim, OpenSMTPD, Sendmail, Microsoft Exchange, Microsoft 365 and Google Workspace:\n"));
	add_link(out, r);
	buf_add(out, SLICE("\n"));
}
