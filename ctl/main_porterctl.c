/* porterctl: finds the command and runs it. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl/ctl.h"

enum { WIDTH = 100, INDENT = 6, NAMES = 18 };

static size_t words_of(const char *name)
{
	size_t n = 1;
	for (; *name; name++)
		n += *name == ' ';
	return n;
}

static bool matches(const char *name, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		size_t n = strlen(argv[i]);
		if (strncmp(name, argv[i], n) != 0)
			return false;
		if (name[n] == '\0')
			return true;
		if (name[n] != ' ')
			return false;
		name += n + 1;
	}
	return false;
}

static const struct ctl_command *find(int argc, char **argv)
{
	const struct ctl_command *best = NULL;
	for (size_t t = 0; ctl_tables[t]; t++)
		for (const struct ctl_command *row = ctl_tables[t]; row->name; row++)
			if (matches(row->name, argc, argv) && (!best || words_of(row->name) > words_of(best->name)))
				best = row;
	return best;
}

/* Up to a blank; what stands in brackets is one word, if it fits a line. */
static size_t word_at(const char *text, size_t n)
{
	size_t end = 0;
	for (int depth = 0; end < n && (depth > 0 || text[end] != ' '); end++)
		depth += (text[end] == '[') - (text[end] == ']');
	if (end <= WIDTH - INDENT)
		return end;
	for (end = 0; end < n && text[end] != ' ';)
		end++;
	return end;
}

/* Words in lines of at most WIDTH columns, the further ones behind so many blanks; column: where the first word would stand, 0 at the left edge. */
static void print_wrapped(const char *text, size_t n, size_t column, int indent)
{
	if (!column)
		column = (size_t)printf("%*s", indent, "");
	for (bool first = true; n; first = false) {
		size_t word = word_at(text, n);
		if (column + 1 + word > WIDTH)
			column = (size_t)printf("\n%*s", indent, "") - 1;
		else if (!first)
			column += (size_t)printf(" ");
		column += (size_t)printf("%.*s", (int)word, text);
		text += word + (word < n);
		n -= word + (word < n);
	}
	putchar('\n');
}

static size_t up_to(const char *text, const char *mark)
{
	const char *end = strstr(text, mark);
	return end ? (size_t)(end - text) : strlen(text);
}

/* Its first, up to a full stop; "..." is none. */
static size_t sentence_of(const char *text)
{
	size_t n = up_to(text, "\n\n"), at = 0;
	while (at < n && (strncmp(text + at, ". ", 2) != 0 || text[at - 1] == '.'))
		at++;
	return at < n ? at + 1 : n;
}

/* In the list of all commands: what it is for. */
static void print_short(const struct ctl_command *row)
{
	int column = printf("  %-*s ", NAMES, row->name);
	print_wrapped(row->sentence, sentence_of(row->sentence), (size_t)column, NAMES + 3);
}

/* Its options and what it does; of one that was asked for by its whole name, all paragraphs. */
static void print_command(const struct ctl_command *row, bool whole)
{
	const char *text = row->sentence;
	print_wrapped(row->usage, strlen(row->usage), (size_t)printf("  %s ", row->name), INDENT);
	for (size_t n; *text && (whole || text == row->sentence); text += n + (text[n] ? 2 : 0)) {
		n = up_to(text, "\n\n");
		if (text != row->sentence)
			putchar('\n');
		print_wrapped(text, n, 0, INDENT);
	}
}

/* name: the first words of the commands that are asked for; NULL: all. */
static int help(const char *name)
{
	size_t n = name ? strlen(name) : 0;
	bool any = false;
	if (!name)
		puts("usage: porterctl [-c DIR] [--json] [--yes] COMMAND ...\n       porterctl help COMMAND tells its options, or those of all commands that begin so\n");
	for (size_t t = 0; ctl_tables[t]; t++)
		for (const struct ctl_command *row = ctl_tables[t]; row->name; row++) {
			if (name && (strncmp(row->name, name, n) != 0 || (row->name[n] && row->name[n] != ' ')))
				continue;
			any = true;
			if (name)
				print_command(row, !row->name[n]);
			else
				print_short(row);
		}
	return any ? 0 : ctl_fail(CTL_USAGE, "there is no command %s; porterctl help lists them", name);
}

/* Of several words, as they were typed. */
static int help_of(int argc, char **argv)
{
	char name[100] = "";
	size_t n = 0;
	for (int i = 0; i < argc && n < sizeof name; i++)
		n += (size_t)snprintf(name + n, sizeof name - n, "%s%s", i ? " " : "", argv[i]);
	return help(argc ? name : NULL);
}

/* For roff: a backslash or a hyphen is written with a backslash, a line does not begin with a dot. */
static void roff(const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '-')
			putchar('\\');
		if (text[0] == '\n' && text[1] == '\n')
			text++, fputs("\n.IP\n", stdout);
		else
			putchar(*text);
	}
}

/* porterctl(8), made from the tables, so that it tells every command there is and no other. */
static int man_page(void)
{
	fputs(".TH PORTERCTL 8 \"\" \"Porter\" \"Porter manual\"\n.SH NAME\nporterctl \\- run the Porter mail server\n.SH SYNOPSIS\n.B porterctl\n.RB [ \\-c\n.IR DIR ]\n"
	      ".RB [ \\-\\-json ]\n.RB [ \\-\\-yes ]\n.I COMMAND\n\\&...\n.SH DESCRIPTION\n.B porterctl\nchecks, compiles and edits the configuration in\n.I DIR\n"
	      "(default: /etc/porter), and asks the running\n.BR porterd (8)\nby its control socket. With\n.B \\-\\-json\nanswers are JSON;\n.B \\-\\-yes\nanswers questions.\n"
	      ".SH COMMANDS\n", stdout);
	for (size_t t = 0; ctl_tables[t]; t++)
		for (const struct ctl_command *row = ctl_tables[t]; row->name; row++) {
			printf(".TP\n\\fB%s\\fP ", row->name);
			roff(row->usage);
			printf("\n");
			roff(row->sentence);
			printf("\n");
		}
	fputs(".SH EXIT STATUS\n0: done, or the answer is yes. 1: the answer is no, or what was named is not there. 2: could not tell. 64: wrong command line. 65: wrong data (maps). 66: what is to be read\n"
	      "is not there, or not for you. 69: nothing runs here. 75: try again. 78: wrong\n"
	      "configuration.\n.SH SEE ALSO\n.BR porterd (8),\n.BR porter.conf (5),\n.BR porter\\-maps (5)\n", stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct ctl c = { .terminal = isatty(STDERR_FILENO), .mem = ARENA_INIT(0) };
	const char *directory = "/etc/porter";
	char absolute[PATH_MAX];
	signal(SIGPIPE, SIG_IGN);
	log_open(STDERR_FILENO, LOG_FORM_TEXT, "porterctl");
	argc--, argv++;
	if (argc >= 2 && strcmp(argv[0], "-c") == 0) {
		directory = argv[1];
		argc -= 2, argv += 2;
	}
	c.json = ctl_flag(&argc, argv, "--json");
	c.yes = ctl_flag(&argc, argv, "--yes");
	if (!argc || strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0)
		return argc > 1 && strcmp(argv[1], "--man") == 0 ? man_page() : help_of(argc - (argc > 0), argv + 1);
	const struct ctl_command *command = find(argc, argv);
	if (!command) {
		help(argv[0]);
		return CTL_USAGE;
	}
	c.directory = realpath(directory, absolute) ? absolute : (char *)(uintptr_t)directory;
	int words = (int)words_of(command->name);
	if (ctl_flag(&argc, argv, "--help"))
		return help(command->name);
	int code = command->run(&c, argc - words, argv + words);
	if (fflush(stdout) != 0 && errno != EPIPE)
		code = ctl_fail(CTL_IO, "standard output: %s", strerror(errno));
	arena_free(&c.mem);
	return code;
}
