# Compiler flags by variant. CC may be gcc (default) or clang.
VARIANTS := release asan tsan cov fuzz
ifeq ($(filter $(BUILD),$(VARIANTS)),)
$(error unknown BUILD '$(BUILD)': one of $(VARIANTS))
endif

ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(BUILD)),clang,gcc)
endif
AR := ar

# Warnings are errors for the compilers this was read with. A newer one warns of more, and whoever has it can still build.
COMPILERS := gcc-12 gcc-13 gcc-14 clang-14 clang-19
COMPILER := $(if $(findstring clang,$(shell $(CC) --version 2>/dev/null)),clang,gcc)-$(firstword $(subst ., ,$(shell $(CC) -dumpversion)))
WERROR ?= $(if $(filter $(COMPILER),$(COMPILERS)),-Werror)
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wundef \
	-Wimplicit-fallthrough -Wpointer-arith -Wcast-qual -Wwrite-strings $(WERROR)
BASE := -std=gnu17 -D_GNU_SOURCE -I. -fvisibility=hidden -fno-common -ftrivial-auto-var-init=zero
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
ifeq ($(shell uname -m),x86_64)
HARDEN += -fcf-protection=full
endif
# gcc zeroes and copies what is longer than 96 bytes by `rep stos` and `rep movs`, which take a while to begin.
MOVES := $(foreach o,memset memcpy,-m$(o)-strategy=vector_loop:1024:noalign,libcall:-1:noalign)
MOVES := $(if $(shell $(CC) $(MOVES) -fsyntax-only -x c /dev/null 2>&1),,$(MOVES))

ifneq ($(filter clang-%,$(COMPILER)),)
BASE += -Wno-gnu-zero-variadic-macro-arguments
# Up to 15 clang wants to be told twice to zero locals; later ones do not know the second flag.
INIT_ZERO := -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang
BASE += $(if $(shell $(CC) $(INIT_ZERO) -fsyntax-only -x c /dev/null 2>&1),,$(INIT_ZERO))
WARN += -Wno-unused-command-line-argument
endif

FLAGS_release  := -O2 -g $(HARDEN) $(MOVES)
LFLAGS_release := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
FLAGS_asan     := -O1 -g3 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LFLAGS_asan    := -fsanitize=address,undefined
FLAGS_tsan     := -O1 -g3 -fsanitize=thread
LFLAGS_tsan    := -fsanitize=thread
FLAGS_cov      := -O0 -g3 --coverage
LFLAGS_cov     := --coverage
FLAGS_fuzz     := -O1 -g3 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LFLAGS_fuzz    := -fsanitize=address,undefined

# The daemons that a request passes through are optimised each as a whole (HACKING.md, "Speed"), where gcc brings its own `ar`
# for that. Who builds often says LTO=no: it takes twenty seconds of the build.
LTO ?= $(if $(and $(filter release,$(BUILD)),$(findstring gcc,$(CC)),$(shell command -v $(CC)-ar)),yes,no)
LTO_PROGRAMS := $(if $(filter yes,$(LTO)),router authd keyvault-egress auditd)

# Sanitizers and coverage need what the sandbox forbids; common/sandbox.c leaves it out in these builds, and only in these.
ifneq ($(BUILD),release)
BASE += -DBULKHEAD_INSTRUMENTED
endif

CFLAGS  := $(BASE) $(WARN) $(FLAGS_$(BUILD)) $(CFLAGS_EXTRA)
LDFLAGS := $(LFLAGS_$(BUILD)) $(LDFLAGS_EXTRA)
