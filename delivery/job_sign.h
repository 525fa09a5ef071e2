#ifndef DELIVERY_JOB_SIGN_H
#define DELIVERY_JOB_SIGN_H
#include <stdint.h>
#include "base/keeper.h"
#include "base/loop.h"
#include "base/slice.h"
#include "maps/signers.h"

/* DKIM on a job of the queue whose message the queue made itself: a worker reads the content once for the header section and the body's digest, the keeper signs
 * (delivery/sign.h). Delivery has no maps: the queue names domain and keys with the job (queue/job_sign.h). */
struct job_signing;

/* fields: whole, CRLF line ends, to be put on top of the content; valid during the call. */
typedef void (*job_signing_done)(void *arg, int error, struct slice fields);

/* fd is read, not taken; keys' strings stay the caller's until done. done is called once, from the loop, never from inside. */
struct job_signing *job_signing_new(struct keeper *k, struct worker *w, const struct signers *keys, int fd, uint64_t offset, uint64_t length,
                                    job_signing_done done, void *arg);
void job_signing_free(struct job_signing *s); /* also what is under way; NULL is fine. After done: the caller's to call */
#endif
