/* Random bytes, apart from OpenSSL: the parent and others that need no more of it don't load it. */
#include "base/crypto.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void crypto_random(void *out, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = getrandom((char *)out + done, n - done, 0);
		if (got < 0 && errno != EINTR) {
			perror("porter: no random bytes");
			abort();
		}
		done += got > 0 ? (size_t)got : 0;
	}
}
