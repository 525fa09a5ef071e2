/* The role `queue`: it speaks no TLS and asks no DNS. */
#include "ctl/role_begin.h"
#include "queue/queue.h"

int main(int argc, char **argv)
{
	return role_program("queue", queue_main, argc, argv);
}
