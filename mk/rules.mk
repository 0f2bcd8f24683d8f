# How things are built. A module.mk calls:
#
#   $(eval $(call library,NAME,SOURCES))                     lib<NAME>.a
#   $(eval $(call program,NAME,MAIN.c,LIBRARIES,PACKAGES))   bin/NAME: its main, our libraries in link order, packages
#   $(eval $(call static_program,NAME,MAIN.c,LIBRARIES,ARCHIVES))  the same, of static libraries: libnettle.a
#   $(eval $(call unit,FILE,LIBRARIES,PACKAGES))             FILE_test.c, a cmocka program that stands beside FILE.c
#   $(eval $(call fuzz,FILE,LIBRARIES,PACKAGES))             tests/fuzz/FILE.c, a libFuzzer harness (BUILD=fuzz only)
#
# A program links the packages of its own line and nothing else; `make check` compares that with what it needs.
DEPFILES :=
PROGRAMS :=
UNITS    :=
FUZZERS  :=
HELPERS  := # programs that only the tests use
HARNESS  := # what fuzzers are made of: compiled with the tests in every variant, so that none rots unseen
SOURCES  :=

# `make V=1` shows the commands. STEPS=230 says how many of so many are begun, or but a dot for each where nobody watches.
Q    := $(if $(V),,@)
say   = $(if $(V),,@printf $(if $(STEPS),$(step),'  %-5s %s\n' $(1) $(2)))
step  = $(eval BEGUN += x)$(if $(MAKE_TERMOUT),'\rBuilding: %d of %d ' $(words $(BEGUN)) $(STEPS),.)
BEGUN :=

# All packages' include paths: what a file may include is checked by tests/arch, what it may link is its program's line.
PKG_CFLAGS := $(sort $(foreach p,libuv msgpack libsodium nettle openssl sqlite3 yaml jansson hs cares libpq curl cmocka llhttp,$(PKG_CFLAGS_$(p))))

# The second argument, where there is one, is the tree: $(O)/lto is of the programs that are optimised as a whole.
objs = $(patsubst %.c,$(or $(2),$(O))/%.o,$(1))
libs = $(foreach l,$(1),$(or $(2),$(O))/lib$(l).a)
pkgs = $(foreach p,$(1),$(PKG_LIBS_$(p)))
tree = $(O)$(if $(filter $(1),$(LTO_PROGRAMS)),/lto)

define compile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) $(1) $(PKG_CFLAGS) $(CFLAGS_$(subst /,_,$*)) -MMD -MP -c $< -o $@
endef
$(O)/%.o: %.c
	$(call compile)
$(O)/lto/%.o: %.c
	$(call compile,-flto)

define library
SOURCES += $(2)
DEPFILES += $(patsubst %.c,$(O)/%.d,$(2)) $(patsubst %.c,$(O)/lto/%.d,$(2))
$(O)/lib$(1).a: $(call objs,$(2))
	@rm -f $$@
	$(Q)$(AR) rcs $$@ $$^
$(O)/lto/lib$(1).a: $(call objs,$(2),$(O)/lto)
	@rm -f $$@
	$(Q)$(CC)-ar rcs $$@ $$^
endef

define program
SOURCES += $(2)
DEPFILES += $(patsubst %.c,$(call tree,$(1))/%.d,$(2))
PROGRAMS += $(O)/bin/$(1)
$(O)/bin/$(1): $(call objs,$(2),$(call tree,$(1))) $(call libs,$(3),$(call tree,$(1))) $(if $(filter llhttp,$(4)),$(LLHTTP_LIB))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$(Q)$(CC) $(CFLAGS) $(if $(filter $(1),$(LTO_PROGRAMS)),-flto=auto) $(LDFLAGS) $(call objs,$(2),$(call tree,$(1))) \
		-Wl,--start-group $(call libs,$(3),$(call tree,$(1))) -Wl,--end-group $(call pkgs,$(4)) -o $$@
	@chmod 755 $$@ # whatever the umask: each daemon is run by a uid of its own
endef

# A program that needs nothing of the machine it runs on, where all its libraries can be had so: it is in PROGRAMS then.
static_lib = $(filter /%,$(shell $(CC) -print-file-name=$(1) 2>/dev/null))
define static_program
SOURCES += $(2)
DEPFILES += $(patsubst %.c,$(O)/%.d,$(2))
PROGRAMS += $(if $(filter-out $(words $(4)),$(words $(foreach l,$(4),$(call static_lib,$(l))))),,$(O)/bin/$(1))
$(O)/bin/$(1): $(call objs,$(2)) $(call libs,$(3))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$(Q)$(CC) $(CFLAGS) $(filter-out -pie,$(LDFLAGS)) $(if $(filter release,$(BUILD)),-static-pie) $(call objs,$(2)) \
		-Wl,--start-group $(call libs,$(3)) $(addprefix -l:,$(filter-out libc.a,$(4))) -Wl,--end-group -o $$@
endef

define unit
DEPFILES += $(O)/$(1)_test.d
UNITS += $(O)/$(1)_test
$(O)/$(1)_test: $(O)/$(1)_test.o $(call libs,$(2)) $(if $(filter llhttp,$(3)),$(LLHTTP_LIB))
	$$(call say,LINK,$$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $$< -Wl,--start-group $(call libs,$(2)) -Wl,--end-group $(call pkgs,$(3) cmocka) -o $$@
endef

define fuzz
DEPFILES += $(O)/tests/fuzz/$(1).d
FUZZERS += $(O)/fuzz/$(1)
HARNESS += $(O)/tests/fuzz/$(1).o
$(O)/fuzz/$(1): $(O)/tests/fuzz/$(1).o $(call libs,$(2)) $(if $(filter llhttp,$(3)),$(LLHTTP_LIB))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer $$< -Wl,--start-group $(call libs,$(2)) -Wl,--end-group $(call pkgs,$(3)) -o $$@
endef
