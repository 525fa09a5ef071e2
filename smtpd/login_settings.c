/* The settings of logins. */
#include "smtpd/login_settings.h"

#include <stddef.h>

struct login_settings login_settings;

static const char *check_mechanisms(struct slice value)
{
	static const char *const known[] = { "PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2", "EXTERNAL" };
	while (value.n) {
		struct slice item = slice_cut(value, ' ', &value);
		bool good = item.n == 0;
		for (size_t i = 0; !good && i < sizeof known / sizeof known[0]; i++)
			good = slice_eq(item, slice_of(known[i]));
		if (!good)
			return "holds a mechanism that Porter doesn't have";
	}
	return NULL;
}

#define AT(member) offsetof(struct login_settings, member)
static const struct setting rows[] = {
	{ "login-source", SETTING_WORD, AT(source), "credentials", 0, 0, "credentials dovecot pam", NULL,
	  "Who knows passwords: the map credentials, Dovecot's authentication socket, or PAM. SCRAM works with credentials alone." },
	{ "login-dovecot-socket", SETTING_PATH, AT(dovecot_socket), "/run/dovecot/auth-client", 0, 0, NULL, NULL,
	  "Dovecot's authentication socket (auth-client)." },
	{ "login-pam-service", SETTING_TEXT, AT(pam_service), "smtp", 0, 0, NULL, NULL, "The PAM service's name: a file of /etc/pam.d." },
	{ "login-token-verifier", SETTING_TEXT, AT(token_verifier), "", 0, 0, NULL, NULL,
	  "A program that judges OAUTHBEARER and XOAUTH2 tokens: login in its first argument, token on standard input; exit code 0 is yes, 1 is no. Empty: not offered." },
	{ "login-helper-user", SETTING_TEXT, AT(helper_user), "_porterauth", 0, 0, NULL, NULL,
	  "The system user as whom Dovecot's socket, PAM and the token verifier are asked; never root." },
	{ "login-mechanisms", SETTING_LIST, AT(mechanisms), "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS OAUTHBEARER XOAUTH2 EXTERNAL", 0, 0, NULL, check_mechanisms,
	  "What AUTH may offer, under TLS only." },
	{ "login-workers", SETTING_UINT, AT(workers), "2", 1, 64, NULL, NULL, "How many passwords are hashed side by side (64 MiB each while it lasts)." },
	{ "login-queue", SETTING_UINT, AT(queue), "200", 1, 10000, NULL, NULL, "How many more may wait; further logins are answered 454." },
	{ "login-helpers", SETTING_UINT, AT(helpers), "8", 1, 200, NULL, NULL, "How many short-lived processes for logins run side by side." },
};

struct setting_table login_setting_table = { "login", rows, sizeof rows / sizeof rows[0], &login_settings };
