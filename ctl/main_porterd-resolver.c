/* The role `resolver`: it has libunbound, and no other has. */
#include "ctl/role_begin.h"
#include "ctl/resolver.h"

int main(int argc, char **argv)
{
	return role_program("resolver", resolver_main, argc, argv);
}
