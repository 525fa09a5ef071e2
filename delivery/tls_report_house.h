#ifndef DELIVERY_TLS_REPORT_HOUSE_H
#define DELIVERY_TLS_REPORT_HOUSE_H
#include "base/dns.h"
#include "base/house.h"
#include "delivery/tls_report.h"

/* TLS reports in the delivery process: counts in the file "shared:tls-report"; days that are over are told to whom the domain names, by helpers of kind
 * "tls-report", one for each place, which write a mail into the queue's drop folder or post it. A place that could not be told is tried again, for a day (8460,
 * 5.5), over restarts, too: then a place may get the same report, with the same report-id, twice. Without the setting tls-report-from nothing is sent. */
struct tls_report_house;
struct tls_report_house *tls_report_house_new(struct house *h, struct dns *d); /* before a chroot: takes the file */
struct tls_report *tls_report_house_counts(struct tls_report_house *t);
/* From on_helper_done. */
void tls_report_house_done(struct tls_report_house *t, uint64_t id, int status);
void tls_report_house_stop(struct tls_report_house *t); /* draining: another process tells from now on; what is under way still comes by tls_report_house_done */
void tls_report_house_free(struct tls_report_house *t);

/* The helper's main: words: drop folder, from, our host name, roots, domain, report-id, first and last second, place; the JSON comes in one frame on standard input.
 * Its exit code is 0, or: */
enum { TLS_REPORT_TEXT = 1, TLS_REPORT_NOWHERE = 65 /* no such place can be */, TLS_REPORT_AGAIN = 75 };
int tls_report_main(int argc, char **argv);
#endif
