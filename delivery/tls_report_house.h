#ifndef DELIVERY_TLS_REPORT_HOUSE_H
#define DELIVERY_TLS_REPORT_HOUSE_H
#include "base/dns.h"
#include "base/house.h"
#include "delivery/tls_report.h"

/* TLS reports in the delivery process: counts in the file "shared:tls-report"; days that are over are told to whom the domain names, by helpers of kind
 * "tls-report", which write a mail into the queue's drop folder or post it. Without the setting tls-report-from nothing is sent. */
struct tls_report_house;
struct tls_report_house *tls_report_house_new(struct house *h, struct dns *d); /* before a chroot: takes the file */
struct tls_report *tls_report_house_counts(struct tls_report_house *t);
void tls_report_house_free(struct tls_report_house *t);

/* The helper's main: words: drop folder, from, our host name, roots, domain, report-id, first and last second, places...; the JSON comes in one frame on standard input. */
enum { TLS_REPORT_TEXT = 1 };
int tls_report_main(int argc, char **argv);
#endif
