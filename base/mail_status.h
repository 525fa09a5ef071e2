#ifndef BASE_MAIL_STATUS_H
#define BASE_MAIL_STATUS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/slice.h"

/* The fate of mail, made where the knowledge is and carried unchanged to reply, log and report.
 * MAIL_OK 2xx, MAIL_LATER 4xx (the client or the queue still owns it), MAIL_NEVER 5xx. */
enum mail_fate { MAIL_OK, MAIL_LATER, MAIL_NEVER };

struct mail_status {
	enum mail_fate fate;
	uint16_t code;         /* the SMTP reply code, 250, 451, 550 ... its first digit agrees with fate */
	uint8_t enhanced[2];   /* subject.detail of RFC 3463; the class comes from fate */
	struct slice text;     /* one line, printable, for the stranger: what to do; no secrets of ours */
};

#define MAIL_STATUS(fate_, code_, subject_, detail_, text_) \
	((struct mail_status){ (fate_), (code_), { (subject_), (detail_) }, SLICE(text_) })

/* Internal doubt: 451 4.3.0 with the given literal. */
#define MAIL_STATUS_UNSURE(text_) MAIL_STATUS(MAIL_LATER, 451, 3, 0, text_)
#define MAIL_STATUS_OK MAIL_STATUS(MAIL_OK, 250, 0, 0, "Ok")

/* The same status with its text copied into mem; past the ceiling the text becomes empty. */
struct mail_status mail_status_copy(struct arena *mem, struct mail_status s);

/* From a remote's reply: code 200..599 and text that may begin with an enhanced code, which is taken off it. The text is
 * sanitised (printable ASCII or well-formed UTF-8, one line, at most 400 bytes). Codes outside 2xx, 4xx, 5xx give MAIL_LATER. */
struct mail_status mail_status_from_reply(struct arena *mem, unsigned code, struct slice text);
#endif
