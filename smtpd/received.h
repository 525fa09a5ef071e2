#ifndef SMTPD_RECEIVED_H
#define SMTPD_RECEIVED_H
#include "base/buf.h"
#include "smtpd/facts.h"

/* Our trace field (RFC 5321, 4.4; words of RFC 3848 and 6531), CRLF line ends. "for" only where there is one recipient. smtpd/message knows its own fields by "by HOST (Porter)". */
void received_print(struct buf *out, const struct session_facts *f, struct slice host, int64_t now_s);

/* "Return-Path: <...>" with CRLF. */
void return_path_print(struct buf *out, const struct transaction_facts *t);
#endif
