SRC_classifier := classifier/luhn.c classifier/recognise.c classifier/engine.c classifier/json_text.c classifier/classify.c
$(eval $(call library,classifier,$(SRC_classifier)))
$(eval $(call unit,classifier/luhn,classifier common proto,))
$(eval $(call unit,classifier/engine,classifier common proto,hs))
$(eval $(call unit,classifier/json_text,classifier common proto,))
$(eval $(call unit,classifier/classify,classifier common proto,hs))
$(eval $(call fuzz,classify,classifier common proto,hs))
