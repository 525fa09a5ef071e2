/* Frames of the milter protocol, read with a ceiling and written with one. */
#include "smtpd/milter_proto.h"

#include <errno.h>

/* -- reading ------------------------------------------------------------------------------------------------------------------------ */

static uint32_t number_at(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool take_number(struct slice *in, uint32_t *out)
{
	if (in->n < 4)
		return false;
	*out = number_at(in->p);
	*in = slice_skip(*in, 4);
	return true;
}

/* A string with its NUL. */
static bool take_string(struct slice *in, struct slice *out)
{
	size_t n = slice_find(*in, '\0');
	if (n == in->n)
		return false;
	*out = slice_head(*in, n);
	*in = slice_skip(*in, n + 1);
	return true;
}

enum shape { SHAPE_NONE, SHAPE_TEXT, SHAPE_TEXTS, SHAPE_PAIR, SHAPE_INDEXED, SHAPE_BYTES, SHAPE_OPTIONS };
static const struct {
	enum milter_reply_kind kind;
	enum shape shape;
	bool verdict;
} shapes[] = {
	{ MILTER_SAYS_ADD_RCPT, SHAPE_TEXT, false },
	{ MILTER_SAYS_ADD_RCPT_ARGS, SHAPE_TEXTS, false },
	{ MILTER_SAYS_DELETE_RCPT, SHAPE_TEXT, false },
	{ MILTER_SAYS_SHUTDOWN, SHAPE_NONE, true },
	{ MILTER_SAYS_ACCEPT, SHAPE_NONE, true },
	{ MILTER_SAYS_REPLACE_BODY, SHAPE_BYTES, false },
	{ MILTER_SAYS_CONTINUE, SHAPE_NONE, true },
	{ MILTER_SAYS_DISCARD, SHAPE_NONE, true },
	{ MILTER_SAYS_CHANGE_FROM, SHAPE_TEXTS, false },
	{ MILTER_SAYS_FAIL, SHAPE_NONE, true },
	{ MILTER_SAYS_ADD_HEADER, SHAPE_PAIR, false },
	{ MILTER_SAYS_INSERT_HEADER, SHAPE_INDEXED, false },
	{ MILTER_SAYS_CHANGE_HEADER, SHAPE_INDEXED, false },
	{ MILTER_SAYS_PROGRESS, SHAPE_NONE, false },
	{ MILTER_SAYS_QUARANTINE, SHAPE_TEXT, false },
	{ MILTER_SAYS_REJECT, SHAPE_NONE, true },
	{ MILTER_SAYS_SKIP, SHAPE_NONE, true },
	{ MILTER_SAYS_LATER, SHAPE_NONE, true },
	{ MILTER_SAYS_REPLY, SHAPE_TEXT, true },
	{ MILTER_SAYS_NEGOTIATE, SHAPE_OPTIONS, true },
};

static bool read_data(enum shape shape, struct slice data, struct milter_reply *out)
{
	switch (shape) {
	case SHAPE_NONE:
		return data.n == 0;
	case SHAPE_TEXT:
		return take_string(&data, &out->name) && data.n == 0;
	case SHAPE_TEXTS: /* the second one may be missing */
		return take_string(&data, &out->name) && (data.n == 0 || take_string(&data, &out->value)) && data.n == 0;
	case SHAPE_PAIR:
		return take_string(&data, &out->name) && take_string(&data, &out->value) && data.n == 0;
	case SHAPE_INDEXED:
		return take_number(&data, &out->index) && take_string(&data, &out->name) && take_string(&data, &out->value) && data.n == 0;
	case SHAPE_BYTES:
		out->value = data;
		return true;
	case SHAPE_OPTIONS: /* lists of macros may follow */
		if (!take_number(&data, &out->version) || !take_number(&data, &out->actions) || !take_number(&data, &out->options))
			return false;
		out->value = data;
		return true;
	}
	return false;
}

bool milter_macros_next(struct slice *lists, enum milter_macro_place *place, struct slice *names)
{
	struct slice in = *lists;
	uint32_t number;
	if (!take_number(&in, &number) || number >= MILTER_MACRO_PLACES || !take_string(&in, names))
		return false;
	*place = (enum milter_macro_place)number;
	*lists = in;
	return true;
}

static int read_frame(struct slice frame, struct milter_reply *out, const char **why)
{
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		if ((char)shapes[i].kind != frame.p[0])
			continue;
		struct milter_reply r = { .kind = shapes[i].kind };
		*why = "a reply's data make no sense";
		if (!read_data(shapes[i].shape, slice_skip(frame, 1), &r))
			return -EPROTO;
		*out = r;
		return 1;
	}
	*why = "a reply of no known kind";
	return -EPROTO;
}

int milter_reply_read(struct slice *in, struct milter_reply *out, const char **why)
{
	if (in->n < 4)
		return 0;
	uint32_t length = number_at(in->p);
	*why = length ? "a frame past the ceiling" : "an empty frame";
	if (!length || length > MILTER_MAX_FRAME)
		return -EPROTO;
	if (in->n - 4 < length)
		return 0;
	int got = read_frame(slice(in->p + 4, length), out, why);
	if (got > 0)
		*in = slice_skip(*in, 4 + (size_t)length);
	return got;
}

bool milter_reply_is_verdict(enum milter_reply_kind kind)
{
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (shapes[i].kind == kind)
			return shapes[i].verdict;
	return false;
}

/* -- writing -------------------------------------------------------------------------------------------------------------------------- */

static void put_number(struct buf *out, uint32_t v)
{
	char b[4] = { (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };
	buf_add(out, slice(b, 4));
}

/* A frame is written behind a place for its length; ending it fills that in, or takes back what did not fit. */
static size_t begin(struct buf *out, enum milter_command command)
{
	size_t at = out->n;
	put_number(out, 0);
	buf_add_byte(out, (char)command);
	return at;
}

static int end(struct buf *out, size_t at)
{
	if (buf_full(out) || out->n - at - 4 > UINT32_MAX) {
		buf_truncate(out, at);
		return -EMSGSIZE;
	}
	uint32_t n = (uint32_t)(out->n - at - 4);
	char b[4] = { (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n };
	memcpy(out->p + at, b, 4);
	return 0;
}

static void put_string(struct buf *out, struct slice s)
{
	buf_add(out, slice_head(s, slice_find(s, '\0')));
	buf_add_byte(out, '\0');
}

int milter_put_negotiate(struct buf *out, uint32_t actions, uint32_t options)
{
	size_t at = begin(out, MILTER_NEGOTIATE);
	put_number(out, MILTER_VERSION);
	put_number(out, actions);
	put_number(out, options);
	return end(out, at);
}

int milter_put_connect(struct buf *out, struct slice host, const struct net_ip *ip, uint16_t port)
{
	size_t at = begin(out, MILTER_CONNECT);
	struct buf text = BUF_INIT(64);
	net_ip_print(&text, ip);
	put_string(out, host);
	buf_add_byte(out, ip->is_v4 ? '4' : '6');
	buf_add_byte(out, (char)(port >> 8));
	buf_add_byte(out, (char)port);
	put_string(out, buf_slice(&text));
	buf_free(&text);
	return end(out, at);
}

int milter_put_words(struct buf *out, enum milter_command command, const struct slice *words, size_t count)
{
	size_t at = begin(out, command);
	for (size_t i = 0; i < count; i++)
		put_string(out, words[i]);
	return end(out, at);
}

int milter_put_empty(struct buf *out, enum milter_command command)
{
	return end(out, begin(out, command));
}

int milter_put_body(struct buf *out, struct slice chunk)
{
	if (chunk.n > MILTER_BODY_CHUNK)
		return -EMSGSIZE;
	size_t at = begin(out, MILTER_BODY);
	buf_add(out, chunk);
	return end(out, at);
}

int milter_put_macros(struct buf *out, enum milter_command command, const struct slice *pairs, size_t count)
{
	size_t at = begin(out, MILTER_MACROS);
	buf_add_byte(out, (char)command);
	for (size_t i = 0; i + 1 < count; i += 2) {
		if (!pairs[i + 1].n)
			continue;
		put_string(out, pairs[i]);
		put_string(out, pairs[i + 1]);
	}
	return end(out, at);
}
