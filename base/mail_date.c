/* Dates without libc's locale and time zone machinery, save for the local zone's offset. Calendar arithmetic by days since 1970. */
#include "base/mail_date.h"

#include <time.h>

#include "base/scan.h"
#include "base/text.h"

static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
static const char week[7][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" }; /* 1970-01-01 was a Thursday */

int64_t mail_date_days(int64_t year, unsigned month, unsigned day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + (int64_t)day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

void mail_date_civil(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t day_of_era = z - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t m = (5 * day_of_year + 2) / 153;
	*day = (unsigned)(day_of_year - (153 * m + 2) / 5 + 1);
	*month = (unsigned)(m < 10 ? m + 3 : m - 9);
	*year = year_of_era + era * 400 + (*month <= 2);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

struct wall {
	int64_t days, year;
	unsigned month, day, second;
};

static struct wall wall_of(int64_t time_s)
{
	struct wall w = { .days = floor_div(time_s, 86400) };
	w.second = (unsigned)(time_s - w.days * 86400);
	mail_date_civil(w.days, &w.year, &w.month, &w.day);
	return w;
}

int mail_date_print(struct buf *out, int64_t time_s, int zone_minutes)
{
	struct wall w = wall_of(time_s + (int64_t)zone_minutes * 60);
	int weekday = (int)(((w.days % 7) + 7) % 7);
	unsigned zone = (unsigned)(zone_minutes < 0 ? -zone_minutes : zone_minutes);
	return buf_addf(out, "%s, %u %s %04lld %02u:%02u:%02u %c%02u%02u", week[weekday], w.day, months[w.month - 1], (long long)w.year,
	                w.second / 3600, w.second / 60 % 60, w.second % 60, zone_minutes < 0 ? '-' : '+', zone / 60, zone % 60);
}

int mail_date_print_local(struct buf *out, int64_t time_s)
{
	struct tm tm;
	time_t t = (time_t)time_s;
	int zone = localtime_r(&t, &tm) ? (int)(tm.tm_gmtoff / 60) : 0;
	return mail_date_print(out, time_s, zone);
}

int mail_date_print_iso(struct buf *out, int64_t time_s)
{
	struct wall w = wall_of(time_s);
	return buf_addf(out, "%04lld-%02u-%02uT%02u:%02u:%02uZ", (long long)w.year, w.month, w.day, w.second / 3600, w.second / 60 % 60, w.second % 60);
}

/* Blanks, line ends and comments. */
static bool skip_cfws(struct slice *in)
{
	unsigned depth = 0;
	while (in->n) {
		char c = in->p[0];
		if (c == '(' && ++depth > 16)
			return false;
		if (c == ')' && depth)
			depth--;
		else if (c == '\\' && depth)
			*in = slice_skip(*in, 1);
		else if (!depth && c != ' ' && c != '\t' && c != '\r' && c != '\n')
			return true;
		*in = slice_skip(*in, 1);
	}
	return depth == 0;
}

static bool is_letter(unsigned char c)
{
	return text_is_alpha(c);
}

static bool read_month(struct slice *in, unsigned *month)
{
	struct slice word;
	if (!scan_while(in, is_letter, 9, &word) || word.n < 3)
		return false;
	for (unsigned i = 0; i < 12; i++)
		if (slice_eq_nocase(slice_head(word, 3), slice(months[i], 3))) {
			*month = i + 1;
			return true;
		}
	return false;
}

/* "+0100", or a word: the zones of RFC 822 have their value, others are 0 (RFC 5322, 4.3). */
static bool read_zone(struct slice *in, int *minutes)
{
	static const struct { struct slice word; int minutes; } known[] = {
		{ SLICE_INIT("EST"), -300 }, { SLICE_INIT("EDT"), -240 }, { SLICE_INIT("CST"), -360 }, { SLICE_INIT("CDT"), -300 },
		{ SLICE_INIT("MST"), -420 }, { SLICE_INIT("MDT"), -360 }, { SLICE_INIT("PST"), -480 }, { SLICE_INIT("PDT"), -420 },
	};
	*minutes = 0;
	bool minus = in->n && in->p[0] == '-';
	if (in->n && (minus || in->p[0] == '+')) {
		uint64_t v;
		struct slice digits = slice_skip(*in, 1);
		if (digits.n < 4 || !scan_uint(&digits, 9999, &v) || in->n - digits.n != 5 || v % 100 > 59 || v / 100 > 23)
			return false;
		*in = digits;
		*minutes = (int)(v / 100 * 60 + v % 100) * (minus ? -1 : 1);
		return true;
	}
	struct slice word;
	if (!scan_while(in, is_letter, 32, &word))
		return in->n == 0;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (slice_eq_nocase(word, known[i].word))
			*minutes = known[i].minutes;
	return true;
}

static bool read_time(struct slice *in, int64_t *second)
{
	uint64_t h, m, s = 0;
	if (!scan_uint(in, 23, &h) || !skip_cfws(in) || !scan_byte(in, ':') || !skip_cfws(in) || !scan_uint(in, 59, &m) || !skip_cfws(in))
		return false;
	if (scan_byte(in, ':') && (!skip_cfws(in) || !scan_uint(in, 60, &s) || !skip_cfws(in))) /* 60: a leap second */
		return false;
	*second = (int64_t)(h * 3600 + m * 60 + s);
	return true;
}

static bool is_day_of(uint64_t day, unsigned month, int64_t year)
{
	int64_t y, days = mail_date_days(year, month, (unsigned)day);
	unsigned m, d;
	mail_date_civil(days, &y, &m, &d);
	return day && d == day && m == month;
}

bool mail_date_parse(struct slice s, int64_t *time_s, int *zone_minutes)
{
	uint64_t day, year;
	unsigned month;
	int64_t second;
	int zone;
	struct slice word;
	if (!skip_cfws(&s))
		return false;
	if (scan_while(&s, is_letter, 9, &word) && (!skip_cfws(&s) || !scan_byte(&s, ',') || !skip_cfws(&s)))
		return false;
	if (!scan_uint(&s, 31, &day) || !skip_cfws(&s) || !read_month(&s, &month) || !skip_cfws(&s))
		return false;
	size_t before = s.n;
	if (!scan_uint(&s, 9999, &year) || !skip_cfws(&s))
		return false;
	if (year < 1000 && before - s.n < 5)
		year += year < 50 ? 2000 : 1900; /* 5322, 4.3: two and three digits */
	if (year < 1900 || !is_day_of(day, month, (int64_t)year))
		return false;
	if (!read_time(&s, &second) || !read_zone(&s, &zone) || !skip_cfws(&s) || s.n)
		return false;
	*time_s = mail_date_days((int64_t)year, month, (unsigned)day) * 86400 + second - (int64_t)zone * 60;
	if (zone_minutes)
		*zone_minutes = zone;
	return true;
}

static bool digits(struct slice *in, size_t n, uint64_t max, uint64_t *out)
{
	struct slice part = slice_head(*in, n);
	if (part.n != n || !scan_uint_all(part, max, out))
		return false;
	*in = slice_skip(*in, n);
	return true;
}

bool mail_date_parse_iso(struct slice s, int64_t *time_s)
{
	uint64_t year, month, day, h, m, sec, zone_h = 0, zone_m = 0, part;
	if (!digits(&s, 4, 9999, &year) || !scan_byte(&s, '-') || !digits(&s, 2, 12, &month) || !scan_byte(&s, '-') || !digits(&s, 2, 31, &day))
		return false;
	if (!month || !is_day_of(day, (unsigned)month, (int64_t)year) || !(scan_byte(&s, 'T') || scan_byte(&s, 't') || scan_byte(&s, ' ')))
		return false;
	if (!digits(&s, 2, 23, &h) || !scan_byte(&s, ':') || !digits(&s, 2, 59, &m) || !scan_byte(&s, ':') || !digits(&s, 2, 60, &sec))
		return false;
	if (scan_byte(&s, '.') && !scan_uint(&s, 999999999, &part))
		return false;
	bool minus = s.n && s.p[0] == '-';
	if (!scan_byte(&s, 'Z') && !scan_byte(&s, 'z')) {
		if (!minus && !scan_byte(&s, '+'))
			return false;
		s = slice_skip(s, minus);
		if (!digits(&s, 2, 23, &zone_h) || !scan_byte(&s, ':') || !digits(&s, 2, 59, &zone_m))
			return false;
	}
	if (s.n)
		return false;
	int64_t zone = (int64_t)(zone_h * 3600 + zone_m * 60) * (minus ? -1 : 1);
	*time_s = mail_date_days((int64_t)year, (unsigned)month, (unsigned)day) * 86400 + (int64_t)(h * 3600 + m * 60 + sec) - zone;
	return true;
}
