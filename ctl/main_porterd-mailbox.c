/* The role `mailbox`: it speaks no TLS, asks no DNS and reads no map. */
#include "ctl/role_begin.h"
#include "delivery/mailbox.h"

int main(int argc, char **argv)
{
	return role_program("mailbox", mailbox_main, argc, argv);
}
