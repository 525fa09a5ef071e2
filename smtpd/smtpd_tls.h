#ifndef SMTPD_SMTPD_TLS_H
#define SMTPD_SMTPD_TLS_H
#include "smtpd/smtpd.h"

/* The certificates of the process; their keys are the keeper's. */
void smtpd_tls_start(struct smtpd *d);
void smtpd_tls_file(struct smtpd *d, struct slice name, int fd); /* one came again; takes fd */
#endif
