/* ledger_age FOLDER SECONDS: makes a ledger that nobody serves older by so much: what a test would else have to wait two weeks for (queue/ledger.c: since_of). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/ledger_store.h"

int main(int argc, char **argv)
{
	static const struct slice key = SLICE_INIT("since");
	struct ledger_store *s;
	bool anew;
	char value[LEDGER_MAX_VALUE];
	size_t n;
	uint64_t since = 0;
	if (argc != 3 || ledger_store_open(argv[1], &s, &anew) || anew)
		return fprintf(stderr, "there is no ledger in %s\n", argc > 1 ? argv[1] : "nothing"), 1;
	int error = ledger_store_get(s, TABLE_SENT, key, value, &n);
	if (error || n < LEDGER_TIME + 1)
		return fprintf(stderr, "it has no age\n"), 1;
	for (int i = 0; i < LEDGER_TIME; i++)
		since = since << 8 | (unsigned char)value[1 + i];
	since -= strtoull(argv[2], NULL, 10);
	for (int i = LEDGER_TIME; i > 0; i--, since >>= 8)
		value[i] = (char)since;
	error = ledger_store_begin(s);
	error = error ? error : ledger_store_put(s, TABLE_SENT, key, slice(value, n));
	error = error ? error : ledger_store_end(s, true);
	ledger_store_close(s);
	return error != 0;
}
