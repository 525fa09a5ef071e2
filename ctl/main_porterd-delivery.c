/* The role `delivery`: next hops. */
#include "ctl/role_begin.h"
#include "delivery/delivery_main.h"

int main(int argc, char **argv)
{
	return role_program("delivery", delivery_main, argc, argv);
}
