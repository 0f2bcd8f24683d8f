/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/secret_form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/config.h"

#define TOKEN_URL "https://oauth2.googleapis.com/token"

static uint8_t sealed[8192];
static struct secret_form_result result;

static int read_form(unsigned auth, const char *text)
{
	struct secret_form form = {.auth = auth, .token_url = TOKEN_URL};

	return secret_form_read(&form, span_str(text), sealed, sizeof(sealed), &result);
}

static void expect(unsigned auth, const char *text, const char *want)
{
	if (read_form(auth, text))
		fail_msg("refused: %s", result.why);
	if (!span_eq_str(span_of(sealed, result.len), want))
		fail_msg("%.*s", (int)result.len, (char *)sealed);
}

static void refuse(unsigned auth, const char *text, const char *why)
{
	assert_int_equal(read_form(auth, text), SECRET_FORM_E_INVALID);
	if (!strstr(result.why, why))
		fail_msg("%s", result.why);
	assert_int_equal(result.len, 0);
}

static void one_line(void **state)
{
	(void)state;
	expect(CONFIG_AUTH_BEARER, "sk-abc", "sk-abc");
	refuse(CONFIG_AUTH_BEARER, "sk abc", "without spaces");
	refuse(CONFIG_AUTH_HEADER, "", "one line");
	expect(CONFIG_AUTH_BASIC, "a:b:c", "a:b:c");
	refuse(CONFIG_AUTH_BASIC, ":b", "USER:PASSWORD");
	refuse(CONFIG_AUTH_BASIC, "a:", "USER:PASSWORD");
	refuse(CONFIG_AUTH_BASIC, "a:b c", "visible ASCII");
}

static void sigv4(void **state)
{
	(void)state;
	expect(CONFIG_AUTH_SIGV4,
	       "# mine\r\n[default]\r\naws_access_key_id = AKIDEXAMPLE00000\r\n\r\naws_secret_access_key=a/b+c=\r\n",
	       "AKIDEXAMPLE00000:a/b+c=");
	expect(CONFIG_AUTH_SIGV4,
	       "aws_session_token=t/t+=\naws_secret_access_key=s\n aws_access_key_id\t=\tAKIDEXAMPLE00000",
	       "AKIDEXAMPLE00000:s:t/t+=");
	refuse(CONFIG_AUTH_SIGV4, "aws_secret_access_key=s\n", "`aws_access_key_id = ...` is missing");
	refuse(CONFIG_AUTH_SIGV4, "aws_access_key_id=short\naws_secret_access_key=s\n", "16 to 128");
	refuse(CONFIG_AUTH_SIGV4, "aws_access_key_id=AKIDEXAMPLE00000\naws_secret_access_key=a:b\n",
	       "aws_secret_access_key is empty or");
	refuse(CONFIG_AUTH_SIGV4, "aws_secret_access_key=s\naws_secret_access_key=s\n", "given twice");
	refuse(CONFIG_AUTH_SIGV4, "region=s\n", "line 1: the names are");
	refuse(CONFIG_AUTH_SIGV4, "\n\nAKIDEXAMPLE00000", "line 3 is not");
}

static void oauth(void **state)
{
	(void)state;
	expect(CONFIG_AUTH_OAUTH_REFRESH, "refresh_token = 1//a&b\nclient_secret = G-x%=",
	       "client_secret=G-x%25%3D&"
	       "refresh_token=1%2F%2Fa%26b");
	expect(CONFIG_AUTH_OAUTH_REFRESH, "refresh_token=a", "refresh_token=a");
	refuse(CONFIG_AUTH_OAUTH_REFRESH, "client_secret=a", "refresh_token");
	expect(CONFIG_AUTH_OAUTH_CLIENT, "client_secret=a~b", "client_secret=a~b");
	refuse(CONFIG_AUTH_OAUTH_CLIENT, "client_secret=a\nrefresh_token=b", "line 2");
	refuse(CONFIG_AUTH_OAUTH_CLIENT, "client_secret=a b", "characters");
}

#define LINE64 "MIIEabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567"
#define LINES4 LINE64 "\\n" LINE64 "\\n" LINE64 "\\n" LINE64 "\\n"
#define PEM    "-----BEGIN PRIVATE KEY-----\\n" LINES4 LINES4 LINES4 LINES4 "-----END PRIVATE KEY-----\\n"
#define ROBOT(type, key, url)                                                                        \
	"{\n  \"type\": \"" type "\", \"private_key_id\": \"0a1b\",\n \"private_key\": \"" key "\"," \
	"\"client_email\": \"r@p.iam.gserviceaccount.com\", \"token_uri\": \"" url "\"}\n"

static void google(void **state)
{
	(void)state;
	assert_int_equal(read_form(CONFIG_AUTH_GOOGLE, ROBOT("service_account", PEM, TOKEN_URL)), 0);
	assert_string_equal(result.client_id, "r@p.iam.gserviceaccount.com");
	assert_int_equal(result.len, 5 + 16 * 64);
	assert_memory_equal(sealed, "0a1b:" LINE64 LINE64, 5 + 128);
	assert_null(memchr(sealed, '\n', sizeof(sealed)));
	refuse(CONFIG_AUTH_GOOGLE, "-----BEGIN PRIVATE KEY-----", "JSON file");
	refuse(CONFIG_AUTH_GOOGLE, ROBOT("authorized_user", PEM, TOKEN_URL), "authorized_user");
	refuse(CONFIG_AUTH_GOOGLE, ROBOT("service_account", PEM, "https://evil.test/token"), "https://evil.test/token");
	refuse(CONFIG_AUTH_GOOGLE, ROBOT("service_account", "MIIE", TOKEN_URL), "not a PEM");
	refuse(CONFIG_AUTH_GOOGLE,
	       ROBOT("service_account", "-----BEGIN PRIVATE KEY-----\\n" LINES4 "-----END PRIVATE KEY-----", TOKEN_URL),
	       "2048 bits");
	refuse(CONFIG_AUTH_GOOGLE, "{\"type\": \"service_account\", \"client_email\": 1}", "client_email");
}

static void too_long(void **state)
{
	struct secret_form form = {.auth = CONFIG_AUTH_OAUTH_CLIENT};

	(void)state;
	for (size_t cap = 0; cap < 20; cap++) /* client_secret=%2F%2F */
		assert_int_equal(secret_form_read(&form, SPAN_LIT("client_secret=//"), sealed, cap, &result) == 0,
				 cap >= 20);
	assert_int_equal(secret_form_read(&form, SPAN_LIT("client_secret=//"), sealed, 20, &result), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line), cmocka_unit_test(sigv4),    cmocka_unit_test(oauth),
		cmocka_unit_test(google),   cmocka_unit_test(too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
