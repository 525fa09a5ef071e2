/* The role `mailbox` as a program of its own: it speaks no TLS, asks no DNS and reads no map, so those libraries' relocations needn't be in its memory, nor their code in its reach. */
#include "ctl/role_begin.h"
#include "delivery/mailbox.h"

int main(int argc, char **argv)
{
	return role_program("mailbox", mailbox_main, argc, argv);
}
