/* Services that filter, read from the settings. */
#include "smtpd/filter_service.h"

#include "base/scan.h"

static const char *const at_names[] = { "connect", "helo", "mail", "rcpt", "data", "dot" };

static const char *read_option(struct slice option, struct filter_service *s)
{
	struct slice value, name = slice_cut(option, '=', &value);
	uint64_t seconds;
	if (slice_eq(name, SLICE("down")) && slice_eq(value, SLICE("accept"))) {
		s->accept_when_down = true;
	} else if (slice_eq(name, SLICE("down")) && slice_eq(value, SLICE("defer"))) {
		s->accept_when_down = false;
	} else if (slice_eq(name, SLICE("timeout")) && scan_span_all(value, 3600, &seconds) && seconds) {
		s->timeout_ms = seconds * 1000;
	} else if (slice_eq(name, SLICE("at"))) {
		for (size_t i = 0; i < sizeof at_names / sizeof *at_names; i++)
			if (slice_eq(value, slice_of(at_names[i]))) {
				s->at = (enum filter_at)i;
				return NULL;
			}
		return "at= is connect, helo, mail, rcpt, data or dot";
	} else {
		return "has an option that is none of down=defer, down=accept, timeout=SPAN, at=STAGE";
	}
	return NULL;
}

const char *filter_service_parse(struct slice item, const struct filter_service *preset, struct filter_service *out)
{
	struct filter_service s = *preset;
	struct slice options, head = slice_cut(item, ',', &options), address;
	s.name = slice_cut(head, '=', &address);
	if (!address.p)
		address = head;
	const char *why;
	if (!s.name.n || !net_address_parse(address, 0, &s.address, &why))
		return "holds something that is no service (NAME=127.0.0.1:11332, unix:/run/filter.sock)";
	while (options.n) {
		const char *wrong = read_option(slice_cut(options, ',', &options), &s);
		if (wrong)
			return wrong;
	}
	*out = s;
	return NULL;
}

size_t filter_services_read(struct slice list, const struct filter_service *preset, struct filter_service *out, size_t max)
{
	size_t count = 0;
	while (list.n && count < max) {
		struct slice item = slice_cut(list, ' ', &list);
		if (item.n && !filter_service_parse(item, preset, &out[count]))
			count++;
	}
	return count;
}
