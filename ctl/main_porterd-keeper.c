/* The role `keeper` as a program of its own: of all libraries it needs libcrypto, libevent, libcap and libseccomp, so the others' relocations needn't be in its memory, nor their code in its reach. */
#include "ctl/role_begin.h"
#include "base/keeper.h"

int main(int argc, char **argv)
{
	return role_program("keeper", keeper_main, argc, argv);
}
