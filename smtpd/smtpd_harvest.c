/* The harvest table of all smtpd processes: one piece of memory that the parent made. */
#include "smtpd/smtpd_harvest.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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
	struct stat st;
	int fd = house_take_file(h, SLICE("shared:harvest"));
	size_t size = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : harvest_size(HARVEST_ENTRIES);
	bool shared = fd >= 0 && st.st_size > 0;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, shared ? fd : -1, 0);
	if (fd >= 0)
		close(fd);
	return memory == MAP_FAILED ? NULL : harvest_attach(memory, size, &limits);
}
