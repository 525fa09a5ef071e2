/* libFuzzer targets for what strangers and other processes say about TLS and logins. One program a target: -DTARGET=sts|report|json|scram|login|keys|handshake. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/keeper_keys.h"
#include "base/login_proto.h"
#include "base/tls.h"
#include "base/tls_key.h"
#include "delivery/sts.h"
#include "delivery/tls_report.h"
#include "smtpd/auth_scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sum;

static void look(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		sum += (unsigned char)s.p[i];
}

static void sts(struct slice in, struct arena *mem)
{
	struct sts_policy p;
	struct slice id;
	if (sts_record(in, &id))
		look(id);
	if (!sts_parse(in, mem, &p))
		return;
	for (size_t i = 0; i < p.mx_count; i++)
		look(p.mx[i]);
	sum += sts_names(&p, SLICE("mx.a.test"));
}

static void report(struct slice in, struct arena *mem)
{
	static struct tls_report_day d;
	struct slice places[TLS_REPORT_PLACES];
	struct buf out = BUF_INIT(1 << 20);
	(void)mem;
	for (size_t i = tls_report_places(in, places); i > 0; i--)
		look(places[i - 1]);
	memset(&d, 0, sizeof d);
	memcpy(&d, in.n ? in.p : "", in.n < sizeof d ? in.n : sizeof d);
	tls_report_json(&d, in, in, in, &out);
	look(buf_slice(&out));
	buf_free(&out);
}

static bool on_value(void *arg, struct slice path, enum json_kind kind, struct slice value)
{
	(void)arg;
	sum += kind;
	look(path);
	look(value);
	return true;
}

static void json(struct slice in, struct arena *mem)
{
	json_each(in, mem, on_value, NULL);
}

static void scram(struct slice in, struct arena *mem)
{
	struct scram s;
	struct slice final = in, first = slice_cut(final, '\n', &final);
	if (!scram_read_first(&s, first, mem) || !scram_write_first(&s, SLICE("saltsalt"), 4096, mem))
		return;
	look(s.name);
	look(s.authzid);
	if (scram_read_final(&s, final, SLICE("data"), mem))
		look(s.auth_message);
}

static void login(struct slice in, struct arena *mem)
{
	struct login_question q;
	struct login_answer a;
	(void)mem;
	if (login_question_read(in, &q))
		look(q.secret);
	if (login_answer_read(in, &a))
		look(a.proof);
}

static void keys(struct slice in, struct arena *mem)
{
	struct keeper_mac_key k;
	struct buf out = BUF_INIT(1 << 17);
	struct slice rest = in;
	(void)mem;
	while (keeper_keys_next(&rest, &k) > 0)
		look(k.purpose);
	keeper_keys_rotate(in, SLICE("srs"), 3, &out);
	buf_free(&out);
}

static void handshake(struct slice in, struct arena *mem)
{
	(void)mem;
	sum += tls_key_may_sign(in) + tls_tlsa_usable(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)sts, (void)report, (void)json, (void)scram, (void)login, (void)keys, (void)handshake;
	struct arena mem = ARENA_INIT(8 << 20);
	char *copy = malloc(size ? size : 1); /* its end is where the sanitizer looks */
	if (size)
		memcpy(copy, data, size);
	TARGET(slice(copy, size), &mem);
	free(copy);
	arena_free(&mem);
	return 0;
}
