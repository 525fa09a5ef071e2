/* Where answers come from when a process asks by itself. Apart from base/dns.c, so that who asks the process `resolver` doesn't load libunbound. */
#include "base/dns_source.h"

struct dns *dns_new(struct loop *l, const struct dns_settings *s, const char **why)
{
	const struct dns_source *source = NULL;
	void *self = s->zone_file.n ? dns_zone_new(l, s, &source, why) : dns_unbound_new(l, s, &source, why);
	return self ? dns_of_source(l, source, self, s->timeout_ms) : NULL;
}
