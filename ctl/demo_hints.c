/* What the parent says of a demo that serves. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/net.h"
#include "ctl/demo.h"
#include "ctl/web_settings.h"
#include "delivery/mailbox_settings.h"
#include "smtpd/smtpd_settings.h"

bool demo_is(const char *directory)
{
	char path[PATH_MAX], head[sizeof DEMO_MARK];
	snprintf(path, sizeof path, "%s/porter.conf", directory);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof DEMO_MARK - 1);
	if (fd >= 0)
		close(fd);
	return n == sizeof DEMO_MARK - 1 && memcmp(head, DEMO_MARK, sizeof DEMO_MARK - 1) == 0;
}

static unsigned port_of(struct slice list)
{
	struct net_address a;
	const char *why;
	return net_address_parse(slice_cut(list, ' ', &list), 0, &a, &why) ? net_address_port(&a) : 0;
}

static void print_more(void)
{
	unsigned submission = port_of(smtpd_settings.listen_submission), submissions = port_of(smtpd_settings.listen_submissions);
	if (web_settings.listen_http.n)
		printf("The RNDR check as a page: http://%.*s/\n", SLICE_FMT(web_settings.listen_http));
	if (submission)
		printf("Submission on port %u (STARTTLS) and %u (TLS), logins alice@example.test and bob@example.test, password porter-demo.\n", submission, submissions);
}

void demo_print_hints(void)
{
	struct net_address a;
	const char *why;
	struct slice first = smtpd_settings.listen_mx;
	first = slice_cut(first, ' ', &(struct slice){ NULL, 0 });
	if (!net_address_parse(first, 0, &a, &why))
		return;
	unsigned port = net_address_port(&a);
	printf("Porter serves example.test on 127.0.0.1, port %u. Try, in another terminal:\n"
	       "  printf 'Subject: hello\\r\\n\\r\\nFirst message\\r\\n' | curl -s smtp://127.0.0.1:%u --mail-from you@outside.test --mail-rcpt alice@example.test -T -\n"
	       "  cat %.*s/example.test/alice/new/*\n"
	       "  printf 'Subject: spam\\r\\n\\r\\nx\\r\\n' | curl -sS smtp://127.0.0.1:%u --mail-from victim@outside.test --mail-rcpt nobody@example.test -T -\n",
	       port, port, SLICE_FMT(mailbox_settings.mail_root), port);
	print_more();
	printf("Ctrl-C ends it.\n");
	fflush(stdout);
}
