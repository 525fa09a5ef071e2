/* The role `mailbox` as a program of its own: it speaks no TLS, asks no DNS and reads no map, so those libraries' relocations needn't be in its memory, nor their code in its reach. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "ctl/role_begin.h"
#include "delivery/mailbox.h"

int main(int argc, char **argv)
{
	mallopt(M_ARENA_MAX, 1); /* as in porterd */
	if (argc == 4 && strcmp(argv[1], "--role=mailbox") == 0)
		return role_begin("mailbox", mailbox_main, argv[3]);
	fputs("porterd-mailbox: a part of porterd(8), which starts it\n", stderr);
	return 64;
}
