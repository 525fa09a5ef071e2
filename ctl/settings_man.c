/* The tables of settings as a man page and as a list. */
#include "ctl/settings_man.h"

#include "base/buf.h"
#include "base/text.h"
#include "ctl/settings_all.h"

static const char *type_name(enum setting_type type)
{
	switch (type) {
	case SETTING_BOOL: return "yes or no";
	case SETTING_UINT: return "number";
	case SETTING_SIZE: return "size";
	case SETTING_SPAN: return "time";
	case SETTING_TEXT: return "text";
	case SETTING_WORD: return "word";
	case SETTING_DOMAIN: return "host name";
	case SETTING_PATH: return "path";
	case SETTING_LIST: return "list";
	}
	return "";
}

static const char page_head[] =
	".TH PORTER.CONF 5 \"\" \"Porter\" \"Porter manual\"\n.SH NAME\nporter.conf \\- settings of the Porter mail server\n"
	".SH DESCRIPTION\nOne setting a line: its name, blanks, its value. A # at the start of a line or behind a blank begins a comment. A setting may stand once; what is not\n"
	"there has its default. Sizes end in k, M, G or T (powers of 1024), times in s, m, h, d or w. Relative paths begin at the directory of the file. Lists are separated by\n"
	"blanks. Errors are told all at once, with their lines, by\n.BR \"porterctl check\" .\nA running server takes changes by\n.BR \"porterctl reload\" .\n";

static const char page_tail[] = ".SH SEE ALSO\n.BR porterd (8),\n.BR porterctl (8),\n.BR porter-maps (5)\n";

static void range(FILE *out, const struct setting *s)
{
	if (s->type == SETTING_WORD)
		fprintf(out, ", one of: %s", s->words);
	if ((s->type == SETTING_UINT || s->type == SETTING_SIZE || s->type == SETTING_SPAN) && s->max)
		fprintf(out, ", %llu to %llu%s", (unsigned long long)s->min, (unsigned long long)s->max, s->type == SETTING_SPAN ? " seconds" : s->type == SETTING_SIZE ? " bytes" : "");
}

void settings_man_page(FILE *out)
{
	fputs(page_head, out);
	for (size_t t = 0; t < settings_all_count; t++) {
		fprintf(out, ".SH SETTINGS: %s\n", settings_all[t]->room);
		for (size_t i = 0; i < settings_all[t]->count; i++) {
			const struct setting *s = &settings_all[t]->rows[i];
			fprintf(out, ".TP\n.B %s\n%s\n(%s", s->name, s->sentence, type_name(s->type));
			range(out, s);
			fprintf(out, "; default: %s)\n", s->preset[0] ? s->preset : "empty");
		}
	}
	fputs(page_tail, out);
}

void settings_list(FILE *out, bool json)
{
	struct buf line = BUF_INIT(8192);
	bool first = true;
	if (json)
		fputs("[", out);
	for (size_t t = 0; t < settings_all_count; t++)
		for (size_t i = 0; i < settings_all[t]->count; i++) {
			const struct setting *s = &settings_all[t]->rows[i];
			if (!json) {
				fprintf(out, "%-24s %-16s %s\n", s->name, s->preset[0] ? s->preset : "-", s->sentence);
				continue;
			}
			buf_clear(&line);
			buf_addf(&line, "%s{\"name\":\"%s\",\"room\":\"%s\",\"type\":\"%s\",\"default\":", first ? "" : ",\n", s->name, settings_all[t]->room, type_name(s->type));
			text_add_json(&line, slice_of(s->preset));
			buf_add_cstr(&line, ",\"sentence\":");
			text_add_json(&line, slice_of(s->sentence));
			buf_add_cstr(&line, "}");
			fwrite(line.p, 1, line.n, out);
			first = false;
		}
	if (json)
		fputs("]\n", out);
	buf_free(&line);
}
