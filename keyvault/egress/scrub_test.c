/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/scrub_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char key[] = "sk-proj/Ab+9_\"x\\yZ=7 q&<w>";

struct fixture {
	struct secret_arena *arena;
	struct scrub scrub;
};

static void open_with(struct fixture *f, const char *secret)
{
	assert_int_equal(secret_arena_new(256 * 1024, &f->arena), 0);
	secret_open(f->arena);
	assert_int_equal(scrub_init(&f->scrub, f->arena, &(struct span){(const uint8_t *)secret, strlen(secret)}, 1),
			 0);
}

static void close_all(struct fixture *f)
{
	scrub_deinit(&f->scrub);
	assert_int_equal(secret_arena_used(f->arena), 0);
	secret_close(f->arena);
	f->arena = secret_arena_free(f->arena);
}

/* The whole text in pieces of `step` bytes (0: at once). */
static size_t run(const struct scrub *s, struct span text, size_t step, uint8_t *out, uint32_t *ret_found)
{
	struct scrub_pass pass;
	size_t n = 0;

	scrub_begin(&pass, s);
	for (size_t at = 0, len; at < text.len; at += len) {
		len = MIN(step ? step : text.len, text.len - at);
		n += scrub_feed(&pass, span_of(text.p + at, len), out + n);
	}
	n += scrub_end(&pass, out + n);
	*ret_found = pass.found;
	return n;
}

static void check_hidden(const struct scrub *s, const char *form)
{
	char text[1024], want[1024];
	uint8_t out[1024];
	uint32_t found;

	size_t n = (size_t)snprintf(text, sizeof(text), "{\"error\":\"bad key %s, sorry\"}", form);
	for (size_t step = 0; step <= n; step++) {
		size_t len = run(s, span_of(text, n), step, out, &found);
		assert_int_equal(len, n);
		assert_int_equal(found, 1);
		memcpy(want, text, n);
		memset(want + 18, s->mark, strlen(form));
		assert_memory_equal(out, want, n);
	}
}

static void hides_every_form(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, key);
	check_hidden(&f.scrub, key);
	/* hex */
	check_hidden(&f.scrub, "736b2d70726f6a2f41622b395f22785c795a3d372071263c773e");
	check_hidden(&f.scrub, "736B2D70726F6A2F41622B395F22785C795A3D372071263C773E");
	/* python: json.dumps; PHP; Go; .NET */
	check_hidden(&f.scrub, "sk-proj/Ab+9_\\\"x\\\\yZ=7 q&<w>");
	check_hidden(&f.scrub, "sk-proj\\/Ab+9_\\\"x\\\\yZ=7 q&<w>");
	check_hidden(&f.scrub, "sk-proj/Ab+9_\\\"x\\\\yZ=7 q\\u0026\\u003cw\\u003e");
	check_hidden(&f.scrub, "sk-proj/Ab\\u002B9_\\u0022x\\\\yZ=7 q\\u0026\\u003Cw\\u003E");
	/* Gson; Newtonsoft for HTML; PHP with all JSON_HEX_*; slashes as \u002f */
	check_hidden(&f.scrub, "sk-proj/Ab+9_\\\"x\\\\yZ\\u003d7 q\\u0026\\u003cw\\u003e");
	check_hidden(&f.scrub, "sk-proj/Ab+9_\\u0022x\\\\yZ=7 q\\u0026\\u003cw\\u003e");
	check_hidden(&f.scrub, "sk-proj\\/Ab+9_\\u0022x\\\\yZ=7 q\\u0026\\u003Cw\\u003E");
	check_hidden(&f.scrub, "sk-proj\\u002fAb+9_\\\"x\\\\yZ=7 q\\u0026\\u003cw\\u003e");
	/* quote(safe=''), lower case, quote_plus, everything */
	check_hidden(&f.scrub, "sk-proj%2FAb%2B9_%22x%5CyZ%3D7%20q%26%3Cw%3E");
	check_hidden(&f.scrub, "sk-proj%2fAb%2b9_%22x%5cyZ%3d7%20q%26%3cw%3e");
	check_hidden(&f.scrub, "sk-proj%2FAb%2B9_%22x%5CyZ%3D7+q%26%3Cw%3E");
	check_hidden(&f.scrub, "sk%2Dproj%2FAb%2B9%5F%22x%5CyZ%3D7%20q%26%3Cw%3E");
	/* quote(), the same in small letters; encodeURI(); PHP's urlencode() */
	check_hidden(&f.scrub, "sk-proj/Ab%2B9_%22x%5CyZ%3D7%20q%26%3Cw%3E");
	check_hidden(&f.scrub, "sk-proj/Ab%2b9_%22x%5cyZ%3d7%20q%26%3cw%3e");
	check_hidden(&f.scrub, "sk-proj/Ab+9_%22x%5CyZ=7%20q&%3Cw%3E");
	check_hidden(&f.scrub, "sk-proj%2FAb%2B9_%22x%5CyZ%3D7+q%26%3Cw%3E");
	/* every byte escaped */
	check_hidden(&f.scrub, "%73%6B%2D%70%72%6F%6A%2F%41%62%2B%39%5F%22%78%5C%79%5A%3D%37%20%71%26%3C%77%3E");
	check_hidden(&f.scrub,
		     "\\u0073\\u006b\\u002d\\u0070\\u0072\\u006f\\u006a\\u002f\\u0041\\u0062\\u002b\\u0039\\u005f"
		     "\\u0022\\u0078\\u005c\\u0079\\u005a\\u003d\\u0037\\u0020\\u0071\\u0026\\u003c\\u0077\\u003e");
	close_all(&f);
}

static void hides_base64(void **state)
{
	/* base64 of "a" * lead + key + "tail", made with Python; between the bars what may stay: edges shared with
	 * neighbours. */
	static const struct {
		const char *text;
		size_t begin, end;
	} rows[] = {
		{"c2stcHJvai9BYis5XyJ4XHlaPTcgcSY8dz50YWls", 0, 34},
		{"c2stcHJvai9BYis5XyJ4XHlaPTcgcSY8dz50YWls", 0, 34},
		{"YXNrLXByb2ovQWIrOV8ieFx5Wj03IHEmPHc+dGFpbA==", 2, 36},
		{"YXNrLXByb2ovQWIrOV8ieFx5Wj03IHEmPHc-dGFpbA==", 2, 36},
		{"YWFzay1wcm9qL0FiKzlfInhceVo9NyBxJjx3PnRhaWw=", 3, 37},
		{"YWFzay1wcm9qL0FiKzlfInhceVo9NyBxJjx3PnRhaWw=", 3, 37},
	};
	struct fixture f;
	uint8_t out[128];
	uint32_t found;

	(void)state;
	open_with(&f, key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span text = span_str(rows[i].text);
		for (size_t step = 0; step < text.len; step++) {
			assert_int_equal(run(&f.scrub, text, step, out, &found), text.len);
			assert_int_equal(found, rows[i].begin < rows[i].end);
			for (size_t at = 0; at < text.len; at++)
				assert_int_equal(out[at],
						 at >= rows[i].begin && at < rows[i].end ? f.scrub.mark : text.p[at]);
		}
	}
	close_all(&f);
}

static void passes_what_only_resembles(void **state)
{
	static const char text[] = "sk-proj/Ab+9_\"x\\yZ=7 q&<w sk-proj sk-sk-proj/Ab+9_\"x\\yZ=7 q&<w";
	struct fixture f;
	uint8_t out[sizeof(text)];
	uint32_t found;

	(void)state;
	open_with(&f, key);
	for (size_t step = 0; step < sizeof(text); step++) {
		assert_int_equal(run(&f.scrub, SPAN_LIT(text), step, out, &found), sizeof(text) - 1);
		assert_int_equal(found, 0);
		assert_memory_equal(out, text, sizeof(text) - 1);
	}
	close_all(&f);
}

/* Only a live prefix may be held: an event that ends a line leaves at once. */
static void holds_nothing_needlessly(void **state)
{
	struct fixture f;
	struct scrub_pass pass;
	uint8_t out[64];

	(void)state;
	open_with(&f, key);
	scrub_begin(&pass, &f.scrub);
	assert_int_equal(scrub_feed(&pass, SPAN_LIT("data: hello\n\n"), out), 13);
	assert_int_equal(pass.held, 0);
	assert_int_equal(scrub_feed(&pass, SPAN_LIT("data: sk-pr"), out), 6);
	assert_int_equal(pass.held, 5);
	assert_int_equal(scrub_feed(&pass, SPAN_LIT("ay\n"), out), 8);
	assert_memory_equal(out, "sk-pray\n", 8);
	close_all(&f);
}

static void repeats_and_overlaps(void **state)
{
	struct fixture f;
	uint8_t out[64];
	uint32_t found;

	(void)state;
	open_with(&f, "abcabcab");
	struct span text = SPAN_LIT("abcabcabcabcab abcabcabcab");
	for (size_t step = 0; step < text.len; step++) {
		assert_int_equal(run(&f.scrub, text, step, out, &found), text.len);
		assert_memory_equal(out, "********cabcab ********cab", text.len);
		assert_int_equal(found, 2);
	}
	close_all(&f);
}

static void short_secrets_raw_only(void **state)
{
	struct fixture f;
	uint8_t out[64];
	uint32_t found;

	(void)state;
	open_with(&f, "*a");
	assert_int_equal(f.scrub.n, 1);
	assert_int_equal(run(&f.scrub, SPAN_LIT("x*aa 2a61 *"), 1, out, &found), 11);
	assert_memory_equal(out, "x##a 2a61 *", 11);
	assert_int_equal(found, 1);
	close_all(&f);
}

static unsigned fail_at; /* that allocation from now on; 0: none */

int __real_secret_alloc(struct secret_arena *a, size_t len, struct secret *ret_secret);
int __wrap_secret_alloc(struct secret_arena *a, size_t len, struct secret *ret_secret);
int __wrap_secret_alloc(struct secret_arena *a, size_t len, struct secret *ret_secret)
{
	return fail_at > 0 && --fail_at == 0 ? SECRET_E_FULL : __real_secret_alloc(a, len, ret_secret);
}

static void a_failed_start_keeps_nothing(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, key);
	size_t used = secret_arena_used(f.arena);
	for (unsigned i = 1; i <= 2; i++) {
		struct scrub s;
		fail_at = i;
		assert_int_equal(scrub_init(&s, f.arena, &SPAN_LIT(key), 1), SCRUB_E_FULL);
		assert_int_equal(fail_at, 0);
		scrub_deinit(&s);
		assert_int_equal(secret_arena_used(f.arena), used);
	}
	close_all(&f);
}

static void refuses_what_the_arena_cannot_hold(void **state)
{
	struct secret_arena *arena;
	struct scrub s;
	static char big[SCRUB_SECRET_BYTES_MAX];

	(void)state;
	memset(big, 'k', sizeof(big));
	assert_int_equal(secret_arena_new(65536, &arena), 0);
	secret_open(arena);
	assert_int_equal(scrub_init(&s, arena, &(struct span){(const uint8_t *)big, sizeof(big)}, 1), SCRUB_E_FULL);
	scrub_deinit(&s);
	secret_close(arena);
	arena = secret_arena_free(arena);
}

/* Basic authentication sends base64 of user and password; the password by itself is as secret, and so is a second key.
 */
static void hides_several(void **state)
{
	static const char text[] =
		"Basic dXNlci0xOmh1bnRlcjItaHVudGVyMg== or 68756e746572322d68756e74657232 or "
		"user-1%3Ahunter2-hunter2 or hunter2-hunter2 or anOther/KEY9 or anOther\\/KEY9 or user-1";
	static const char want[] =
		"Basic *****************************g== or ****************************** or "
		"************************ or *************** or ************ or ************* or user-1";
	const struct span secrets[] = {SPAN_LIT("user-1:hunter2-hunter2"), SPAN_LIT("hunter2-hunter2"),
				       SPAN_LIT("anOther/KEY9")};
	struct fixture f;
	uint8_t out[sizeof(text)];
	uint32_t found;

	(void)state;
	assert_int_equal(secret_arena_new(256 * 1024, &f.arena), 0);
	secret_open(f.arena);
	assert_int_equal(scrub_init(&f.scrub, f.arena, secrets, ARRAY_LEN(secrets)), 0);
	for (size_t step = 0; step < sizeof(text); step++) {
		assert_int_equal(run(&f.scrub, SPAN_LIT(text), step, out, &found), sizeof(text) - 1);
		assert_int_equal(found, 6);
		for (size_t i = 0; i < sizeof(want) - 1; i++)
			assert_int_equal(out[i], want[i] == '*' ? f.scrub.mark : want[i]);
	}
	close_all(&f);
}

/* Forms and pieces of them, so that near misses abound. */
static void make_text(const struct scrub_oracle *o, uint8_t *text, size_t len)
{
	for (size_t n = 0; n < len;) {
		struct span form = scrub_oracle_form(o, (size_t)random() % o->n);
		size_t from = random() % 2 ? (size_t)random() % form.len : 0;
		size_t take = random() % 3 == 0 ? form.len : 1 + (size_t)random() % form.len;
		take = MIN(MIN(take, form.len - from), len - n);
		memcpy(text + n, form.p + from, take);
		n += take;
	}
}

static void check_chunking(const struct scrub *s, const struct scrub_oracle *o)
{
	enum { LEN = 700 };
	uint8_t text[LEN], want[LEN], out[LEN];
	struct scrub_pass pass;
	size_t n = 0;

	make_text(o, text, LEN);
	memcpy(want, text, LEN);
	scrub_oracle_run(o, s->mark, want, LEN);
	scrub_begin(&pass, s);
	for (size_t at = 0, take; at < LEN; at += take) {
		take = random() % 3 ? 1 + (size_t)random() % 8 : (size_t)random() % 300;
		take = MIN(take, LEN - at); /* evaluates twice */
		n += scrub_feed(&pass, span_of(text + at, take), out + n);
	}
	n += scrub_end(&pass, out + n);
	assert_int_equal(n, LEN);
	assert_memory_equal(out, want, LEN);
}

static void any_chunking_same_output(void **state)
{
	static const char *const rows[][SCRUB_SECRETS_MAX] = {
		{key},
		{"aaaaaaaa"},
		{"abababababab"},
		{"sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		{"%41%41%41"},
		{"user:aaaaaaaa", "aaaaaaaaaaaa", "aaaaaaaa", "ab"},
		{"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "FwoGZXIvYXdzEJr//////////wEaDA=="},
	};
	static uint8_t forms[SCRUB_PATTERNS_MAX * SCRUB_FORM_TIMES_MAX * 64];

	(void)state;
	srandom(7);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span secrets[SCRUB_SECRETS_MAX];
		struct scrub_oracle oracle;
		struct fixture f;
		size_t n = 0;

		for (; n < SCRUB_SECRETS_MAX && rows[i][n]; n++)
			secrets[n] = span_str(rows[i][n]);
		assert_int_equal(secret_arena_new(256 * 1024, &f.arena), 0);
		secret_open(f.arena);
		assert_int_equal(scrub_init(&f.scrub, f.arena, secrets, n), 0);
		scrub_oracle_init(&oracle, secrets, n, forms);
		for (int round = 0; round < 600; round++)
			check_chunking(&f.scrub, &oracle);
		close_all(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hides_every_form),
		cmocka_unit_test(hides_base64),
		cmocka_unit_test(passes_what_only_resembles),
		cmocka_unit_test(holds_nothing_needlessly),
		cmocka_unit_test(repeats_and_overlaps),
		cmocka_unit_test(short_secrets_raw_only),
		cmocka_unit_test(a_failed_start_keeps_nothing),
		cmocka_unit_test(refuses_what_the_arena_cannot_hold),
		cmocka_unit_test(hides_several),
		cmocka_unit_test(any_chunking_same_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
