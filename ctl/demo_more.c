/* The demo beyond its MX. */
#include "ctl/demo_more.h"

void demo_add_conf(struct buf *conf, unsigned submission, unsigned submissions, unsigned http)
{
	(void)conf, (void)submission, (void)submissions, (void)http;
}

int demo_add_files(const char *dir)
{
	(void)dir;
	return 0;
}

void demo_print_more(struct parent *p)
{
	(void)p;
}
