#ifndef BASE_MAIL_DMARC_RECORD_H
#define BASE_MAIL_DMARC_RECORD_H
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/slice.h"

/* A DMARC policy record (RFC 9989, 4.7 and 4.8). Unknown tags and wrong values are ignored; a record without a valid p= (or with a wrong sp= or np=)
 * means none where it names a valid rua=, and nothing otherwise (4.10.1). */
enum dmarc_policy { DMARC_POLICY_NONE, DMARC_POLICY_QUARANTINE, DMARC_POLICY_REJECT };
enum dmarc_psd { DMARC_PSD_UNKNOWN, DMARC_PSD_YES, DMARC_PSD_NO };
enum { DMARC_MAX_URIS = 10 };

struct dmarc_record {
	enum dmarc_policy p, sp, np;       /* what isn't written has the value of what stands for it */
	bool has_sp, has_np;
	bool applies;                      /* false: no DMARC processing by this record */
	enum dmarc_psd psd;
	bool strict_dkim, strict_spf;
	bool testing;                      /* t=y */
	struct slice rua[DMARC_MAX_URIS];  /* URIs as written, the obsolete "!10m" removed */
	size_t rua_count;
};

/* "v=DMARC1" is the first tag: the mark of a policy record among a name's TXT records. */
bool dmarc_record_is(struct slice txt);

/* Views of text. 0, or -EINVAL: no record, or a tag twice (*out untouched). */
int dmarc_record_parse(struct slice text, struct dmarc_record *out);

/* The address of a mailto: URI, decoded, in mem; "" if it is none. */
struct slice dmarc_uri_address(struct slice uri, struct arena *mem);

const char *dmarc_policy_name(enum dmarc_policy p);
#endif
