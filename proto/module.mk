SRC_proto := proto/desc.c proto/unpack.c proto/pack.c proto/frame.c proto/reasons.c proto/events.c
$(eval $(call library,proto,$(SRC_proto)))
$(eval $(call unit,proto/proto,proto,msgpack))
$(eval $(call unit,proto/events,proto,msgpack))
$(eval $(call fuzz,proto,proto,msgpack))
$(eval $(call program,docgen,proto/docgen.c,proto,msgpack))
$(eval $(call fuzz,frame,proto,))
