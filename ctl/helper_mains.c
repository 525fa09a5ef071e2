/* The mains of our own short-lived processes. */
#include "ctl/helper_mains.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/tls.h"
#include "delivery/sts.h"
#include "delivery/system_parcel.h"
#include "delivery/tls_report_house.h"
#include "delivery/unix_helper.h"
#include "maps/manifest.h"
#include "smtpd/login.h"

enum { EX_USAGE = 64, MADE_DAYS = 3650 };

static int system_main(int argc, char **argv)
{
	(void)argc, (void)argv;
	return system_user_main();
}

static int unix_main(int argc, char **argv)
{
	return argc > 0 ? unix_helper_main(argv[0]) : 64;
}

/* MAPS SECRETS GENERATION */
static int verify_main(int argc, char **argv)
{
	struct arena mem = ARENA_INIT(1 << 20);
	const char *why = "";
	uint64_t generation;
	if (argc != 3 || !scan_uint_all(slice_of(argv[2]), UINT64_MAX, &generation))
		return EX_USAGE;
	int error = manifest_verify(argv[0], argv[1], generation, &mem, &why);
	if (error)
		log_event(LOG_ERROR, "maps-damaged", LOG_UINT("generation", generation), LOG_CSTR("file", why), LOG_ERRNO(error), LOG_END);
	arena_free(&mem);
	return error ? 1 : 0;
}

/* HOST CERTIFICATE KEY */
static int certificate_main(int argc, char **argv)
{
	struct buf cert = BUF_INIT(64 << 10), key = BUF_INIT(64 << 10);
	char folder[PATH_MAX];
	if (argc != 3)
		return EX_USAGE;
	int n = snprintf(folder, sizeof folder, "%.*s", (int)slice_rfind(slice_of(argv[1]), '/'), argv[1]);
	if (n > 0 && n < (int)sizeof folder)
		mkdir(folder, 0755);
	int error = tls_make_self_signed(slice_of(argv[0]), MADE_DAYS, &cert, &key);
	error = error ? error : file_make(AT_FDCWD, argv[2], 0600, buf_slice(&key));
	error = error ? error : file_make(AT_FDCWD, argv[1], 0644, buf_slice(&cert));
	if (key.p)
		mem_wipe(key.p, key.cap);
	buf_free(&cert);
	buf_free(&key);
	if (error)
		log_event(LOG_WARN, "certificate", LOG_CSTR("file", argv[1]), LOG_ERRNO(error), LOG_END);
	return error ? 1 : 0;
}

static const struct {
	const char *kind;
	int (*main)(int argc, char **argv);
} mains[] = {
	{ "system", system_main }, { "login-dovecot", login_dovecot_main }, { "login-pam", login_pam_main }, { "login-token", login_token_main }, { "sts", sts_main },
	{ "connect-unix", unix_main }, { "tls-report", tls_report_main }, { "verify", verify_main }, { "certificate", certificate_main },
};

int helper_main(const char *kind, int argc, char **argv)
{
	for (size_t i = 0; i < sizeof mains / sizeof *mains; i++)
		if (strcmp(mains[i].kind, kind) == 0)
			return mains[i].main(argc, argv);
	return EX_USAGE;
}
