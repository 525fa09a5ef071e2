#ifndef BASE_IPC_H
#define BASE_IPC_H
#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "base/slice.h"

/* Messages between the processes of one house, over a stream socket pair: a frame is
 * {u32 length of payload, u16 type, u16 flags, u64 id} and the payload, fields as base/field writes them; a frame may carry one descriptor. A peer that sends
 * nonsense (length past the ceiling, a descriptor announced and missing, field errors that the receiver reports by returning -EPROTO) is cut off: on_close is called
 * once, nothing else happens.
 * Sending never blocks: what the socket does not take is kept, up to a ceiling, past which the peer counts as gone. Sending to a dead peer fails; what it had sent
 * before is still handed on, then comes on_close. */
enum { IPC_MAX_PAYLOAD = 4 << 20 };

struct ipc;
struct ipc_message {
	uint16_t type;
	uint64_t id;           /* chosen by the asker; the answer carries the same */
	struct slice payload;  /* valid during the callback */
	int fd;                /* -1, or the receiver's to keep: it sets fd to -1 when it takes it, else it is closed */
};
struct ipc_handler {
	/* 0, or -EPROTO to cut the peer off. */
	int (*on_message)(void *arg, struct ipc *from, struct ipc_message *m);
	/* Called once when the peer is gone or was cut off; the callee calls ipc_free. */
	void (*on_close)(void *arg, struct ipc *which);
};

/* Takes fd. */
struct ipc *ipc_new(struct loop *l, int fd, const struct ipc_handler *handler, void *arg);
void ipc_free(struct ipc *c);
/* fd: -1 or a descriptor that is sent along; it stays the caller's to close (it is duplicated when kept waiting). */
int ipc_send(struct ipc *c, uint16_t type, uint64_t id, struct slice payload, int fd);
/* Two parts without a copy into one payload. */
int ipc_send2(struct ipc *c, uint16_t type, uint64_t id, struct slice head, struct slice body, int fd);

/* A socket pair, close-on-exec, non-blocking. 0 or -errno. */
int ipc_pair(int fds[2]);

/* For short-lived helpers and command line tools: send or receive one frame, blocking, until deadline ms pass. */
int ipc_send_blocking(int fd, uint16_t type, uint64_t id, struct slice payload, int pass_fd);
struct buf;
int ipc_receive_blocking(int fd, uint64_t timeout_ms, struct ipc_message *m, struct buf *payload);
#endif
