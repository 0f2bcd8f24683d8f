SRC_classifier := classifier/recognise.c classifier/engine.c classifier/json_text.c classifier/classify.c \
	classifier/body.c
$(eval $(call library,classifier,$(SRC_classifier)))
SRC_service := classifier/main.c classifier/dispatch.c classifier/watchdog.c
$(eval $(call program,classifier,$(SRC_service),classifier common proto,libuv hs msgpack))
$(eval $(call unit,classifier/luhn,classifier common proto,))
$(eval $(call unit,classifier/engine,classifier common proto,hs))
$(eval $(call unit,classifier/json_text,classifier common proto,))
$(eval $(call unit,classifier/classify,classifier common proto,hs))
$(eval $(call unit,classifier/body,classifier common proto,))
$(eval $(call fuzz,classify,classifier common proto,hs))
