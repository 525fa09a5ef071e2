#ifndef SMTPD_SMTPD_MAPS_H
#define SMTPD_SMTPD_MAPS_H
#include "smtpd/smtpd.h"

/* The maps of the process: it is put into the folder of generations before it serves, and opens there what the parent has verified. */
int smtpd_maps_root(struct smtpd *d); /* a descriptor of that folder; -1: stays where it is */
void smtpd_maps_switch(struct smtpd *d, uint64_t generation);
#endif
