/* A picture on a terminal. A signal that ends or stops us puts the terminal right first, in its handler; a window that changes is heard in screen_wait alone, so no question to the house is cut short. */
#include "ctl/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

enum { DEFAULT_ROWS = 24, DEFAULT_COLUMNS = 80, MAX_DRAWN = 1 << 20 };
static const int endings[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static struct termios found;             /* as we found it */
static volatile sig_atomic_t is_changed, has_keys, changed;
static sigset_t outside;                 /* the signals that were blocked before */

/* -- keys and signals -------------------------------------------------------------------------------------------------------------------- */

static void put_right(void)
{
	if (is_changed)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &found);
	is_changed = 0;
}

static void hear_keys(void)
{
	struct termios t;
	if (!has_keys || is_changed || tcgetattr(STDIN_FILENO, &found))
		return;
	t = found;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	is_changed = 1;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
}

static void on_ending(int number)
{
	put_right();
	signal(number, SIG_DFL);
	raise(number);
}

static void on_stop(int number)
{
	int error = errno;
	(void)number;
	put_right();
	raise(SIGSTOP);                  /* SIGCONT finds us here */
	errno = error;
}

static void on_change(int number)
{
	(void)number;
	changed = 1;
}

static void on(int number, void (*handler)(int))
{
	struct sigaction a = { .sa_handler = handler, .sa_flags = SA_RESTART }, before;
	sigfillset(&a.sa_mask);
	if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup */
		sigaction(number, &a, NULL);
}

static void hear_signals(void)
{
	sigset_t changes;
	sigemptyset(&changes);
	sigaddset(&changes, SIGWINCH);
	sigaddset(&changes, SIGCONT);
	sigprocmask(SIG_BLOCK, &changes, &outside);
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		on(endings[i], on_ending);
	on(SIGTSTP, on_stop);
	on(SIGWINCH, on_change);
	on(SIGCONT, on_change);
}

/* -- the picture -------------------------------------------------------------------------------------------------------------------------- */

static void measure(struct screen *s)
{
	struct winsize size = { 0 };
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
	s->rows = known && size.ws_row ? size.ws_row : DEFAULT_ROWS;
	s->columns = known && size.ws_col ? size.ws_col : DEFAULT_COLUMNS;
}

bool screen_begin(struct screen *s)
{
	const char *term = getenv("TERM");
	if (!isatty(STDOUT_FILENO) || !term || !*term || strcmp(term, "dumb") == 0)
		return false;
	*s = (struct screen){ .keys = isatty(STDIN_FILENO) };
	has_keys = s->keys;
	hear_signals();
	hear_keys();
	measure(s);
	fputs("\033[H\033[J", stdout);
	fflush(stdout);
	return true;
}

/* The bytes of a line that fill n columns: a character has one, and those beyond ASCII begin with a byte that isn't 10xxxxxx. */
static size_t cut(struct slice line, size_t n)
{
	size_t i = 0;
	while (i < line.n && (n || ((unsigned char)line.p[i] & 0xc0) == 0x80))
		n -= ((unsigned char)line.p[i++] & 0xc0) != 0x80;
	return i;
}

/* The last row stays empty: a line's end there would move all up. */
void screen_draw(struct screen *s, struct slice lines)
{
	struct buf out = BUF_INIT(MAX_DRAWN);
	buf_add_cstr(&out, "\033[H");
	for (size_t row = 1; row < s->rows && lines.n; row++) {
		struct slice line = slice_head(lines, slice_find(lines, '\n'));
		lines = slice_skip(lines, line.n + 1);
		buf_add_cstr(&out, "\033[K"); /* first: behind a full line it would take the last character */
		buf_add(&out, slice_head(line, cut(line, s->columns)));
		buf_add_byte(&out, '\n');
	}
	buf_add_cstr(&out, "\033[J");
	fwrite(out.p, 1, out.n, stdout);
	fflush(stdout);
	buf_free(&out);
}

/* Also where nobody is there any more. */
static bool wants_to_leave(void)
{
	char key = 0;
	ssize_t n = read(STDIN_FILENO, &key, 1);
	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN) || key == 'q' || key == 'Q';
}

enum screen_event screen_wait(struct screen *s, uint64_t ms)
{
	uint64_t until = clock_mono_ms() + ms;
	struct pollfd key = { STDIN_FILENO, POLLIN, 0 };
	for (uint64_t now = clock_mono_ms(); now < until; now = clock_mono_ms()) {
		struct timespec left = { (time_t)((until - now) / 1000), (long)((until - now) % 1000 * 1000000) };
		int n = ppoll(&key, s->keys, &left, &outside);
		hear_keys();             /* after ^Z they are others' again */
		if (changed) {
			changed = 0;
			measure(s);
			return SCREEN_CHANGED;
		}
		if (n > 0 && wants_to_leave())
			return SCREEN_QUIT;
	}
	return SCREEN_TIME;
}

void screen_end(struct screen *s)
{
	(void)s;
	put_right();
	sigprocmask(SIG_SETMASK, &outside, NULL);
}
