#ifndef DELIVERY_TLS_REPORT_H
#define DELIVERY_TLS_REPORT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* SMTP TLS reporting (RFC 8460): what became of TLS with each domain's hosts, counted by day (UTC), and told once a day to those who ask for it
 * (TXT _smtp._tls.DOMAIN). Counts, and reports that a place has not taken yet, live in a file that the parent maps for us ("shared:tls-report"), so that a restart loses
 * none; the room is fixed, and what has none is counted as left out. */
enum tls_report_policy { TLS_REPORT_NO_POLICY, TLS_REPORT_TLSA, TLS_REPORT_STS };

/* 4.3; the order is that of tls_report_result_name. */
enum tls_report_result {
	TLS_REPORT_SUCCESS, TLS_REPORT_NO_STARTTLS, TLS_REPORT_HOST_MISMATCH, TLS_REPORT_EXPIRED, TLS_REPORT_NOT_TRUSTED, TLS_REPORT_VALIDATION,
	TLS_REPORT_TLSA_INVALID, TLS_REPORT_DNSSEC_INVALID, TLS_REPORT_DANE_REQUIRED, TLS_REPORT_STS_FETCH, TLS_REPORT_STS_INVALID, TLS_REPORT_WEBPKI
};
const char *tls_report_result_name(enum tls_report_result r);
/* From OpenSSL's phrase for a handshake that failed. */
enum tls_report_result tls_report_result_of(struct slice phrase);

enum { TLS_REPORT_DOMAINS = 1024, TLS_REPORT_FAILURES = 8, TLS_REPORT_POLICY_TEXT = 640, TLS_REPORT_NAME = 254,
	TLS_REPORT_TELLINGS = 200, TLS_REPORT_ID = 288, TLS_REPORT_PLACE = 504 };

struct tls_report_event {
	struct slice domain;             /* whose policy it is */
	enum tls_report_policy policy;
	struct slice policy_text;        /* lines: TLSA records, or the STS policy */
	struct slice host, ip, from;     /* the receiving host, its address, ours ("" not known) */
	enum tls_report_result result;
};

/* One domain's day. */
struct tls_report_failure {
	uint8_t result;
	char host[TLS_REPORT_NAME], ip[46], from[46];
	uint64_t count;
};
struct tls_report_day {
	uint32_t day;                    /* since 1970; 0: free */
	uint8_t policy;
	char domain[TLS_REPORT_NAME];
	char policy_text[TLS_REPORT_POLICY_TEXT];
	uint64_t good, bad;
	struct tls_report_failure failures[TLS_REPORT_FAILURES];
};

struct tls_report;
size_t tls_report_size(void);
/* memory NULL: counts that end with the process. What isn't ours in it is cleared. */
struct tls_report *tls_report_attach(void *memory, size_t size);
void tls_report_free(struct tls_report *r); /* NULL is fine; the memory stays */
void tls_report_note(struct tls_report *r, const struct tls_report_event *e, int64_t now_s); /* r NULL: nothing */
/* The next day that is over, from place *at on, which is set to its own. It stays until it is dropped. False: there is none further on. */
bool tls_report_over(const struct tls_report *r, size_t *at, int64_t now_s, struct tls_report_day *out);
void tls_report_drop(struct tls_report *r, size_t at);

/* One report on its way to one place. Two processes may look at them while the house is reloaded: who tells it moves again_s on first, by more than telling takes. */
struct tls_report_telling {
	int64_t began_s, again_s;        /* its first try, 0: free; the next one */
	uint64_t pause_s;                /* between that one and the one behind it */
	char id[TLS_REPORT_ID], place[TLS_REPORT_PLACE];
	struct tls_report_day day;
};
struct tls_report_telling *tls_report_tellings(struct tls_report *r, size_t *count); /* the first that were ever in use */
size_t tls_report_room(const struct tls_report *r);                   /* how many are free */
/* NULL: there is no room, or id or place is too long. */
struct tls_report_telling *tls_report_begin(struct tls_report *r, const struct tls_report_day *d, struct slice id, struct slice place, int64_t now_s, uint64_t pause_s);

/* 4.4. id goes into report-id. */
void tls_report_json(const struct tls_report_day *d, struct slice organisation, struct slice contact, struct slice id, struct buf *out);

/* The places of a record "v=TLSRPTv1; rua=mailto:a@b,https://c/d" (3). Returns how many; 0: not such a record. */
enum { TLS_REPORT_PLACES = 4 };
size_t tls_report_places(struct slice txt, struct slice places[TLS_REPORT_PLACES]);
#endif
