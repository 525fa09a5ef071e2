/* The names of the grades: one table, read both ways. */
#include "queue/evidence.h"

static const struct slice names[EVIDENCE_GRADES] = {
	[EVIDENCE_NONE] = SLICE_INIT("none"),   [EVIDENCE_DKIM] = SLICE_INIT("dkim"),     [EVIDENCE_SPF] = SLICE_INIT("spf"),
	[EVIDENCE_OWNER] = SLICE_INIT("owner"), [EVIDENCE_CLIENT] = SLICE_INIT("client"), [EVIDENCE_LOCAL] = SLICE_INIT("local"),
	[EVIDENCE_AUTH] = SLICE_INIT("auth"),
};

struct slice evidence_name(enum evidence_grade grade)
{
	return names[grade];
}
