/* The role `keeper`: of all libraries it needs libcrypto, libevent, libcap and libseccomp. */
#include "ctl/role_begin.h"
#include "base/keeper.h"

int main(int argc, char **argv)
{
	return role_program("keeper", keeper_main, argc, argv);
}
