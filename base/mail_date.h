#ifndef BASE_MAIL_DATE_H
#define BASE_MAIL_DATE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/slice.h"

/* Dates of RFC 5322 (3.3, obsolete forms of 4.3 read too) and RFC 3339, from and to seconds since 1970. */

/* "Wed, 25 Nov 2026 02:31:09 +0100": the wall clock of a zone that is `zone_minutes` east of UTC (-1439..1439). */
int mail_date_print(struct buf *out, int64_t time_s, int zone_minutes);

/* The same in the machine's own zone (TZ, /etc/localtime; in a chroot what was loaded before it). */
int mail_date_print_local(struct buf *out, int64_t time_s);

/* "2026-11-25T02:31:09Z" (RFC 3339). */
int mail_date_print_iso(struct buf *out, int64_t time_s);

/* All of s, comments allowed; years 1900..9999. zone_minutes may be NULL; "-0000" and unknown zone words give 0. False: no date. */
bool mail_date_parse(struct slice s, int64_t *time_s, int *zone_minutes);
bool mail_date_parse_iso(struct slice s, int64_t *time_s);

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back. */
int64_t mail_date_days(int64_t year, unsigned month, unsigned day);
void mail_date_civil(int64_t days, int64_t *year, unsigned *month, unsigned *day);
#endif
