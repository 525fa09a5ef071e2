/* The one door to libpsl. */
#include "base/suffix.h"

#include <libpsl.h>

#include "base/mem.h"

struct suffix_list {
	const psl_ctx_t *list;
	psl_ctx_t *own;          /* NULL: the built-in one */
};

struct suffix_list *suffix_list_new(struct slice file)
{
	char *name = mem_copy(file.n ? file.p : "", file.n);
	psl_ctx_t *own = file.n ? psl_load_file(name) : NULL;
	const psl_ctx_t *list = file.n ? own : psl_builtin();
	mem_free(name);
	if (!list)
		return NULL;
	struct suffix_list *l = MEM_NEW(struct suffix_list);
	l->list = list;
	l->own = own;
	return l;
}

void suffix_list_free(struct suffix_list *l)
{
	if (!l)
		return;
	psl_free(l->own);
	mem_free(l);
}

struct slice suffix_organisation(const struct suffix_list *l, struct slice name)
{
	char text[256];
	if (!name.n || name.n >= sizeof text || name.p[0] == '.')
		return SLICE("");
	memcpy(text, name.p, name.n);
	text[name.n] = 0;
	const char *found = psl_registrable_domain(l->list, text);
	return found ? slice_skip(name, (size_t)(found - text)) : SLICE("");
}
