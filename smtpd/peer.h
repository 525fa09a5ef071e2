#ifndef SMTPD_PEER_H
#define SMTPD_PEER_H
#include <stdbool.h>
#include <stdint.h>
#include "base/ipc.h"
#include "base/loop.h"
#include "base/slice.h"

/* Another process of the house that answers questions (mailbox, queue, delivery, login), through restarts of it: the one way smtpd asks. A channel that breaks
 * answers every open question with "gone"; a new one replaces it. Question ids are ours; late answers to cancelled questions are dropped. */
struct peer;
struct peer_question;

/* m NULL: the peer is gone, or did not answer in time. Called once, from the loop, never from inside the asking. m->payload is valid during the call; a descriptor is taken
 * by setting m->fd to -1. Return 0, or -EPROTO when the answer makes no sense: the peer is cut off. */
typedef int (*peer_answer)(void *arg, struct ipc_message *m);

/* unasked: messages that answer nothing that is open (late answers to cancelled questions among them: ignore unknown types), may be NULL. up: called when a channel
 * came up, may be NULL. */
struct peer *peer_new(struct loop *l, const char *name, int (*unasked)(void *arg, struct ipc_message *m), void (*up)(void *arg), void *arg);
void peer_free(struct peer *p); /* open questions are dropped without a word; NULL is fine */
void peer_attach(struct peer *p, int fd); /* takes fd */
bool peer_is_up(const struct peer *p);

/* For questions that may wait for their peer to start: answer gets an empty message once there is a channel, NULL when none came within timeout_ms. Not while there is one. NULL: too
 * many wait. */
struct peer_question *peer_await(struct peer *p, uint64_t timeout_ms, peer_answer answer, void *arg);

/* A question in two steps, for protocols with senders of their own: make it, then send it by peer_channel with peer_question_id. NULL: the peer is not
 * there (say 451). timeout_ms 0: none. A send that fails needs no care: the question is answered "gone". */
struct peer_question *peer_question_new(struct peer *p, uint64_t timeout_ms, peer_answer answer, void *arg);
uint64_t peer_question_id(const struct peer_question *q);
struct ipc *peer_channel(struct peer *p); /* NULL: not there */

/* Both at once. fd: -1, or sent along; stays the caller's. */
struct peer_question *peer_ask(struct peer *p, uint16_t type, struct slice payload, int fd, uint64_t timeout_ms, peer_answer answer, void *arg);
void peer_cancel(struct peer_question *q); /* NULL is fine */
/* A message without an answer. 0 or -EPIPE. */
int peer_tell(struct peer *p, uint16_t type, uint64_t id, struct slice payload);
#endif
