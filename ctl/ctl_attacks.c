/* porterctl attacks: what was tried against us, by whom, and what it would have cost others. Read from the account that smtpd and queue keep (queue/attacks.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/mail_date.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/attack_names.h"
#include "ctl/tables.h"
#include "ctl/web_html.h"
#include "queue/attacks.h"

enum { SHOWN = 20, MAX_OUT = 4 << 20, COLUMNS = 60, CHART_WIDTH = 700, CHART_HEIGHT = 120, DEFAULT_S = 7 * 86400 };

/* Sums of hours for as many columns as fit. */
static size_t columns_of(const struct attack_report *r, size_t most, uint64_t *columns)
{
	size_t n = r->hour_count < most ? r->hour_count : most;
	memset(columns, 0, n * sizeof *columns);
	for (size_t i = 0; i < r->hour_count; i++)
		columns[i * n / r->hour_count] += r->hours[i];
	return n;
}

static uint64_t highest(const uint64_t *columns, size_t n)
{
	uint64_t most = 1;
	for (size_t i = 0; i < n; i++)
		most = columns[i] > most ? columns[i] : most;
	return most;
}

/* Text -------------------------------------------------------------------------------------------------------------------------------- */

static void add_sparkline(struct buf *out, const struct attack_report *r)
{
	static const char *const bars[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	uint64_t columns[COLUMNS];
	size_t n = columns_of(r, COLUMNS, columns);
	uint64_t most = highest(columns, n);
	for (size_t i = 0; i < n; i++)
		buf_add_cstr(out, bars[columns[i] ? 1 + columns[i] * 7 / most : 0]);
	buf_addf(out, "  at most %llu in %zu h\n", (unsigned long long)most, (r->hour_count + n - 1) / n);
}

static void add_kinds(struct buf *out, uint32_t kinds)
{
	bool first = true;
	for (unsigned k = 0; k < ATTACK_KINDS; k++)
		if (kinds >> k & 1) {
			buf_addf(out, "%s%.*s", first ? "" : ", ", SLICE_FMT(attack_name((enum attack_kind)k)));
			first = false;
		}
}

static void add_list(struct buf *out, const char *title, const struct attack_top *rows, size_t count, const struct attack_names *names)
{
	if (count)
		buf_addf(out, "\n%s\n", title);
	for (size_t i = 0; i < count && i < SHOWN; i++) {
		struct slice name = names ? attack_names_of(names, rows[i].name) : SLICE("");
		buf_addf(out, "  %9llu  %-28s ", (unsigned long long)rows[i].count, rows[i].name);
		if (name.n)
			buf_addf(out, "%.*s  ", SLICE_FMT(name));
		add_kinds(out, rows[i].kinds);
		buf_add_cstr(out, "\n");
	}
	if (count > SHOWN)
		buf_addf(out, "  ... and %zu more\n", count - SHOWN);
}

static void write_text(const struct attack_report *r, const struct attack_names *names, struct buf *out)
{
	buf_add_cstr(out, "Attacks since ");
	mail_date_print(out, r->since_s, 0);
	if (!r->attempts && !attack_withheld(r)) {
		buf_add_cstr(out, ": none\n");
		return;
	}
	buf_addf(out, ": %llu attempts\n", (unsigned long long)r->attempts);
	add_sparkline(out, r);
	buf_addf(out, "\nReports never sent: at Postfix's default behaviour %llu messages, %llu KiB, would have gone to forged senders.\n"
	              "Withheld by the gate: %llu (porterctl dead list). The others were never needed, since nothing was accepted.\n\nWhat was tried, and what it was answered\n",
	         (unsigned long long)r->spared_messages, (unsigned long long)r->spared_bytes / 1024, (unsigned long long)attack_withheld(r));
	for (unsigned k = 0; k < ATTACK_KINDS; k++) {
		if (!attack_total(r, (enum attack_kind)k))
			continue;
		buf_addf(out, "  %9llu  %-30.*s", (unsigned long long)attack_total(r, (enum attack_kind)k), SLICE_FMT(attack_name((enum attack_kind)k)));
		for (unsigned i = 0; i < ATTACK_ANSWERS; i++)
			if (r->counts[k][i])
				buf_addf(out, "  %.*s %llu", SLICE_FMT(attack_answer_name((enum attack_answer)i)), (unsigned long long)r->counts[k][i]);
		buf_add_cstr(out, "\n");
	}
	add_list(out, "From these networks", r->networks, r->network_count, names);
	add_list(out, "With these forged domains", r->domains, r->domain_count, NULL);
}

/* JSON -------------------------------------------------------------------------------------------------------------------------------- */

static void json_list(struct buf *out, const char *key, const struct attack_top *rows, size_t count, const struct attack_names *names)
{
	buf_addf(out, ",\"%s\":[", key);
	for (size_t i = 0; i < count; i++) {
		buf_addf(out, "%s{\"name\":", i ? "," : "");
		text_add_json(out, slice_of(rows[i].name));
		buf_addf(out, ",\"count\":%llu,\"error\":%llu,\"kinds\":[", (unsigned long long)rows[i].count, (unsigned long long)rows[i].error);
		bool first = true;
		for (unsigned k = 0; k < ATTACK_KINDS; k++)
			if (rows[i].kinds >> k & 1) {
				buf_addf(out, "%s\"%.*s\"", first ? "" : ",", SLICE_FMT(attack_name((enum attack_kind)k)));
				first = false;
			}
		buf_add_cstr(out, "]");
		if (names && attack_names_of(names, rows[i].name).n) {
			buf_add_cstr(out, ",\"reverse_name\":");
			text_add_json(out, attack_names_of(names, rows[i].name));
		}
		buf_add_cstr(out, "}");
	}
	buf_add_cstr(out, "]");
}

static void write_json(const struct attack_report *r, const struct attack_names *names, struct buf *out)
{
	buf_addf(out, "{\"since\":%lld,\"until\":%lld,\"attempts\":%llu,\"spared_messages\":%llu,\"spared_bytes\":%llu,\"withheld\":%llu,\"kinds\":{",
	         (long long)r->since_s, (long long)r->until_s,
	         (unsigned long long)r->attempts, (unsigned long long)r->spared_messages, (unsigned long long)r->spared_bytes, (unsigned long long)attack_withheld(r));
	for (unsigned k = 0; k < ATTACK_KINDS; k++) {
		buf_addf(out, "%s\"%.*s\":{", k ? "," : "", SLICE_FMT(attack_name((enum attack_kind)k)));
		for (unsigned i = 0; i < ATTACK_ANSWERS; i++)
			buf_addf(out, "%s\"%.*s\":%llu", i ? "," : "", SLICE_FMT(attack_answer_name((enum attack_answer)i)), (unsigned long long)r->counts[k][i]);
		buf_add_cstr(out, "}");
	}
	buf_add_cstr(out, "},\"hours\":[");
	for (size_t i = 0; i < r->hour_count; i++)
		buf_addf(out, "%s%llu", i ? "," : "", (unsigned long long)r->hours[i]);
	buf_add_cstr(out, "]");
	json_list(out, "networks", r->networks, r->network_count, names);
	json_list(out, "domains", r->domains, r->domain_count, NULL);
	buf_add_cstr(out, "}\n");
}

/* HTML -------------------------------------------------------------------------------------------------------------------------------- */

static void add_chart(struct buf *out, const struct attack_report *r)
{
	uint64_t columns[CHART_WIDTH / 4];
	size_t n = columns_of(r, CHART_WIDTH / 4, columns);
	uint64_t most = highest(columns, n);
	buf_addf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Attempts over time, at most %llu in a column\">", CHART_WIDTH, CHART_HEIGHT + 4, (unsigned long long)most);
	for (size_t i = 0; i < n; i++) {
		unsigned height = (unsigned)(columns[i] * CHART_HEIGHT / most);
		if (columns[i])
			buf_addf(out, "<rect x=\"%zu\" y=\"%u\" width=\"%zu\" height=\"%u\"/>", i * CHART_WIDTH / n, CHART_HEIGHT - height, CHART_WIDTH / n - (CHART_WIDTH / n > 2),
			         height ? height : 1);
	}
	buf_addf(out, "<path d=\"M0 %dH%d\"/></svg>\n<p class=\"axis\"><span>", CHART_HEIGHT + 1, CHART_WIDTH);
	mail_date_print(out, r->since_s, 0);
	buf_addf(out, "</span> <span>at most %llu in %zu h</span> <span>", (unsigned long long)most, (r->hour_count + n - 1) / n);
	mail_date_print(out, r->until_s, 0);
	buf_add_cstr(out, "</span></p>\n");
}

static void html_list(struct buf *out, const char *title, const struct attack_top *rows, size_t count, const struct attack_names *names)
{
	buf_addf(out, "<table>\n<caption>%s</caption>\n", title);
	for (size_t i = 0; i < count && i < SHOWN; i++) {
		buf_addf(out, "<tr><td class=\"n\">%llu</td><td>", (unsigned long long)rows[i].count);
		html_add_text(out, slice_of(rows[i].name));
		if (names && attack_names_of(names, rows[i].name).n) {
			buf_add_cstr(out, "<br><small>");
			html_add_text(out, attack_names_of(names, rows[i].name));
			buf_add_cstr(out, "</small>");
		}
		buf_add_cstr(out, "</td><td>");
		add_kinds(out, rows[i].kinds);
		buf_add_cstr(out, "</td></tr>\n");
	}
	buf_add_cstr(out, "</table>\n");
}

static void write_html(const struct attack_report *r, const struct attack_names *names, struct buf *out)
{
	buf_add_cstr(out,
	             "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Attacks</title>\n"
	                  "<style>body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 Georgia,serif;color:#1d2126;background:#fbfaf7}svg{width:100%}rect{fill:#b3261e}path{stroke:#555}"
	                  "table{border-collapse:collapse;width:100%}td{border-top:1px solid #d5d2c9;padding:.3rem .5rem;vertical-align:top}.n{text-align:right;font-variant-numeric:tabular-nums}"
	                  ".sum{font-size:1.2rem}.axis{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem;margin:.2rem 0;font-size:.85rem;color:#555}"
	                  "caption{text-align:left;font-size:1.3rem;font-weight:bold;padding:1rem 0 .4rem}"
	                  "@media(prefers-color-scheme:dark){body{color:#eceae4;background:#15181c}rect{fill:#ff8a80}path{stroke:#a9b1ba}td{border-color:#3a4048}.axis{color:#a9b1ba}}</style></head><body>\n<h1>Attacks that were fended off</h1>\n<p>Since ");
	mail_date_print(out, r->since_s, 0);
	buf_addf(out, "</p>\n<p class=\"sum\">%llu attempts. Reports never sent: %llu messages, %llu KiB, which Postfix, as shipped, would have sent to forged senders.</p>\n"
	              "<p>Withheld by the gate: %llu. The others were never needed, since nothing was accepted.</p>\n",
	         (unsigned long long)r->attempts, (unsigned long long)r->spared_messages, (unsigned long long)r->spared_bytes / 1024, (unsigned long long)attack_withheld(r));
	add_chart(out, r);
	buf_add_cstr(out, "<table>\n<caption>What was tried, and what it was answered</caption>\n");
	for (unsigned k = 0; k < ATTACK_KINDS; k++) {
		if (!attack_total(r, (enum attack_kind)k))
			continue;
		buf_addf(out, "<tr><td class=\"n\">%llu</td><td>%.*s</td><td>", (unsigned long long)attack_total(r, (enum attack_kind)k), SLICE_FMT(attack_name((enum attack_kind)k)));
		for (unsigned i = 0; i < ATTACK_ANSWERS; i++)
			if (r->counts[k][i])
				buf_addf(out, "%.*s %llu<br>", SLICE_FMT(attack_answer_name((enum attack_answer)i)), (unsigned long long)r->counts[k][i]);
		buf_add_cstr(out, "</td></tr>\n");
	}
	buf_add_cstr(out, "</table>\n");
	html_list(out, "From these networks", r->networks, r->network_count, names);
	html_list(out, "With these forged domains", r->domains, r->domain_count, NULL);
	buf_add_cstr(out, "</body></html>\n");
}

/* The command ------------------------------------------------------------------------------------------------------------------------- */

static int write_file(const char *path, struct slice text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n) {
		int error = errno;
		if (fd >= 0)
			close(fd);
		return ctl_fail(CTL_IO, "%s: %s", path, strerror(error));
	}
	close(fd);
	return 0;
}

static struct attacks *open_account(void **memory, int *code)
{
	char path[4200];
	snprintf(path, sizeof path, "%.*s/attacks", SLICE_FMT(general_settings.spool_directory));
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		*code = ctl_fail(CTL_NO_INPUT, "%s: %s (it is made when porterd starts; only root and its users may read it)", path, strerror(errno));
		return NULL;
	}
	struct stat st;
	bool whole = fstat(fd, &st) == 0 && (size_t)st.st_size >= attacks_size();
	*memory = whole ? mmap(NULL, attacks_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	close(fd);
	struct attacks *a = *memory == MAP_FAILED ? NULL : attacks_attach(*memory, attacks_size());
	if (!a)
		*code = ctl_fail(CTL_DATA, "%s: this is no account of attacks of this version; porterd begins a new one at its next start", path);
	return a;
}

static int run_attacks(struct ctl *c, int argc, char **argv)
{
	const char *since = ctl_value(&argc, argv, "--since"), *html = ctl_value(&argc, argv, "--html");
	bool names_wanted = ctl_flag(&argc, argv, "--names");
	uint64_t span = DEFAULT_S;
	int code = 0;
	void *memory;
	if (argc)
		return ctl_fail(CTL_USAGE, "the option %s is unknown here", argv[0]);
	if (since && !scan_span_all(slice_of(since), (uint64_t)ATTACK_DAYS * 86400, &span))
		return ctl_fail(CTL_USAGE, "--since wants a time of at most %d days: 24h, 7d, 5w", ATTACK_DAYS);
	if (!ctl_settings(c))
		return CTL_CONFIG;
	struct attacks *a = open_account(&memory, &code);
	if (!a)
		return code;
	struct attack_report *r = MEM_NEW(struct attack_report);
	struct buf out = BUF_INIT(MAX_OUT);
	attacks_read(a, clock_wall_s() - (int64_t)span, clock_wall_s(), r);
	struct attack_names *names = names_wanted ? attack_names_ask(r->networks, r->network_count < SHOWN ? r->network_count : SHOWN) : NULL;
	if (html)
		write_html(r, names, &out);
	else if (c->json)
		write_json(r, names, &out);
	else
		write_text(r, names, &out);
	if (html)
		code = write_file(html, buf_slice(&out));
	else
		ctl_print(buf_slice(&out));
	attack_names_free(names);
	buf_free(&out);
	mem_free(r);
	attacks_detach(a);
	munmap(memory, attacks_size());
	return code;
}

static int run_digest(struct ctl *c, int argc, char **argv)
{
	const char *words[] = { "digest" };
	if (argc)
		return ctl_fail(CTL_USAGE, "digest takes no %s", argv[0]);
	return ctl_settings(c) ? ctl_ask_and_print(c, "queue", words, 1) : CTL_CONFIG;
}

const struct ctl_command ctl_attacks_commands[] = {
	{ "attacks", "[--since TIME] [--names] [--html FILE] [--json]",
	  "Reports the attacks that were fended off: when, from which networks (--names: with their reverse names), with which forged domains, what was answered, and what the reports would "
	  "have cost.", run_attacks },
	{ "digest", "", "Sends the postmaster what the daily digest would tell now: dead letters and attacks of the last 24 hours; nothing where there were none.", run_digest },
	{ NULL, NULL, NULL, NULL }
};
