/* The records of base/login_proto.h, written and read. */
#include "base/login_proto.h"

#include <errno.h>

#include "base/field.h"

enum tag { TAG_NAME = 1, TAG_SECRET, TAG_MESSAGE, TAG_IP, TAG_ANSWER, TAG_SALT, TAG_PROOF, TAG_ROUNDS, TAG_WHY };
enum { MAX_IP = 64, MAX_ROUNDS = 10000000, MAX_SMALL = 512 };

int login_question_add(struct buf *out, const struct login_question *q)
{
	field_add(out, TAG_NAME, q->name);
	field_add(out, TAG_SECRET, q->secret);
	field_add(out, TAG_MESSAGE, q->message);
	field_add(out, TAG_IP, q->ip);
	return buf_full(out) ? -EMSGSIZE : 0;
}

bool login_question_read(struct slice in, struct login_question *q)
{
	uint8_t tag;
	struct slice v;
	*q = (struct login_question){ .name = SLICE_NONE };
	while (field_next(&in, &tag, &v)) {
		if (tag == TAG_NAME && v.n <= LOGIN_MAX_NAME)
			q->name = v;
		else if (tag == TAG_SECRET && v.n <= LOGIN_MAX_SECRET)
			q->secret = v;
		else if (tag == TAG_MESSAGE && v.n <= LOGIN_MAX_MESSAGE)
			q->message = v;
		else if (tag == TAG_IP && v.n <= MAX_IP)
			q->ip = v;
		else
			return false;
	}
	return in.n == 0;
}

int login_answer_add(struct buf *out, const struct login_answer *a)
{
	field_add_uint(out, TAG_ANSWER, a->answer);
	field_add(out, TAG_NAME, a->name);
	field_add(out, TAG_SALT, a->salt);
	field_add(out, TAG_PROOF, a->proof);
	field_add_uint(out, TAG_ROUNDS, a->rounds);
	field_add(out, TAG_WHY, a->why);
	return buf_full(out) ? -EMSGSIZE : 0;
}

bool login_answer_read(struct slice in, struct login_answer *a)
{
	uint8_t tag;
	struct slice v;
	uint64_t n;
	*a = (struct login_answer){ .answer = UNSURE };
	while (field_next(&in, &tag, &v)) {
		if (tag == TAG_NAME && v.n <= LOGIN_MAX_NAME)
			a->name = v;
		else if (tag == TAG_SALT && v.n <= MAX_SMALL)
			a->salt = v;
		else if (tag == TAG_PROOF && v.n <= LOGIN_MAX_SECRET)
			a->proof = v;
		else if (tag == TAG_WHY && v.n <= MAX_SMALL)
			a->why = v;
		else if (tag == TAG_ANSWER && field_uint(v, UNSURE, &n))
			a->answer = (enum answer)n;
		else if (tag == TAG_ROUNDS && field_uint(v, MAX_ROUNDS, &n))
			a->rounds = (uint32_t)n;
		else
			return false;
	}
	return in.n == 0;
}
