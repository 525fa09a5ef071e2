/* LDAP, synchronously, with pages (RFC 2696). */
#include <stdbool.h>
#include <stdint.h>

#include "ctl/sync_ldap.h"

#include <errno.h>
#include <ldap.h>
#include <string.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/scan.h"

enum { PAGE = 500, MAX_ATTRIBUTES = 16 };

struct reading {
	const struct sync_ldap *s;
	struct arena *mem;
	struct buf *out;
	LDAP *ldap;
	char *attributes[MAX_ATTRIBUTES + 1];
	const char *step;
	struct berval *cookie;
	bool more;
	uint64_t until_ms;
};

static int told(struct reading *r, int result, const char **why)
{
	struct buf b = BUF_INIT(1000);
	char *detail = NULL;
	if (r->ldap)
		ldap_get_option(r->ldap, LDAP_OPT_DIAGNOSTIC_MESSAGE, &detail);
	buf_addf(&b, "%s: %s%s%s", r->step, ldap_err2string(result), detail && *detail ? ": " : "", detail && *detail ? detail : "");
	ldap_memfree(detail);
	*why = arena_cstr(r->mem, buf_slice(&b));
	buf_free(&b);
	return result == LDAP_TIMEOUT || result == LDAP_SERVER_DOWN ? -ETIMEDOUT : -EIO;
}

static int connect_and_bind(struct reading *r)
{
	int version = LDAP_VERSION3;
	struct timeval patience = { .tv_sec = (time_t)r->s->timeout_s };
	r->step = "connect";
	int result = ldap_initialize(&r->ldap, r->s->url);
	if (result != LDAP_SUCCESS)
		return result;
	ldap_set_option(r->ldap, LDAP_OPT_PROTOCOL_VERSION, &version);
	ldap_set_option(r->ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	ldap_set_option(r->ldap, LDAP_OPT_NETWORK_TIMEOUT, &patience);
	ldap_set_option(r->ldap, LDAP_OPT_TIMEOUT, &patience);
	if (r->s->start_tls) {
		r->step = "STARTTLS";
		result = ldap_start_tls_s(r->ldap, NULL, NULL);
		if (result != LDAP_SUCCESS)
			return result;
	}
	r->step = "bind";
	const char *password = r->s->password ? r->s->password : "";
	struct berval credentials = { strlen(password), (char *)(uintptr_t)password };
	return ldap_sasl_bind_s(r->ldap, r->s->bind, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, NULL);
}

/* "smtp:" is taken off; values of other kinds ("X500:", "sip:") are not addresses. */
static void add_value(struct reading *r, struct slice value)
{
	struct slice address = value;
	scan_word(&address, SLICE("smtp:"));
	if (slice_find(address, '@') == address.n || (address.p == value.p && slice_find(value, ':') < value.n))
		return;
	for (size_t i = 0; i < address.n; i++)
		if ((unsigned char)address.p[i] <= ' ' || address.p[i] == '#')
			return;
	buf_add(r->out, address);
	if (r->s->value[0])
		buf_addf(r->out, " %s", r->s->value);
	buf_add_byte(r->out, '\n');
}

static void add_entry(struct reading *r, LDAPMessage *entry)
{
	for (size_t i = 0; r->attributes[i]; i++) {
		struct berval **values = ldap_get_values_len(r->ldap, entry, r->attributes[i]);
		for (size_t k = 0; values && values[k]; k++)
			add_value(r, slice(values[k]->bv_val, values[k]->bv_len));
		if (values)
			ldap_value_free_len(values);
	}
}

/* The cookie of the next page; none: this was the last. */
static int next_cookie(struct reading *r, LDAPMessage *answer)
{
	LDAPControl **controls = NULL;
	int code = LDAP_SUCCESS;
	int result = ldap_parse_result(r->ldap, answer, &code, NULL, NULL, NULL, &controls, 0);
	struct berval cookie = { 0, NULL };
	ber_int_t estimate;
	if (r->cookie)
		ber_bvfree(r->cookie);
	r->cookie = NULL;
	LDAPControl *page = controls ? ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, NULL) : NULL;
	if (page && ldap_parse_pageresponse_control(r->ldap, page, &estimate, &cookie) == LDAP_SUCCESS && cookie.bv_len)
		r->cookie = ber_bvdup(&cookie);
	ber_memfree(cookie.bv_val);
	ldap_controls_free(controls);
	r->more = r->cookie != NULL;
	return result != LDAP_SUCCESS ? result : code;
}

static int read_page(struct reading *r)
{
	LDAPControl *page = NULL;
	LDAPMessage *answer = NULL;
	struct timeval patience = { .tv_sec = (time_t)r->s->timeout_s };
	int result = ldap_create_page_control(r->ldap, (ber_int_t)(r->s->page ? r->s->page : PAGE), r->cookie, 1, &page);
	if (result != LDAP_SUCCESS)
		return result;
	LDAPControl *controls[] = { page, NULL };
	result = ldap_search_ext_s(r->ldap, r->s->base, LDAP_SCOPE_SUBTREE, r->s->filter, r->attributes, 0, controls, NULL, &patience, LDAP_NO_LIMIT, &answer);
	ldap_control_free(page);
	if (result == LDAP_SUCCESS) {
		for (LDAPMessage *e = ldap_first_entry(r->ldap, answer); e; e = ldap_next_entry(r->ldap, e))
			add_entry(r, e);
		result = next_cookie(r, answer);
	}
	ldap_msgfree(answer);
	return result;
}

static void read_attributes(struct reading *r)
{
	struct slice rest = slice_of(r->s->attributes);
	for (size_t i = 0; rest.n && i < MAX_ATTRIBUTES;) {
		struct slice word = slice_cut(rest, ' ', &rest);
		if (word.n)
			r->attributes[i++] = arena_cstr(r->mem, word);
	}
}

int sync_ldap_read(const struct sync_ldap *s, struct arena *mem, struct buf *out, const char **why)
{
	struct reading r = { .s = s, .mem = mem, .out = out, .more = true, .until_ms = clock_mono_ms() + s->timeout_s * 1000 };
	read_attributes(&r);
	int result = connect_and_bind(&r), error = 0;
	r.step = result == LDAP_SUCCESS ? "search" : r.step;
	while (result == LDAP_SUCCESS && r.more && !buf_full(out)) {
		result = clock_mono_ms() > r.until_ms ? LDAP_TIMEOUT : read_page(&r);
	}
	if (result != LDAP_SUCCESS)
		error = told(&r, result, why);
	else if (buf_full(out))
		error = -EFBIG, *why = "the directory has more than fits";
	if (r.cookie)
		ber_bvfree(r.cookie);
	if (r.ldap)
		ldap_unbind_ext_s(r.ldap, NULL, NULL);
	return error;
}
