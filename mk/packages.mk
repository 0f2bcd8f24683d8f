# Libraries by short name: PKG_CFLAGS_x and PKG_LIBS_x. The name of a library's .pc file differs between releases.
PKGCONF := pkg-config
pkg_first = $(firstword $(foreach n,$(1),$(if $(shell $(PKGCONF) --exists $(n) 2>/dev/null && echo y),$(n))))

define package
PKG_PC_$(1)     := $$(call pkg_first,$(2))
PKG_CFLAGS_$(1)  = $$(eval PKG_CFLAGS_$(1) := $$$$(shell $(PKGCONF) --cflags $$(PKG_PC_$(1)) 2>/dev/null))$$(PKG_CFLAGS_$(1))
PKG_LIBS_$(1)    = $$(eval PKG_LIBS_$(1) := $$$$(shell $(PKGCONF) --libs $$(PKG_PC_$(1)) 2>/dev/null))$$(PKG_LIBS_$(1))
endef
$(eval $(call package,libuv,libuv))
$(eval $(call package,msgpack,msgpack-c msgpack))
ARCHIVE_msgpack := $(if $(filter msgpack-c,$(PKG_PC_msgpack)),libmsgpack-c.a,libmsgpackc.a)
$(eval $(call package,libsodium,libsodium))
$(eval $(call package,nettle,nettle))
$(eval $(call package,openssl,openssl))
$(eval $(call package,sqlite3,sqlite3))
$(eval $(call package,yaml,yaml-0.1))
$(eval $(call package,jansson,jansson))
$(eval $(call package,hs,libhs))
$(eval $(call package,cares,libcares))
PKG_CFLAGS_cares += -DCARES_NO_DEPRECATED
$(eval $(call package,libpq,libpq))
$(eval $(call package,curl,libcurl))
$(eval $(call package,cmocka,cmocka))

# llhttp: a package of its own from Debian 13 on; before that, the C sources that node-llhttp installs, in strict mode.
LLHTTP_SRC := /usr/share/llhttp
ifneq ($(call pkg_first,libllhttp),)
$(eval $(call package,llhttp,libllhttp))
LLHTTP_LIB :=
else
PKG_CFLAGS_llhttp := -isystem /usr/share/include/llhttp
LLHTTP_LIB        := $(O)/libllhttp.a
PKG_LIBS_llhttp   := $(LLHTTP_LIB)
$(O)/llhttp/%.o: $(LLHTTP_SRC)/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -g -fPIE $(filter -f%,$(FLAGS_$(BUILD))) -DLLHTTP_STRICT_MODE=1 $(PKG_CFLAGS_llhttp) -c $< -o $@
$(LLHTTP_LIB): $(O)/llhttp/api.o $(O)/llhttp/http.o $(O)/llhttp/llhttp.o
	$(Q)$(AR) rcs $@ $^
endif
PKG_CFLAGS_llhttp += -DLLHTTP_STRICT_MODE=1
