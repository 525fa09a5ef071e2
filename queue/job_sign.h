#ifndef QUEUE_JOB_SIGN_H
#define QUEUE_JOB_SIGN_H
#include <stdint.h>
#include "base/arena.h"
#include "base/slice.h"
#include "maps/map.h"
#include "queue/job_proto.h"

/* Whose DKIM keys sign a message that the queue made itself (reports, notices, what came through the drop folder). The queue says it, since it has the maps; delivery
 * signs, since it has the keeper (delivery/job_sign.h). What smtpd handed in is signed already, or nobody signs for it. */

/* In a worker: the domain of the one author of the content that lies in fd; "" where there is none. *domain lives in mem. */
void job_sign_author(int fd, uint64_t offset, uint64_t length, struct arena *mem, struct slice *domain);

/* In the loop: the domain that signs and its keys, as `signers` has them. ABSENT: nobody signs for it, j is as before. */
enum answer job_sign_keys(struct map_set *maps, struct slice author, struct arena *mem, struct job *j);
#endif
