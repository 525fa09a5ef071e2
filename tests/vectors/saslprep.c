/* saslprep: for each line of standard input, `stored HEX` or `query HEX`, the prepared form in hexadecimal, or `-`. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "maps/saslprep.h"

int main(void)
{
	char line[4096];
	struct buf in = BUF_INIT(2048), out = BUF_INIT(8192), hex = BUF_INIT(20000);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		enum saslprep_use use = line[0] == 's' ? SASLPREP_STORED : SASLPREP_QUERY;
		buf_clear(&in);
		buf_clear(&out);
		buf_clear(&hex);
		if (strlen(line) < 7 || !text_hex_decode(slice_of(line + (line[0] == 's' ? 7 : 6)), &in))
			return fprintf(stderr, "no line of mine: %s\n", line), 1;
		if (saslprep_add(buf_slice(&in), use, &out))
			buf_add_byte(&hex, '-');
		else
			text_add_hex(&hex, buf_slice(&out));
		printf("%.*s\n", SLICE_FMT(buf_slice(&hex)));
	}
	buf_free(&in);
	buf_free(&out);
	buf_free(&hex);
	return 0;
}
