SRC_router := router/http_head.c router/http_body.c router/http_write.c router/reply.c router/sse.c router/usage.c \
	router/endpoint.c router/fields.c router/proxies.c router/body.c router/splice.c \
	router/request.c router/request_ask.c router/request_plan.c router/request_relay.c router/request_answer.c \
	router/request_record.c router/requests.c router/upstream.c router/peers.c router/client.c router/worker.c
$(eval $(call library,router,$(SRC_router)))
$(eval $(call program,router,router/main.c,router common proto,libuv msgpack llhttp))
$(eval $(call library,router_world,tests/support/router_world.c))
$(eval $(call unit,router/request,router_world router common proto,llhttp msgpack))
# The second parser, replaced by worse ones.
PKG_LIBS_worse := -Wl,--wrap=llhttp_execute
$(eval $(call unit,router/http_head,router,llhttp worse))
$(eval $(call unit,router/http_body,router,llhttp))
$(eval $(call unit,router/http_write,router proto common,msgpack))
$(eval $(call unit,router/reply,router proto common,msgpack))
$(eval $(call unit,router/sse,router,))
$(eval $(call unit,router/usage,router,))
$(eval $(call unit,router/endpoint,router proto common,llhttp msgpack))
$(eval $(call unit,router/fields,router proto common,llhttp msgpack))
$(eval $(call unit,router/proxies,router,))
$(eval $(call unit,router/body,router common,))
$(eval $(call unit,router/splice,router proto common,msgpack))
$(eval $(call fuzz,http_head,router common,llhttp))
$(eval $(call fuzz,sse,router,))
