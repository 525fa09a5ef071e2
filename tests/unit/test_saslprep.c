#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "maps/saslprep.h"

static void is(const char *text, enum saslprep_use use, const char *want)
{
	struct buf got = BUF_INIT(1000);
	const char *why = saslprep_add(slice_of(text), use, &got);
	if (want) {
		assert_null(why);
		assert_true(slice_eq(buf_slice(&got), slice_of(want)));
	} else {
		assert_non_null(why);
		assert_int_equal(got.n, 0);
	}
	buf_free(&got);
}

/* RFC 4013, 3. */
static void the_examples_of_rfc_4013(void **state)
{
	(void)state;
	is("I\u00adX", SASLPREP_STORED, "IX");
	is("user", SASLPREP_STORED, "user");
	is("USER", SASLPREP_STORED, "USER");
	is("\u00aa", SASLPREP_STORED, "a");
	is("\u2168", SASLPREP_STORED, "IX");
	is("\a", SASLPREP_STORED, NULL);
	is("\u0627" "1", SASLPREP_STORED, NULL);
}

static void spaces_ligatures_and_composed_letters_have_one_spelling(void **state)
{
	(void)state;
	is("a\u00a0b", SASLPREP_QUERY, "a b");
	is("a\u3000b\u200b", SASLPREP_QUERY, "a b ");
	is("\ufb01sh", SASLPREP_QUERY, "fish");
	is("u\u0308", SASLPREP_QUERY, "\u00fc");
	is("\u212b", SASLPREP_QUERY, "\u00c5");
	is("a\u0340", SASLPREP_QUERY, "\u00e0");
	is("a\u200cb\ufe0f", SASLPREP_QUERY, "ab");
}

static void what_is_not_for_names_and_passwords_is_refused(void **state)
{
	static const char *const bad[] = { "", "\u00ad", "a\tb", "a\x7f", "\xc2\x85", "\u2028", "\u202ex", "\u206a", "\u2ff0", "\ue000", "\ufdd0", "\ufffd", "\U0001d173",
		                               "\U000e0041", "\U0001fffe", "\xff", "\xc0\x80" };
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		is(bad[i], SASLPREP_QUERY, NULL);
}

static void a_text_has_one_direction(void **state)
{
	(void)state;
	is("\u0627\u0628", SASLPREP_STORED, "\u0627\u0628");
	is("\u0627" "1\u0628", SASLPREP_STORED, "\u0627" "1\u0628");
	is("\u0627x\u0628", SASLPREP_STORED, NULL);
	is("1\u0627", SASLPREP_STORED, NULL);
	is("\u05d0a", SASLPREP_STORED, NULL);
}

static void characters_that_do_not_exist_are_asked_about_but_not_stored(void **state)
{
	(void)state;
	is("a\u0378", SASLPREP_STORED, NULL);
	is("a\u0378", SASLPREP_QUERY, "a\u0378");
	is("\U0001f600", SASLPREP_STORED, "\U0001f600"); /* later than Unicode 3.2 */
}

static void nothing_is_written_past_the_ceiling(void **state)
{
	(void)state;
	struct buf four = BUF_INIT(4);
	assert_non_null(saslprep_add(SLICE("\ufdfa"), SASLPREP_QUERY, &four)); /* 3 bytes become 33 */
	assert_int_equal(four.n, 0);
	buf_free(&four);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_rfc_4013),
		cmocka_unit_test(spaces_ligatures_and_composed_letters_have_one_spelling),
		cmocka_unit_test(what_is_not_for_names_and_passwords_is_refused),
		cmocka_unit_test(a_text_has_one_direction),
		cmocka_unit_test(characters_that_do_not_exist_are_asked_about_but_not_stored),
		cmocka_unit_test(nothing_is_written_past_the_ceiling),
	};
	return cmocka_run_group_tests_name("saslprep", tests, NULL, NULL);
}
