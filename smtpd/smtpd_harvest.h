#ifndef SMTPD_SMTPD_HARVEST_H
#define SMTPD_SMTPD_HARVEST_H
#include "base/house.h"

/* The table, by the settings of smtpd; NULL: no memory for it. */
struct harvest;
struct harvest *smtpd_harvest_attach(struct house *h);
#endif
