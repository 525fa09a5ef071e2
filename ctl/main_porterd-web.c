/* The role `web`: the RNDR check's page. */
#include "ctl/role_begin.h"
#include "ctl/web_main.h"

int main(int argc, char **argv)
{
	return role_program("web", web_main, argc, argv);
}
