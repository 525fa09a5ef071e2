/* The role `login`: it speaks no TLS and asks no DNS. */
#include "ctl/role_begin.h"
#include "smtpd/login.h"

int main(int argc, char **argv)
{
	return role_program("login", login_main, argc, argv);
}
