/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl's multi interface wants two things of a loop: to be told when a socket is ready, and when its time is up. Each
 * socket has a poll handle, made and closed as curl says; one timer serves all.
 */
#include "auditd/shipper/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/list.h"

#define HTTP_CONNECT_MS    10000
#define HTTP_RESOLVE_BYTES 1024

struct http {
	uv_timer_t timer; /* closed last; h is freed with it */
	uv_loop_t *loop;
	CURLM *multi;
	char *ca_file;
	struct resolver *resolver;
	struct list exchanges;
};

struct http_exchange {
	struct list in_http;
	struct http *http;
	struct resolve *question;
	CURL *easy;
	struct curl_slist *addresses, *headers;
	struct http_url url;
	http_done *done;
	void *ctx;
	size_t len;
	uint8_t answer[HTTP_ANSWER_BYTES_MAX];
};

struct http_socket {
	uv_poll_t poll;
	struct http *http;
	curl_socket_t fd;
};

/* ---- addresses ---- */

bool http_url_parse(const char *url, struct http_url *ret)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
	bool good = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER;

	good = good && (strcmp(scheme, "https") == 0 || strcmp(scheme, "http") == 0) &&
	       strlen(host) < sizeof(ret->host);
	if (good) {
		(void)snprintf(ret->host, sizeof(ret->host), "%s", host);
		ret->port = (uint16_t)strtoul(port, NULL, 10);
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(user);
	curl_url_cleanup(u);
	return good;
}

/* ---- the end of an exchange ---- */

static void http_exchange_free(struct http_exchange *x)
{
	resolve_forget(TAKE(x->question));
	list_unlink(&x->in_http);
	if (x->easy) {
		(void)curl_multi_remove_handle(x->http->multi, x->easy);
		curl_easy_cleanup(x->easy);
	}
	curl_slist_free_all(x->addresses);
	curl_slist_free_all(x->headers);
	free(x);
}

static void http_finish(struct http_exchange *x, long status, const char *why)
{
	x->done(x->ctx, status, span_of(x->answer, status ? x->len : 0), why);
	http_exchange_free(x);
}

static void http_collect(struct http *h)
{
	int left;

	for (CURLMsg *m = curl_multi_info_read(h->multi, &left); m; m = curl_multi_info_read(h->multi, &left)) {
		struct http_exchange *x;
		CURLcode code = m->data.result;
		long status = 0;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &x);
		if (code == CURLE_OK)
			(void)curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
		http_finish(x, status, curl_easy_strerror(code));
	}
}

/* ---- curl and the loop ---- */

static void http_on_timer(uv_timer_t *timer)
{
	struct http *h = container_of(timer, struct http, timer);
	int running;

	(void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	http_collect(h);
}

static int http_set_timer(CURLM *multi, long ms, void *ctx)
{
	struct http *h = ctx;

	(void)multi;
	if (ms < 0)
		return uv_timer_stop(&h->timer);
	return uv_timer_start(&h->timer, http_on_timer, (uint64_t)ms, 0);
}

static void http_on_socket_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct http_socket, poll));
}

static void http_on_ready(uv_poll_t *poll, int status, int events)
{
	struct http_socket *s = container_of(poll, struct http_socket, poll);
	struct http *h = s->http;
	int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0),
	    running;

	(void)curl_multi_socket_action(h->multi, s->fd, status < 0 ? CURL_CSELECT_ERR : flags, &running);
	http_collect(h);
}

static int http_set_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *own)
{
	struct http *h = ctx;
	struct http_socket *s = own;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s)
			uv_close((uv_handle_t *)&s->poll, http_on_socket_closed);
		return 0;
	}
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s || uv_poll_init(h->loop, &s->poll, fd)) {
			free(s);
			return -1;
		}
		s->http = h;
		s->fd = fd;
		(void)curl_multi_assign(h->multi, fd, s);
	}
	return uv_poll_start(&s->poll,
			     (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
			     http_on_ready);
}

static size_t http_take(char *p, size_t one, size_t n, void *ctx)
{
	struct http_exchange *x = ctx;

	if (one * n > sizeof(x->answer) - x->len)
		return 0; /* ends it */
	memcpy(x->answer + x->len, p, one * n);
	x->len += one * n;
	return one * n;
}

/* ---- an exchange ---- */

static void http_go(struct http_exchange *x)
{
	if (x->addresses)
		(void)curl_easy_setopt(x->easy, CURLOPT_RESOLVE, x->addresses);
	if (curl_multi_add_handle(x->http->multi, x->easy) != CURLM_OK)
		http_finish(x, 0, "out of memory");
}

static void http_on_resolved(void *ctx, const struct address *addresses, size_t n, const char *why)
{
	char line[HTTP_RESOLVE_BYTES], text[ADDRESS_TEXT_BYTES];
	struct http_exchange *x = ctx;

	x->question = NULL;
	if (n == 0) {
		http_finish(x, 0, why);
		return;
	}
	(void)snprintf(line, sizeof(line), "%s:%u:", x->url.host, x->url.port);
	for (size_t i = 0; i < MIN(n, (size_t)8); i++) {
		address_print(&addresses[i], text);
		size_t used = strlen(line);
		(void)snprintf(line + used, sizeof(line) - used, "%s%s", i ? "," : "", text);
	}
	x->addresses = curl_slist_append(NULL, line);
	http_go(x);
}

static bool http_prepare(struct http_exchange *x, const char *url, struct span body)
{
	struct http *h = x->http;

	x->easy = curl_easy_init();
	x->headers = curl_slist_append(NULL, "Content-Type: text/plain");
	if (!x->easy || !x->headers)
		return false;
	return curl_easy_setopt(x->easy, CURLOPT_URL, url) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_CAINFO, h->ca_file) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, (long)HTTP_MS) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE, (long)body.len) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_COPYPOSTFIELDS, (const char *)body.p) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, http_take) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x) == CURLE_OK &&
	       curl_easy_setopt(x->easy, CURLOPT_PRIVATE, x) == CURLE_OK;
}

int http_post(struct http *h, const char *url, struct span body, http_done *done, void *ctx)
{
	struct http_exchange *x = calloc(1, sizeof(*x));
	struct address a;

	if (!x)
		return -ENOMEM;
	x->http = h;
	x->done = done;
	x->ctx = ctx;
	list_push(&h->exchanges, &x->in_http);
	if (!http_url_parse(url, &x->url) || !http_prepare(x, url, body)) {
		http_exchange_free(x);
		return -ENOMEM;
	}
	/* curl knows localhost, and numbers when it sees them */
	if (strcmp(x->url.host, "localhost") == 0 || x->url.host[0] == '[' || address_parse(span_str(x->url.host), &a))
		http_go(x);
	else if (!h->resolver || resolve_ask(h->resolver, x->url.host, http_on_resolved, x, &x->question)) {
		http_exchange_free(x);
		return -ENOMEM;
	}
	return 0;
}

/* ---- life ---- */

int http_new(uv_loop_t *loop, const char *ca_file, struct resolver *resolver, struct http **ret_http)
{
	struct http *h = calloc(1, sizeof(*h));

	if (!h || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_origin(-ENOMEM);
	h->loop = loop;
	h->resolver = resolver;
	list_init(&h->exchanges);
	h->ca_file = strdup(ca_file[0] ? ca_file : HTTP_CA_FILE);
	h->multi = curl_multi_init();
	if (!h->ca_file || !h->multi || uv_timer_init(loop, &h->timer))
		return err_origin(-ENOMEM);
	(void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, http_set_socket);
	(void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	(void)curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, http_set_timer);
	(void)curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	*ret_http = h;
	return 0;
}

static void http_on_timer_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct http, timer));
}

struct http *http_free(struct http *h)
{
	if (!h)
		return NULL;
	list_for_each_safe (it, &h->exchanges)
		http_exchange_free(container_of(it, struct http_exchange, in_http));
	(void)curl_multi_cleanup(h->multi);
	free(h->ca_file);
	uv_close((uv_handle_t *)&h->timer, http_on_timer_closed);
	return NULL;
}
