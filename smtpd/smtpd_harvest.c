/* The harvest table of all smtpd processes: one piece of memory that the parent made. */
#include "smtpd/smtpd_harvest.h"

#include "base/shared.h"
#include "smtpd/harvest.h"
#include "smtpd/smtpd_settings.h"

enum { HARVEST_ENTRIES = 65536 };

/* The table that all smtpd processes share; where the parent has none to share, one of this process. */
struct harvest *smtpd_harvest_attach(struct house *h)
{
	const struct harvest_limits limits = {
		smtpd_settings.harvest_slow, smtpd_settings.harvest_blind, smtpd_settings.harvest_refuse, smtpd_settings.harvest_half_life_s,
		smtpd_settings.harvest_refuse_s, smtpd_settings.harvest_good
	};
	size_t size = harvest_size(HARVEST_ENTRIES);
	void *memory = shared_map(h, SLICE("shared:harvest"), 1, &size);
	memory = memory ? memory : shared_own(size);
	return memory ? harvest_attach(memory, size, &limits) : NULL;
}
