/* Keys of DKIM in words: as comments and lines of a master file, so that the output can be put into one, or as JSON. */
#include "base/clock.h"
#include "base/mail_date.h"
#include "base/text.h"
#include "ctl/dkim_keys.h"

/* For a master file: strings of at most 255 bytes. */
static void add_zone_line(struct dkim_keys *all, const struct dkim_key *k, struct buf *out)
{
	buf_addf(out, "%.*s._domainkey.%.*s. IN TXT (", SLICE_FMT(k->selector), SLICE_FMT(all->domain));
	for (struct slice rest = k->record; rest.n; rest = slice_skip(rest, 200))
		buf_addf(out, " \"%.*s\"", SLICE_FMT(slice_head(rest, 200)));
	buf_add_cstr(out, " )\n");
}

bool dkim_is_old(const struct dkim_key *k)
{
	return !k->signing && k->old_s;
}

bool dkim_is_over(const struct dkim_key *k)
{
	return dkim_is_old(k) && clock_wall_s() >= k->old_s + DKIM_OVERLAP_S;
}

static const char *state_word(const struct dkim_key *k)
{
	return k->signing ? "signing" : dkim_is_old(k) ? "old" : "made";
}

static void add_state(const struct dkim_key *k, struct buf *out)
{
	if (k->signing)
		buf_add_cstr(out, ", signing");
	if (dkim_is_old(k)) {
		buf_add_cstr(out, dkim_is_over(k) ? ", old: its record is needed no more since " : ", old: its record stays until ");
		mail_date_print_iso(out, k->old_s + DKIM_OVERLAP_S);
	}
	if (k->published)
		buf_addf(out, ", published: %s", k->published);
	if (k->open)
		buf_addf(out, ", its file has mode %04o: others may use it", k->mode);
}

static void tell_json(struct dkim_keys *all, struct buf *out)
{
	buf_add_cstr(out, "{\"domain\":");
	text_add_json(out, all->domain);
	buf_add_cstr(out, ",\"keys\":[");
	for (size_t i = 0; i < all->count; i++) {
		const struct dkim_key *k = &all->keys[i];
		buf_add_cstr(out, i ? ",{\"selector\":" : "{\"selector\":");
		text_add_json(out, k->selector);
		buf_addf(out, ",\"algorithm\":\"%s\",\"signing\":%s,\"record\":", k->ed25519 ? "ed25519" : "rsa", k->signing ? "true" : "false");
		text_add_json(out, k->record);
		buf_addf(out, ",\"state\":\"%s\"", state_word(k));
		if (dkim_is_old(k))
			buf_addf(out, ",\"old_since\":%lld,\"publish_until\":%lld", (long long)k->old_s, (long long)k->old_s + DKIM_OVERLAP_S);
		if (k->published)
			buf_addf(out, ",\"published\":\"%s\"", k->published);
		buf_add_byte(out, '}');
	}
	buf_add_cstr(out, "]}\n");
}

void dkim_keys_tell(struct dkim_keys *all)
{
	struct buf out = BUF_INIT(1 << 20);
	if (all->c->json)
		tell_json(all, &out);
	for (size_t i = 0; i < all->count && !all->c->json; i++) {
		const struct dkim_key *k = &all->keys[i];
		buf_addf(&out, "; %.*s: %s, made ", SLICE_FMT(k->selector), k->readable ? k->ed25519 ? "ed25519" : "rsa" : "can't be read");
		mail_date_print_iso(&out, k->made_s);
		add_state(k, &out);
		buf_add_byte(&out, '\n');
		if (k->readable && !dkim_is_over(k))
			add_zone_line(all, k, &out);
	}
	ctl_print(buf_slice(&out));
	buf_free(&out);
}
