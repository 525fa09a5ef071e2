#ifndef SMTPD_MILTER_PROTO_H
#define SMTPD_MILTER_PROTO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/net.h"
#include "base/slice.h"

/* The milter protocol, version 6 (libmilter's mfdef.h), as bytes: no sockets, no policy. A frame is {u32 length, command, data}, the length counts the command. What a
 * filter sends is hostile: every length is checked against a ceiling before anything is kept. */
enum { MILTER_VERSION = 6, MILTER_MAX_FRAME = 128 << 10, MILTER_BODY_CHUNK = 65535 };

enum milter_action {
	MILTER_ADD_HEADERS = 0x01, MILTER_CHANGE_BODY = 0x02, MILTER_ADD_RCPT = 0x04, MILTER_DELETE_RCPT = 0x08, MILTER_CHANGE_HEADERS = 0x10,
	MILTER_QUARANTINE = 0x20, MILTER_CHANGE_FROM = 0x40, MILTER_ADD_RCPT_ARGS = 0x80, MILTER_SET_MACROS = 0x100, MILTER_ALL_ACTIONS = 0x1ff
};

/* What a filter does not want to see (NO), or does not answer (QUIET). */
enum milter_option {
	MILTER_NO_CONNECT = 0x01, MILTER_NO_HELO = 0x02, MILTER_NO_MAIL = 0x04, MILTER_NO_RCPT = 0x08, MILTER_NO_BODY = 0x10, MILTER_NO_HEADERS = 0x20,
	MILTER_NO_EOH = 0x40, MILTER_QUIET_HEADER = 0x80, MILTER_NO_UNKNOWN = 0x100, MILTER_NO_DATA = 0x200, MILTER_SKIP = 0x400,
	MILTER_REJECTED_RCPT = 0x800, MILTER_QUIET_CONNECT = 0x1000, MILTER_QUIET_HELO = 0x2000, MILTER_QUIET_MAIL = 0x4000, MILTER_QUIET_RCPT = 0x8000,
	MILTER_QUIET_DATA = 0x10000, MILTER_QUIET_UNKNOWN = 0x20000, MILTER_QUIET_EOH = 0x40000, MILTER_QUIET_BODY = 0x80000, MILTER_LEADING_SPACE = 0x100000,
	MILTER_ALL_OPTIONS = 0x1ff7ff /* all but REJECTED_RCPT: a recipient that is refused is nobody's business */
};

enum milter_command {
	MILTER_NEGOTIATE = 'O', MILTER_MACROS = 'D', MILTER_CONNECT = 'C', MILTER_HELO = 'H', MILTER_MAIL = 'M', MILTER_RCPT = 'R', MILTER_DATA = 'T',
	MILTER_HEADER = 'L', MILTER_END_OF_HEADER = 'N', MILTER_BODY = 'B', MILTER_END_OF_BODY = 'E', MILTER_ABORT = 'A', MILTER_UNKNOWN = 'U', MILTER_QUIT = 'Q'
};

enum milter_reply_kind {
	MILTER_SAYS_ADD_RCPT = '+', MILTER_SAYS_ADD_RCPT_ARGS = '2', MILTER_SAYS_DELETE_RCPT = '-', MILTER_SAYS_SHUTDOWN = '4', MILTER_SAYS_ACCEPT = 'a',
	MILTER_SAYS_REPLACE_BODY = 'b', MILTER_SAYS_CONTINUE = 'c', MILTER_SAYS_DISCARD = 'd', MILTER_SAYS_CHANGE_FROM = 'e', MILTER_SAYS_FAIL = 'f',
	MILTER_SAYS_ADD_HEADER = 'h', MILTER_SAYS_INSERT_HEADER = 'i', MILTER_SAYS_CHANGE_HEADER = 'm', MILTER_SAYS_PROGRESS = 'p',
	MILTER_SAYS_QUARANTINE = 'q', MILTER_SAYS_REJECT = 'r', MILTER_SAYS_SKIP = 's', MILTER_SAYS_LATER = 't', MILTER_SAYS_REPLY = 'y',
	MILTER_SAYS_NEGOTIATE = 'O'
};

struct milter_reply {
	enum milter_reply_kind kind;
	uint32_t index;             /* INSERT_HEADER: place from the top; CHANGE_HEADER: which of that name, from 1 */
	struct slice name;          /* header's name; recipient; sender; quarantine's reason; REPLY: its text with the code in front */
	struct slice value;         /* header's value, without leading blank; ESMTP arguments; REPLACE_BODY: bytes */
	uint32_t version, actions, options; /* NEGOTIATE; value: lists of macros, for milter_macros_next */
};

/* Where macros are sent (libmilter's SMFIM_...), and so the lists that a filter may ask for with SET_MACROS. */
enum milter_macro_place { MILTER_AT_CONNECT, MILTER_AT_HELO, MILTER_AT_MAIL, MILTER_AT_RCPT, MILTER_AT_DATA, MILTER_AT_END, MILTER_AT_END_OF_HEADER, MILTER_MACRO_PLACES };

/* The next list: names with a blank between them. False: there is none, and *lists is empty; or what stands there makes no sense. */
bool milter_macros_next(struct slice *lists, enum milter_macro_place *place, struct slice *names);

/* The reply at the front of *in. 1: *out is set (views into the input), *in begins behind it. 0: not whole yet. -EPROTO: nonsense, and *why says which. */
int milter_reply_read(struct slice *in, struct milter_reply *out, const char **why);

/* Ends a question: nothing but changes and PROGRESS stands before it. */
bool milter_reply_is_verdict(enum milter_reply_kind kind);

/* Writers: 0 or -EMSGSIZE. Strings end at their first NUL. */
int milter_put_negotiate(struct buf *out, uint32_t actions, uint32_t options);
int milter_put_connect(struct buf *out, struct slice host, const struct net_ip *ip, uint16_t port);
int milter_put_words(struct buf *out, enum milter_command command, const struct slice *words, size_t count); /* HELO MAIL RCPT HEADER UNKNOWN: strings with NUL behind each */
int milter_put_empty(struct buf *out, enum milter_command command);
int milter_put_body(struct buf *out, struct slice chunk); /* at most MILTER_BODY_CHUNK */

/* Macros for the command that follows: name, value, name, value. Pairs with an empty value are left out. */
int milter_put_macros(struct buf *out, enum milter_command command, const struct slice *pairs, size_t count);
#endif
