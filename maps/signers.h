#ifndef MAPS_SIGNERS_H
#define MAPS_SIGNERS_H
#include <stdbool.h>
#include <stddef.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/slice.h"
#include "maps/map.h"

/* The map `signers`: the DKIM keys that sign for a domain; those of a parent's line ".example.org" sign for its subdomains, as example.org.
 *
 *	example.org     2026a rsa, 2026b ed25519
 *	.example.org    2026a rsa
 *
 * The private keys are files of the keeper, SELECTOR._domainkey.DOMAIN.pem. */
enum { SIGNERS_MAX = 4 };

struct signer {
	struct slice selector;
	bool ed25519;
};

struct signers {
	struct slice domain;        /* d= */
	struct signer list[SIGNERS_MAX];
	size_t count;
};

/* domain in any form. ABSENT: nobody signs for it. */
enum answer signers_find(struct map_set *s, struct slice domain, struct arena *mem, struct signers *out);
const char *signers_parse(struct slice value, struct arena *mem, struct signers *out);

/* The map `sealers`: is this domain's ARC seal believed? Its line, or a parent's ".example.org". */
enum answer sealers_find(struct map_set *s, struct slice domain, struct arena *mem);

/* The map `hosters`: is this domain (of an SPF record, or of a host that one names) a shared hoster's? Its line, or that of a domain above it. */
enum answer hosters_find(struct map_set *s, struct slice domain, struct arena *mem);
#endif
