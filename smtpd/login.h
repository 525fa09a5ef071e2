#ifndef SMTPD_LOGIN_H
#define SMTPD_LOGIN_H
#include "base/house.h"
#include "base/login_proto.h"

/* The process `login`: the only one that reads password hashes and SCRAM verifiers (base/login_proto.h says what it is asked). Slow hashes are made by a bounded
 * pool of workers at low priority; past the pool's queue the answer is UNSURE at once. Dovecot's socket, PAM and token verifiers are asked by
 * short-lived processes that the parent starts, since nothing that reads verifiers opens a socket or runs a program. */
int login_main(struct house *h);

/* The short-lived processes (ctl/helper_kinds.c): one LOGIN_ question from standard input (a socket), one LOGIN_ANSWER to it. The word is Dovecot's socket, the PAM
 * service, or the token verifier. They return the exit code. */
int login_dovecot_main(int argc, char **argv);
int login_pam_main(int argc, char **argv);
int login_token_main(int argc, char **argv);
#endif
