/* Other sources of logins, each in a short-lived process of its own that may wait, open sockets and run programs, and holds one password. */
#include <dlfcn.h>
#include <fcntl.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ipc.h"
#include "base/mem.h"
#include "base/text.h"
#include "smtpd/login.h"

enum { PATIENCE_S = 20, MAX_REPLY = 16 << 10, MAX_LINES = 200 };

typedef struct login_answer (*judge)(const char *word, const struct login_question *q, struct buf *strings);

static struct login_answer unsure(const char *why)
{
	return (struct login_answer){ .answer = UNSURE, .why = slice_of(why) };
}

/* Reads the question, lets it be judged, answers. */
static int serve(int argc, char **argv, judge say)
{
	struct buf payload = BUF_INIT(IPC_MAX_PAYLOAD), out = BUF_INIT(LOGIN_MAX_PAYLOAD), strings = BUF_INIT(LOGIN_MAX_PAYLOAD);
	struct ipc_message m = { .fd = -1 };
	struct login_question q;
	if (argc < 1 || ipc_receive_blocking(STDIN_FILENO, PATIENCE_S * 1000, &m, &payload) || !login_question_read(m.payload, &q))
		return 75;
	struct login_answer a = say(argv[0], &q, &strings);
	login_answer_add(&out, &a);
	int error = ipc_send_blocking(STDIN_FILENO, LOGIN_ANSWER, m.id, buf_slice(&out), -1);
	if (payload.p)
		mem_wipe(payload.p, payload.cap);
	buf_free(&payload);
	buf_free(&out);
	buf_free(&strings);
	return error ? 75 : 0;
}

/* -- Dovecot ------------------------------------------------------------------------------------------------------------------------------ */

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval patience = { PATIENCE_S, 0 };
	int fd = strlen(path) < sizeof a.sun_path ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
	if (fd < 0)
		return -1;
	memcpy(a.sun_path, path, strlen(path));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool send_all(int fd, struct slice s)
{
	while (s.n) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		s = slice_skip(s, (size_t)n);
	}
	return true;
}

/* The next line of the server's; views into in until the next call. */
static bool next_line(int fd, struct buf *in, size_t *used, struct slice *line)
{
	buf_drop(in, *used);
	*used = 0;
	for (;;) {
		size_t end = slice_find(buf_slice(in), '\n');
		if (end < in->n) {
			*line = slice(in->p, end);
			*used = end + 1;
			return true;
		}
		char *room = buf_room(in, 1024);
		ssize_t n = room ? recv(fd, room, 1024, 0) : -1;
		if (n <= 0)
			return false;
		buf_used(in, (size_t)n);
	}
}

static struct slice parameter(struct slice line, const char *name)
{
	while (line.n) {
		struct slice item = slice_cut(line, '\t', &line);
		if (slice_starts(item, slice_of(name)))
			return slice_skip(item, strlen(name));
	}
	return SLICE_NONE;
}

static bool write_request(int fd, const struct login_question *q)
{
	struct buf b = BUF_INIT(LOGIN_MAX_PAYLOAD * 2), plain = BUF_INIT(LOGIN_MAX_PAYLOAD);
	buf_addf(&b, "VERSION\t1\t1\nCPID\t%d\nAUTH\t1\tPLAIN\tservice=smtp\tsecured\trip=", (int)getpid());
	for (size_t i = 0; i < q->ip.n; i++)
		buf_add_byte(&b, q->ip.p[i] == '\t' || q->ip.p[i] == '\n' ? '_' : q->ip.p[i]);
	buf_add_cstr(&b, "\tresp=");
	buf_add_byte(&plain, '\0');
	buf_add(&plain, q->name);
	buf_add_byte(&plain, '\0');
	buf_add(&plain, q->secret);
	text_add_base64(&b, buf_slice(&plain));
	buf_add_byte(&b, '\n');
	bool good = !buf_full(&b) && send_all(fd, buf_slice(&b));
	mem_wipe(plain.p, plain.cap);
	mem_wipe(b.p, b.cap);
	buf_free(&plain);
	buf_free(&b);
	return good;
}

/* Dovecot's authentication protocol, version 1: OK, FAIL (with temp: can't be told), anything before them is its handshake. */
static struct login_answer ask_dovecot(const char *path, const struct login_question *q, struct buf *strings)
{
	struct buf in = BUF_INIT(MAX_REPLY);
	size_t used = 0;
	struct slice line;
	int fd = slice_find(q->name, '\0') == q->name.n ? connect_to(path) : -1;
	struct login_answer a = unsure("Dovecot's socket can't be reached");
	if (fd >= 0 && write_request(fd, q))
		for (size_t lines = 0; lines < MAX_LINES && next_line(fd, &in, &used, &line); lines++) {
			if (slice_starts(line, SLICE("OK\t1"))) {
				buf_add(strings, parameter(line, "user="));
				a = (struct login_answer){ .answer = FOUND, .name = buf_slice(strings) };
			} else if (slice_starts(line, SLICE("FAIL\t1"))) {
				bool later = slice_find_slice(line, SLICE("\ttemp")) < line.n;
				a = later ? unsure("Dovecot can't tell now") : (struct login_answer){ .answer = ABSENT };
			} else {
				continue;
			}
			break;
		}
	if (fd >= 0)
		close(fd);
	buf_free(&in);
	return a;
}

int login_dovecot_main(int argc, char **argv)
{
	return serve(argc, argv, ask_dovecot);
}

/* -- PAM ---------------------------------------------------------------------------------------------------------------------------------- */

/* Loaded by this process alone: with libaudit and libcap-ng behind it, it would be in the memory of every process of the house. */
static struct {
	typeof(pam_start) *start;
	typeof(pam_set_item) *set_item;
	typeof(pam_authenticate) *authenticate;
	typeof(pam_acct_mgmt) *acct_mgmt;
	typeof(pam_end) *end;
	typeof(pam_strerror) *strerror;
} pam_library;

static bool load_pam(void)
{
	static const struct { const char *name; void *to; } wanted[] = {
		{ "pam_start", &pam_library.start }, { "pam_set_item", &pam_library.set_item }, { "pam_authenticate", &pam_library.authenticate },
		{ "pam_acct_mgmt", &pam_library.acct_mgmt }, { "pam_end", &pam_library.end }, { "pam_strerror", &pam_library.strerror },
	};
	void *library = dlopen("libpam.so.0", RTLD_NOW);
	for (size_t i = 0; library && i < sizeof wanted / sizeof wanted[0]; i++)
		if (!(*(void **)wanted[i].to = dlsym(library, wanted[i].name)))
			return false;
	return library;
}

/* Questions without echo are answered with the password, others with nothing. */
static int converse(int count, const struct pam_message **questions, struct pam_response **answers, void *password)
{
	if (count <= 0 || count > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	struct pam_response *all = calloc((size_t)count, sizeof *all); /* PAM frees it */
	for (int i = 0; all && i < count; i++)
		if (questions[i]->msg_style == PAM_PROMPT_ECHO_OFF)
			all[i].resp = strdup(password);
	*answers = all;
	return all ? PAM_SUCCESS : PAM_BUF_ERR;
}

static enum answer pam_says(int result)
{
	switch (result) {
	case PAM_SUCCESS:
		return FOUND;
	case PAM_AUTH_ERR:
	case PAM_USER_UNKNOWN:
	case PAM_MAXTRIES:
	case PAM_ACCT_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD:
	case PAM_PERM_DENIED:
		return ABSENT;
	}
	return UNSURE;
}

static struct login_answer ask_pam(const char *service, const struct login_question *q, struct buf *strings)
{
	(void)strings;
	pam_handle_t *pam = NULL;
	if (slice_find(q->name, '\0') < q->name.n || slice_find(q->secret, '\0') < q->secret.n)
		return (struct login_answer){ .answer = ABSENT };
	if (!load_pam())
		return unsure("libpam.so.0 can't be loaded");
	char *name = mem_copy(q->name.p, q->name.n), *secret = mem_copy(q->secret.p, q->secret.n), *ip = mem_copy(q->ip.p, q->ip.n);
	struct pam_conv talk = { converse, secret };
	int result = pam_library.start(service, name, &talk, &pam);
	if (result == PAM_SUCCESS) {
		pam_library.set_item(pam, PAM_RHOST, ip);
		result = pam_library.authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
		if (result == PAM_SUCCESS)
			result = pam_library.acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
		pam_library.end(pam, result);
	}
	struct login_answer a = { .answer = pam_says(result), .name = q->name, .why = slice_of(result == PAM_SUCCESS ? "" : pam_library.strerror(NULL, result)) };
	mem_wipe(secret, q->secret.n);
	mem_free(secret);
	mem_free(name);
	mem_free(ip);
	return a;
}

int login_pam_main(int argc, char **argv)
{
	return serve(argc, argv, ask_pam);
}

/* -- tokens ------------------------------------------------------------------------------------------------------------------------------- */

static void run_verifier(const char *program, const char *login, int in, int out)
{
	char *const argv[] = { (char *)(uintptr_t)program, (char *)(uintptr_t)login, NULL };
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0)
		_exit(75);
	execv(program, argv);
	_exit(75);
}

/* What it prints first is whose token it is; one line. */
static void read_name(int fd, struct buf *name)
{
	char c;
	while (name->n < LOGIN_MAX_NAME && read(fd, &c, 1) == 1 && c != '\n')
		buf_add_byte(name, c);
}

static struct login_answer verdict(int status, const struct login_question *q, struct buf *name)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		return unsure("the token verifier failed");
	if (WEXITSTATUS(status) == 1)
		return (struct login_answer){ .answer = ABSENT };
	struct slice said = name->n ? buf_slice(name) : q->name;
	if (said.n == 0 || (q->name.n && !slice_eq_nocase(said, q->name)))
		return (struct login_answer){ .answer = ABSENT, .why = SLICE("the token is somebody else's") };
	return (struct login_answer){ .answer = FOUND, .name = said };
}

static struct login_answer ask_verifier(const char *program, const struct login_question *q, struct buf *strings)
{
	int in[2], out[2], status = -1;
	if (slice_find(q->name, '\0') < q->name.n || slice_find(q->secret, '\0') < q->secret.n)
		return (struct login_answer){ .answer = ABSENT };
	char *login = mem_copy(q->name.p, q->name.n);
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return unsure("no pipe");
	pid_t pid = fork();
	if (pid == 0)
		run_verifier(program, login, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	ssize_t n = pid > 0 ? write(in[1], q->secret.p, q->secret.n) : -1; /* it fits: a pipe takes 64 KiB */
	close(in[1]);
	if (n == (ssize_t)q->secret.n)
		read_name(out[0], strings);
	close(out[0]);
	mem_free(login);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return unsure("the token verifier can't be run");
	return verdict(status, q, strings);
}

int login_token_main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	return serve(argc, argv, ask_verifier);
}
