/* What to change in other mail servers: data files below etc/advice, each with its sources, carried in the binary. */
#include "ctl/web_routes.h"

#include "base/scan.h"
#include "ctl/web_html.h"

#define ADVICE(name) \
	__asm__(".section .rodata\nadvice_" #name ":\n.incbin \"etc/advice/" #name ".txt\"\nadvice_" #name "_end:\n.byte 0\n.previous\n"); \
	extern const char advice_##name[] __attribute__((visibility("hidden"))), advice_##name##_end[] __attribute__((visibility("hidden")));

ADVICE(postfix)
ADVICE(exim)
ADVICE(opensmtpd)
ADVICE(sendmail)
ADVICE(exchange)
ADVICE(microsoft365)
ADVICE(google)

struct slice web_advice(struct slice word)
{
	const struct {
		struct slice word;
		const char *from, *to;
	} all[] = {
		{ SLICE("postfix"), advice_postfix, advice_postfix_end }, { SLICE("exim"), advice_exim, advice_exim_end },
		{ SLICE("opensmtpd"), advice_opensmtpd, advice_opensmtpd_end }, { SLICE("sendmail"), advice_sendmail, advice_sendmail_end },
		{ SLICE("exchange"), advice_exchange, advice_exchange_end }, { SLICE("microsoft365"), advice_microsoft365, advice_microsoft365_end },
		{ SLICE("google"), advice_google, advice_google_end },
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (slice_eq(all[i].word, word))
			return slice(all[i].from, (size_t)(all[i].to - all[i].from));
	return SLICE_NONE;
}

/* Lines that begin with two blanks are code; "Source: " begins a source; others are paragraphs. */
static void add_line(struct buf *out, struct slice line, bool *code)
{
	bool is_code = slice_starts(line, SLICE("  "));
	if (*code && !is_code)
		buf_add_cstr(out, "</pre>\n");
	if (is_code && !*code)
		buf_add_cstr(out, "<pre tabindex=\"0\">");
	*code = is_code;
	if (!line.n)
		return;
	if (is_code) {
		html_add_text(out, slice_skip(line, 2));
		buf_add_cstr(out, "\n");
		return;
	}
	buf_add_cstr(out, slice_starts(line, SLICE("Source: ")) ? "<p class=\"hint\">" : "<p>");
	html_add_text(out, line);
	buf_add_cstr(out, "</p>\n");
}

void html_page_advice(struct buf *out, struct slice text)
{
	struct slice title, line;
	bool code = false;
	if (!scan_line(&text, &title))
		return;
	html_begin(out, title);
	while (scan_line(&text, &line))
		add_line(out, line, &code);
	if (code)
		buf_add_cstr(out, "</pre>\n");
	html_end(out);
}
