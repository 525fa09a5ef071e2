#ifndef DELIVERY_STS_HOUSE_H
#define DELIVERY_STS_HOUSE_H
#include "base/dns.h"
#include "base/house.h"
#include "delivery/sts.h"

/* MTA-STS in the delivery process: policies are fetched and kept by helpers of kind "sts", which answer over a channel. */
enum { STS_FETCHED = 1, STS_MAX_HELPERS = 16 };
enum { STS_TAG_DOMAIN = 1, STS_TAG_ID, STS_TAG_TEXT, STS_TAG_FETCHED, STS_TAG_END };

struct sts_house;
/* After house_run began (on the first peer, or before it: the question waits); loads what is kept on disk. Settings: delivery/tls_policy_settings.h's sts-*. */
struct sts_house *sts_house_new(struct house *h, struct dns *d);
struct sts *sts_house_sts(struct sts_house *s);
void sts_house_free(struct sts_house *s);
#endif
