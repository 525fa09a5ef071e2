#ifndef CTL_SYNC_LDAP_H
#define CTL_SYNC_LDAP_H
#include "base/arena.h"
#include "base/buf.h"

/* An LDAP directory as the source of a map (libldap behind this file). All entries below base that match filter are read, page by page; each value of each
 * attribute that is an address becomes a line "ADDRESS VALUE". Active Directory's proxyAddresses ("SMTP:ann@example.org", "smtp:...", "X500:...") give their
 * SMTP ones. */
struct sync_ldap {
	const char *url;           /* "ldap://host", "ldaps://host", "ldapi://..." */
	const char *base, *filter;
	const char *attributes;    /* "proxyAddresses mail" */
	const char *bind;          /* DN; NULL: anonymous */
	const char *password;      /* NULL: none */
	bool start_tls;
	const char *value;         /* behind each address; "" nothing */
	uint64_t timeout_s;
	unsigned page;             /* entries; 0: 500 */
};

/* 0, or -errno and *why (in mem): what the library says, and where. Blocks. */
int sync_ldap_read(const struct sync_ldap *s, struct arena *mem, struct buf *out, const char **why);
#endif
