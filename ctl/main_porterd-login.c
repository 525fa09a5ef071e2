/* The role `login` as a program of its own: it speaks no TLS and asks no DNS, so those libraries' relocations needn't be in its memory, nor their code in its reach. */
#include "ctl/role_begin.h"
#include "smtpd/login.h"

int main(int argc, char **argv)
{
	return role_program("login", login_main, argc, argv);
}
