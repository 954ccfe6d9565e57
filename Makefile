# SPDX-License-Identifier: MIT
#
# All of the build, in one file; everything that is built lies in build/<configuration>/.
#
## make               the library, static and shared, and the tools
## make run           sums a real tree in parallel and checks the result (DIR=/usr/lib); then a
##                    web server under load for 5 seconds
## make test          builds and runs the tests (T=core/deque: only those, V=1: each check)
## make bench         runs the benchmarks (T=fork: only that); figures also in build/bench.jsonl
## make soak          everything at once, for SECONDS=60 (TAP_SEED replays what was decided)
## make soak-echo     connections that come and go at examples/echo, for SECONDS=20
## make coverage      how much of runtime/ the tests run, line by line; fails below the bounds
## make instructions  counts instructions per operation, as a test does (UPDATE=1: new figures)
## make scoreboard    asks other runtimes the same (QUICK=1: less); make peers: only builds them
## make echo          echo servers: Skua, other runtimes, hand-written loops (QUICK=1: less)
## make http          web servers: Skua's example, nginx, hyper under wrk (QUICK=1: less)
## make kv            the key-value server beside redis-server (QUICK=1: less)
## make install       PREFIX=/usr/local, LIBDIR=PREFIX/lib, DESTDIR=
## make uninstall     takes away what install put there, given the same variables
## make check         style, memory-order comments, headers, then the tests; each also alone:
##                    check-style check-order check-headers
## make model         searches the modelled runtime (SCENARIO=name; DEEP=1: 10^8 schedules, 40 min;
##                    SEED=n: that one execution, with its trace; MUTANT=file:line:how)
## make mutants       weakens each ordering and breaks each protocol: the model must notice
## make test-aarch64  the tests built for aarch64, under emulation, with and without LSE
## make test-guests   tests in emulated machines with 8 CPUs and 4 nodes, x86-64 and aarch64
## make clean         removes build/
##
## CC=clang  CROSS_COMPILE=aarch64-linux-gnu-  CFLAGS= LDFLAGS= (appended)  V=1 (show commands)
## ARCH=x86_64|aarch64|builtin  DEBUG=1 (assertions)  WERROR=1 (warnings are errors)
## SAN=thread|address|undefined|address,undefined (with ARCH=builtin)  COVERAGE=1 (counts lines)

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.SECONDEXPANSION:
.DEFAULT_GOAL := all

# What a goal needs on this machine is installed before anything else is looked at.
goals := $(or $(MAKECMDGOALS),all)
need  := $(filter run test bench coverage,$(goals)) $(if $(filter soak%,$(goals)),build) \
         $(if $(filter check,$(goals)),test check) \
         $(if $(filter instructions,$(goals)),test) \
         $(if $(filter check-%,$(goals)),check) $(if $(filter test-aarch64,$(goals)),aarch64) \
         $(if $(filter test-guests,$(goals)),test aarch64) \
         $(if $(filter peers scoreboard,$(goals)),peers) $(if $(filter echo%,$(goals)),echo) \
         $(if $(filter http%,$(goals)),http) $(filter kv,$(goals)) \
         $(if $(filter examples,$(goals)),build examples)
ifneq ($(strip $(need)),)
$(shell tools/deps $(need) >&2)
ifneq ($(.SHELLSTATUS),0)
$(error tools/deps $(strip $(need)) failed)
endif
endif

# ------------------------------------------------------------------ tools and configuration

ifeq ($(origin CC),default)
CC := $(CROSS_COMPILE)gcc
endif
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(notdir $(CC))),$(subst clang,clang++,$(CC)),$(CROSS_COMPILE)g++)
endif
ifeq ($(origin AR),default)
AR := $(CROSS_COMPILE)ar
endif
OBJCOPY ?= $(CROSS_COMPILE)objcopy
NM      ?= $(CROSS_COMPILE)nm

triplet := $(shell $(CC) -dumpmachine)
machine := $(firstword $(subst -, ,$(triplet)))
ARCH    ?= $(if $(SAN),builtin,$(or $(filter x86_64 aarch64,$(machine)),builtin))
ifneq ($(and $(SAN),$(filter-out builtin,$(ARCH))),)
$(error SAN needs ARCH=builtin: sanitizers do not see through assembly)
endif
ifeq ($(wildcard arch/$(ARCH)/atomic.h),)
$(error ARCH=$(ARCH): there is no arch/$(ARCH))
endif

# A configuration of its own, which the goal implies.
ifneq ($(filter coverage,$(goals)),)
COVERAGE := 1
endif

comma   := ,
compiler := $(filter-out gcc cc,$(patsubst $(CROSS_COMPILE)%,%,$(notdir $(lastword $(CC)))))
target  := $(filter-out $(ARCH) $(if $(CROSS_COMPILE),,$(machine)),$(machine))
config  := $(ARCH)$(target:%=-%)$(compiler:%=-%)$(if $(SAN),-$(subst $(comma),-,$(SAN)))
B       := build/$(config)$(if $(DEBUG),-debug)$(if $(COVERAGE),-coverage)

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR     ?= $(PREFIX)/bin
MANDIR     ?= $(PREFIX)/share/man
DATADIR    ?= $(PREFIX)/share/skua
TIMEOUT    ?= 600
DIR        ?= /usr/lib

number  = $(shell awk '$$2 == "SKUA_VERSION_$(1)" { print $$3 }' runtime/skua.h)
MAJOR   := $(call number,MAJOR)
VERSION := $(MAJOR).$(call number,MINOR).$(call number,PATCH)

# Plain fork(2), as gcov's own forgets what the handlers of a fork have run in the child.
sanitize := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer) \
            $(if $(COVERAGE),--coverage -fprofile-update=atomic -fno-builtin-fork -DTAP_COVERAGE)
flags    := $(if $(DEBUG),-O1 -DSKUA_DEBUG,$(if $(COVERAGE),-O1,-O2)) -g -pthread -Wall -Wextra \
            $(if $(WERROR),-Werror) $(sanitize) $(if $(SYSROOT),-isystem $(SYSROOT)/usr/include)
includes  = -D_GNU_SOURCE= -Iruntime -Iarch -Iarch/$(A)
sysroot_L := $(if $(SYSROOT),-L$(SYSROOT)/usr/lib/$(triplet))
libs     := $(sysroot_L) $(if $(SYSROOT),-l:liburing.a -l:libnuma.a,-luring -lnuma) -lpthread
A        := $(ARCH)

# A program says in its own source what more it wants: a line like  /* link: -lcrypto */
wanted  = $$(sed -n 's|^/\* $(1): \(.*\) \*/$$|\1|p' $(filter %.c %.cc,$^))
depend  = -MMD -MP -MF $@.d -MT $@
cc      = @mkdir -p $(@D)$(say)$(CC) -std=gnu11 $(flags) $(depend)
cxx     = @mkdir -p $(@D)$(say)$(CXX) -std=c++17 $(flags) $(depend)
define say

$(if $(V),,@printf '  %s\n' '$@';)
endef

# ------------------------------------------------------------------ the library

arch_objects = $(patsubst %,$(B)/%.o,$(basename $(wildcard arch/$(1)/*.c arch/$(1)/*.S)))
objects := $(patsubst %.c,$(B)/%.o,$(wildcard runtime/*/*.c)) $(call arch_objects,$(ARCH))
shared  := $(B)/libskua.so.$(VERSION)
tools   := $(patsubst %.c,$(B)/%,$(wildcard tools/*.c))
example_dirs := $(patsubst %/,%,$(sort $(dir $(wildcard examples/*/*.c))))
examples := $(foreach e,$(example_dirs),$(B)/examples/$(notdir $(e)))

.SILENT: $(B)/flags $(B)/man/stamp $(B)/stage/stamp
.PHONY: all run test bench install uninstall check check-headers check-order check-style clean \
        test-aarch64 test-guests help examples tests instructions model mutants soak soak-echo \
        coverage kv FORCE

all: $(B)/libskua.a $(B)/libskua.so $(tools)

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

# Other flags than last time: build anew.
$(B)/flags: FORCE
	mkdir -p $(@D) && echo '$(CC) $(flags) $(CFLAGS) $(LDFLAGS)' > $@.new
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(B)/%.o: %.c $(B)/flags
	$(cc) $(includes) -fPIC -fno-semantic-interposition -fvisibility=hidden \
		-fno-strict-aliasing $(CFLAGS) -c -o $@ $<

$(B)/%.o: %.S $(B)/flags
	$(cc) $(includes) -fPIC $(CFLAGS) -c -o $@ $<

# For tests: every name of the runtime is visible.
$(B)/internal.a: $(objects)
	$(say)rm -f $@ && $(AR) rcs $@ $^

# For users: one object, in which only the public names are left global.
$(B)/libskua.a: $(objects)
	$(say)$(CC) $(CFLAGS) -r -nostdlib -o $(B)/skua.o $^
	@$(OBJCOPY) --localize-hidden $(B)/skua.o
	@rm -f $@ && $(AR) rcs $@ $(B)/skua.o

$(shared): $(objects) runtime/skua.map
	$(say)$(CC) -shared -pthread $(sanitize) -Wl,-soname,libskua.so.$(MAJOR) \
		-Wl,--version-script=runtime/skua.map $(if $(SAN),,-Wl$(comma)-z$(comma)defs) \
		-Wl,-z,relro,-z,now $(CFLAGS) $(LDFLAGS) -o $@ $(objects) $(sysroot_L) -luring -lnuma -lpthread

$(B)/libskua.so: $(shared)
	@ln -sf $(notdir $<) $(B)/libskua.so.$(MAJOR) && ln -sf $(notdir $<) $@

# ------------------------------------------------------------------ install

pages   := $(wildcard docs/man/*.[137])
headers := runtime/skua.h runtime/skua_fork.h

# Each name in the NAME section of a page of section 3 gets a page that points to it.
$(B)/man/stamp: $(pages)
	rm -rf $(@D) && mkdir -p $(@D)/man1 $(@D)/man3 $(@D)/man7
	for page in $^; do cp $$page $(@D)/man$${page##*.}/ || exit; done
	for page in $(notdir $(filter %.3,$^)); do \
		names=$$(sed -n '/^\.SH NAME/,/\\-/{s/\\-.*//;s/,/ /g;/^\./!p}' docs/man/$$page); \
		for name in $$names; do \
			[ $$name.3 = $$page ] || echo ".so man3/$$page" > $(@D)/man3/$$name.3; done; done
	touch $@

# $(1): where to; $(2) $(3) $(4): folders of headers, libraries, the pkg-config file's contents.
define install_library
install -d $(1)$(2) $(1)$(3)/pkgconfig
install -m 644 $(headers) $(1)$(2)/
install -m 644 $(B)/libskua.a $(shared) $(1)$(3)/
ln -sf $(notdir $(shared)) $(1)$(3)/libskua.so.$(MAJOR)
ln -sf $(notdir $(shared)) $(1)$(3)/libskua.so
sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(3)|' -e 's|@INCLUDEDIR@|$(2)|' \
	-e 's|@VERSION@|$(VERSION)|' skua.pc.in > $(1)$(3)/pkgconfig/skua.pc
endef

install: all $(B)/man/stamp
	$(call install_library,$(DESTDIR),$(INCLUDEDIR),$(LIBDIR))
	install -d $(DESTDIR)$(BINDIR)
	$(if $(filter %/skua-topo,$(tools)),install -m 755 $(B)/tools/skua-topo $(DESTDIR)$(BINDIR)/)
	for n in 1 3 7; do install -d $(DESTDIR)$(MANDIR)/man$$n && \
		install -m 644 $(B)/man/man$$n/* $(DESTDIR)$(MANDIR)/man$$n/ || exit; done
	install -d $(DESTDIR)$(DATADIR)
	install -m 644 tools/skua-gdb.py $(DESTDIR)$(DATADIR)/

uninstall: $(B)/man/stamp
	rm -f $(foreach h,$(notdir $(headers)),$(DESTDIR)$(INCLUDEDIR)/$(h))
	rm -f $(DESTDIR)$(LIBDIR)/libskua.a $(DESTDIR)$(LIBDIR)/libskua.so*
	rm -f $(DESTDIR)$(LIBDIR)/pkgconfig/skua.pc $(DESTDIR)$(BINDIR)/skua-topo
	for n in 1 3 7; do (cd $(B)/man/man$$n && ls) | while read page; do \
		rm -f $(DESTDIR)$(MANDIR)/man$$n/$$page; done; done
	rm -f $(DESTDIR)$(DATADIR)/skua-gdb.py
	rmdir $(DESTDIR)$(DATADIR) 2>/dev/null || :

# The installed form, for examples and tools: the two headers must be enough.
$(B)/stage/stamp: $(headers) $(B)/libskua.a $(B)/libskua.so skua.pc.in
	rm -rf $(@D)
	$(call install_library,$(@D),/include,/lib)
	touch $@

# ------------------------------------------------------------------ programs

# The runtime on a modelled processor and kernel, with queues so small that they wrap.
model_programs := $(if $(SAN)$(CROSS_COMPILE),,$(patsubst %.c,$(B)/%,$(wildcard tests/model/*.c)))
model_sources  := $(filter-out runtime/core/kernel.c runtime/core/slot.c,$(wildcard \
                  runtime/core/*.c)) \
                  $(filter-out runtime/wait/guard.c,$(wildcard runtime/wait/*.c)) \
                  $(patsubst %,runtime/io/%.c,io await prepare complete cancel buffers source \
                  timer wheel) \
                  runtime/observe/stats.c $(wildcard runtime/limits/*.c runtime/parallel/*.c \
                  arch/model/*.c arch/model/*.S tests/model/machine/*.c)
model_objects  := $(patsubst %,$(B)/model/%.o,$(basename $(model_sources)))
model_flags    := -include arch/model/public.h -Itests -Itests/model -I. -DSIZE_RING=4 \
                  -DSIZE_QUEUE=4 -DSIZE_BATCH=4 -DSIZE_BATCH_MOST=2 -DSIZE_CPUS=8 \
                  -DSIZE_NODES=8 -DSIZE_TURNS=3 -DSIZE_SLAB=1 -DSIZE_STACKS=1 -DSIZE_IDLE_NS=0 \
                  -DSIZE_LOOKS=1 -fno-strict-aliasing

tests_c  := $(filter-out tests/arch/% tests/model/%,$(wildcard tests/*/*.c))
tests_cc := $(wildcard tests/*/*.cc)
arches   := $(sort $(ARCH) builtin)
programs := $(tests_c:%.c=$(B)/%) $(tests_cc:%.cc=$(B)/%) $(foreach a,$(arches), \
            $(patsubst tests/arch/%.c,$(B)/tests/arch-$(a)/%,$(wildcard tests/arch/*.c))) \
            $(model_programs)
scripts  := $(if $(EMULATOR),,$(wildcard tests/*.t tests/*/*.t))
chosen    = $(strip $(if $(T),$(foreach t,$(1),$(if $(findstring $(T),$(t)),$(t))),$(1)))

$(tests_c:%.c=$(B)/%): $(B)/%: %.c $(B)/internal.a $(B)/flags
	$(cc) $(includes) -Itests $(CFLAGS) -o $@ $< $(LDFLAGS) $(call wanted,link) \
		$(B)/internal.a $(libs) -lm

$(tests_cc:%.cc=$(B)/%): $(B)/%: %.cc $(B)/libskua.a $(B)/flags
	$(cxx) -Iruntime -Itests $(CXXFLAGS) -o $@ $< $(LDFLAGS) $(call wanted,link) \
		$(B)/libskua.a $(libs)

# The tests of arch/ stand on nothing else, and run on each processor interface that works here.
define arch_rules
$(B)/arch/$(1)/% $(B)/tests/arch-$(1)/%: A := $(1)
$(B)/tests/arch-$(1)/%: tests/arch/%.c $(call arch_objects,$(1)) $(B)/flags
	$$(cc) $$(includes) -Itests $$(CFLAGS) -o $$@ $$< $(call arch_objects,$(1)) $$(LDFLAGS) \
		$$(call wanted,link) -lm
endef
$(foreach a,$(arches),$(eval $(call arch_rules,$(a))))

$(B)/model/% $(B)/tests/model/%: A := model
$(B)/model/%.o: %.c $(B)/flags
	$(cc) $(includes) $(model_flags) $(CFLAGS) -c -o $@ $<
$(B)/model/%.o: %.S $(B)/flags
	$(cc) $(includes) $(CFLAGS) -c -o $@ $<
$(B)/tests/model/%: tests/model/%.c $(model_objects) $(B)/flags
	$(cc) $(includes) $(model_flags) $(CFLAGS) -o $@ $< $(model_objects) $(LDFLAGS)

# Each scenario 0.6 s, as in the tests, or for DEEP=n that many times 30 s.
model: $(model_programs)
	@for p in $^; do SCENARIO='$(SCENARIO)' SEED='$(SEED)' MUTANT='$(MUTANT)' \
		DEEP='$(if $(DEEP),$(shell expr 50 \* $(DEEP)),1)' \
		TRACE='$(TRACE)' $$p || exit; done
mutants: $(model_programs)
	@B='$(B)' MAKE='$(MAKE)' tools/mutants $(T)

tests: $(call chosen,$(programs))

# Counted under valgrind by tests/bench/instructions.t; stripped, as valgrind need not know the
# debug information of every compiler.
counter := $(B)/bench/instructions/count
$(counter): bench/instructions/count.c $(B)/internal.a $(B)/flags
	$(cc) $(includes) -Itests $(CFLAGS) -s -o $@ $< $(LDFLAGS) $(B)/internal.a $(libs)

instructions: $(counter)
	@BUILD='$(B)' tests/bench/instructions.t $(if $(UPDATE),--update)

# With what failed, and what the tests say besides.
prove := prove --timer --failures --comments

# One after the other: each is concurrent itself and has its own watchdog.
test: tests $(if $(EMULATOR),,all examples $(counter))
	@BUILD='$(B)' EMULATOR='$(EMULATOR)' CC='$(CC)' CXX='$(CXX)' NM='$(NM)' SAN='$(SAN)' \
		$(prove) $(if $(V),-v) \
		--exec 'timeout -k 10 $(TIMEOUT) $(EMULATOR)' $(call chosen,$(programs) $(scripts))

# One program, for as long as one likes; `make test` runs it for two seconds.
SECONDS ?= $(if $(filter soak-echo,$(goals)),20,60)
soaker  := $(B)/tests/stress/soak
soak: $(soaker)
	@SOAK_SECONDS='$(SECONDS)' $(EMULATOR) $(soaker)
soak-echo: $(filter %/echo,$(examples)) build/load/load
	@SOAK_SECONDS='$(SECONDS)' BUILD='$(B)' SAN='$(SAN)' tests/examples/echo.t

# The bounds are the core's; what else there is, is only shown. Nothing is left out.
COVERAGE_LINES    ?= 95
COVERAGE_BRANCHES ?= 85
coverage: tests
	@find $(B) -name '*.gcda' -delete
	@BUILD='$(B)' CC='$(CC)' TAP_SLOW=3 $(prove) $(if $(V),-v) \
		--exec 'timeout -k 10 $(TIMEOUT)' $(call chosen,$(programs))
	@gcovr --root . --object-directory . --filter runtime/ $(B)
	@gcovr --root . --object-directory . --filter runtime/core/ \
		--fail-under-line $(COVERAGE_LINES) --fail-under-branch $(COVERAGE_BRANCHES) \
		--print-summary --output $(B)/core.txt $(B)

aarch64 := $(MAKE) --no-print-directory ARCH=aarch64 CROSS_COMPILE=aarch64-linux-gnu- SAN= DEBUG= \
           CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ SYSROOT=build/sysroot-aarch64
qemu    := qemu-aarch64-static -L /usr/aarch64-linux-gnu

# Under emulation for correctness of the code, not of its memory order: the host is stronger.
test-aarch64:
	+@$(aarch64) all
	+@for cpu in cortex-a72 neoverse-n1; do echo "# aarch64 on $$cpu"; \
		TAP_SLOW=10 $(aarch64) test EMULATOR="$(qemu) -cpu $$cpu" || exit; done

# For what a machine with one node cannot show. Left out is what says no more there: computation and
# reading of files; the queues by themselves, which test-aarch64 has too and which take longest.
guests         := x86_64/max aarch64/cortex-a72 aarch64/neoverse-n1
guests_without := $(patsubst %,place/%,nomemory parsers placement recorded tool topology) \
                  core/deque core/injector core/queue examples/resp
guest_tests    := $(call chosen,$(filter-out $(guests_without),$(tests_c:tests/%.c=%)))

# What a guest needs to boot may be missing: it is then skipped, with the reason.
test-guests: $(guest_tests:%=$(B)/tests/%)
	+@$(aarch64) $(guest_tests:%=build/aarch64/tests/%)
	@tools/deps guests || :
	@GUEST_TESTS='$(guest_tests)' BUILD='$(B)' BUILD_AARCH64=build/aarch64 \
		$(filter-out --comments,$(prove)) $(if $(V),-v) --exec tools/test-guests $(guests)

$(B)/tools/%: tools/%.c $(B)/stage/stamp $(B)/flags
	$(cc) -I$(B)/stage/include $(CFLAGS) -o $@ $< $(LDFLAGS) $(call wanted,link) \
		$(B)/stage/lib/libskua.a $(libs)

# Prints what the library sees, hence knows its inside.
$(B)/tools/skua-topo: tools/skua-topo.c $(B)/internal.a $(B)/flags
	$(cc) $(includes) $(CFLAGS) -o $@ $< $(LDFLAGS) $(B)/internal.a $(libs)

examples: $(examples)
$(examples): $(B)/examples/%: $$(wildcard examples/$$*/*.[ch]) $(B)/stage/stamp $(B)/flags
	$(cc) -I$(B)/stage/include $(CFLAGS) -o $@ $(filter %.c,$^) $(LDFLAGS) \
		$(B)/stage/lib/libskua.a $(libs) $(call wanted,link)

# Set and get, with one request in flight per connection and with sixteen.
kv: $(filter %/kv,$(examples))
	@QUICK='$(QUICK)' BUILD='$(B)' bench/kv/run

run: all examples
	@BUILD='$(B)' examples/treesum/run '$(DIR)'
	@echo
	@BUILD='$(B)' examples/httpd/run

# What they share lies in folders below bench/, except those that are programs of their own;
# flags.mk has the flags of single files.
-include bench/flags.mk
bench_other := bench/peers/% bench/instructions/% bench/echo/% bench/load/%
bench_shared := $(patsubst %.c,$(B)/%.o,$(filter-out $(bench_other),$(wildcard bench/*/*.c)))
benches := $(patsubst %.c,$(B)/%,$(wildcard bench/*.c))
bench_includes := -I$(B)/stage/include $(patsubst %/,-I%,$(sort $(dir \
                  $(filter-out $(bench_other),$(wildcard bench/*/*.h)))))

$(bench_shared): $(B)/%.o: %.c bench/flags.mk $(B)/stage/stamp $(B)/flags
	$(cc) $(bench_includes) $(CFLAGS_$*) $(CFLAGS) -c -o $@ $<

$(benches): $(B)/%: %.c $(bench_shared) bench/flags.mk $(B)/stage/stamp $(B)/flags
	$(cc) $(bench_includes) $(CFLAGS_$*) $(CFLAGS) -o $@ $< $(bench_shared) $(LDFLAGS) \
		$(B)/stage/lib/libskua.a $(libs) $(LDLIBS_bench) $(call wanted,link)

bench: $(call chosen,$(benches))
	@rm -f build/bench.jsonl
	@for b in $^; do SKUA_BENCH_JSON=build/bench.jsonl $$b || exit; echo; done

include bench/peers/peers.mk
include bench/echo/echo.mk
include bench/http/http.mk

# ------------------------------------------------------------------ checks

check-style:
	@tools/check-style
check-order:
	@tools/check-order
check-headers: all
	@BUILD='$(B)' ARCH='$(ARCH)' NM='$(NM)' tools/check-headers
check: check-style check-order check-headers test

clean:
	rm -rf build

-include $(wildcard $(B)/*.d $(B)/*/*.d $(B)/*/*/*.d $(B)/*/*/*/*.d $(B)/*/*/*/*/*.d)
