#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "smtpd/fixup.h"

static void mended(const char *head, const char *want, bool wants_id)
{
	struct buf out = BUF_INIT(10000);
	bool added_id;
	bool changed = fixup_head(slice_of(head), SLICE("<id@host.test>"), 0, &out, &added_id);
	assert_int_equal(changed, want != NULL);
	assert_int_equal(added_id, wants_id);
	if (!slice_eq(buf_slice(&out), slice_of(want ? want : head)))
		fail_msg("%.*s", SLICE_FMT(buf_slice(&out)));
	buf_free(&out);
}

static void a_message_that_lacks_nothing_stays(void **state)
{
	(void)state;
	mended("DATE: x\r\nmessage-id:\r\n <a@b>\r\nTo: c\r\n\r\n", NULL, false);
}

static void date_and_message_id_are_added_at_the_end(void **state)
{
	(void)state;
	mended("To: c\r\nDate: x\r\n\r\n", "To: c\r\nDate: x\r\nMessage-ID: <id@host.test>\r\n\r\n", true);
	mended("Message-ID: <a@b>\r\n\r\n", "Message-ID: <a@b>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\r\n", false);
	mended("\r\n", "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <id@host.test>\r\n\r\n", true);
}

static void bcc_goes_with_its_folds_and_nothing_else(void **state)
{
	(void)state;
	mended("Date: x\r\nBcc: a@b,\r\n\tc@d\r\nX-Bcc: e\r\nMessage-ID: <a@b>\r\nresent-BCC : f\r\n\r\n", "Date: x\r\nX-Bcc: e\r\nMessage-ID: <a@b>\r\n\r\n", false);
}

static void lines_that_are_no_fields_stay(void **state)
{
	(void)state;
	mended("no field\r\nDate: x\r\nMessage-ID: <a@b>\r\nBcc: c\r\n\r\n", "no field\r\nDate: x\r\nMessage-ID: <a@b>\r\n\r\n", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_that_lacks_nothing_stays),
		cmocka_unit_test(date_and_message_id_are_added_at_the_end),
		cmocka_unit_test(bcc_goes_with_its_folds_and_nothing_else),
		cmocka_unit_test(lines_that_are_no_fields_stay),
	};
	setenv("TZ", "UTC0", 1);
	tzset();
	return cmocka_run_group_tests_name("fixup", tests, NULL, NULL);
}
