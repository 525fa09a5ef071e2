#ifndef BASE_KEEPER_H
#define BASE_KEEPER_H
#include <stdint.h>
#include "base/buf.h"
#include "base/house.h"
#include "base/loop.h"
#include "base/slice.h"

/* Asking the process `keeper`, from smtpd and delivery. The link outlives restarts of the keeper: questions that were open wait for the new channel and
 * are asked again, at most KEEPER_WAIT_MS in all. */
enum { KEEPER_WAIT_MS = 10000, KEEPER_MAX_OPEN = 4096 };

struct keeper;
struct keeper *keeper_new(struct loop *l);
void keeper_free(struct keeper *k); /* NULL is fine; open questions are dropped without a word */

/* From on_peer with role "keeper": takes fd. */
void keeper_attach(struct keeper *k, int fd);

/* done is called once, from the loop, never from inside the asking, unless cancelled: error 0, or -ENOENT (no such key), -EINVAL, -ETIMEDOUT, -EAGAIN (too
 * many open). out is valid during the call; number: the key that made a mac. */
struct keeper_question;
typedef void (*keeper_done)(void *arg, int error, struct slice out, unsigned number);
struct keeper_question *keeper_sign_tls(struct keeper *k, const uint8_t key[32], unsigned scheme, struct slice data, keeper_done done, void *arg);
/* name: "SELECTOR._domainkey.DOMAIN"; digest: 32 octets, as base/mail_sign gives it. */
struct keeper_question *keeper_sign_dkim(struct keeper *k, struct slice name, struct slice digest, keeper_done done, void *arg);
/* purpose "srs" or "batv"; number -1: the newest; sha 1 or 256. */
struct keeper_question *keeper_mac(struct keeper *k, struct slice purpose, int number, unsigned sha, struct slice data, keeper_done done, void *arg);
void keeper_cancel(struct keeper_question *q); /* NULL is fine */

/* The role. Files it takes: "tls-key:N", "dkim-key:SELECTOR._domainkey.DOMAIN" (PEM), "mac-keys" (base/keeper_keys.h); each again when it changed. */
int keeper_main(struct house *h);
#endif
