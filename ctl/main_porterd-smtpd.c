/* The role `smtpd`: clients' sessions. */
#include "ctl/role_begin.h"
#include "smtpd/smtpd.h"

int main(int argc, char **argv)
{
	return role_program("smtpd", smtpd_main, argc, argv);
}
