#ifndef SMTPD_AUTH_SCRAM_H
#define SMTPD_AUTH_SCRAM_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* The messages of SCRAM (RFC 5802, RFC 7677), server's side: reading and writing only, keys are the login process' matter. */
enum { SCRAM_MAX_NONCE = 256, SCRAM_NONCE = 18 };
enum scram_binding { SCRAM_NO_BINDING, SCRAM_CLIENT_THINKS_NOT, SCRAM_EXPORTER, SCRAM_END_POINT };

struct scram {
	enum scram_binding binding;
	struct slice gs2_header;      /* with its commas: begins what c= must say */
	struct slice authzid, name;   /* decoded */
	struct slice first_bare;      /* client-first-message-bare */
	struct slice client_nonce;
	struct slice nonce;           /* both halves */
	struct slice server_first;
	struct slice proof;           /* 32 octets */
	struct slice auth_message;
};

/* False: not a message that SCRAM has (also for m=, binding types that we don't have). Strings live in mem. */
bool scram_read_first(struct scram *s, struct slice message, struct arena *mem);
/* server-first-message; chooses our half of the nonce. */
bool scram_write_first(struct scram *s, struct slice salt, uint32_t rounds, struct arena *mem);
/* client-final-message: wrong nonce or channel binding is false, too. binding_data: what c= must hold behind the header. */
bool scram_read_final(struct scram *s, struct slice message, struct slice binding_data, struct arena *mem);
#endif
