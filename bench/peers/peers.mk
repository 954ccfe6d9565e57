# SPDX-License-Identifier: MIT
#
# The contestants of the scoreboard, built into build/peers; see README.md beside this file.
# Included by the Makefile, whose flags they get; what else one needs stands in its own source or
# below.

P           := build/peers
PEERS_GCC   ?= $(CROSS_COMPILE)gcc
PEERS_CLANG ?= clang

peer_main := $(patsubst %,$(P)/obj/bench/peers/%.o,questions jobs stream) \
             $(patsubst %,$(P)/obj/bench/common/%.o,clock count matmul measure table uts)
peers_c   := $(patsubst %,$(P)/%,skua yardstick mutex glib libuv)
peers_omp := $(patsubst %,$(P)/%,openmp-gcc openmp-clang)
peers_cc  := $(patsubst %,$(P)/%,tbb asio eigen)

# With what more a contestant is linked, and what more its compiler is told.
$(P)/skua: $(P)/obj/bench/common/forked.o $(B)/stage/stamp
$(P)/skua: peer_libs = $(B)/stage/lib/libskua.a $(libs)
$(P)/yardstick: $(P)/obj/bench/baseline/ring_pool.o
$(P)/mutex: $(P)/obj/bench/baseline/mutex_pool.o
$(P)/glib: peer_flags = $(shell pkg-config --cflags glib-2.0)
$(P)/eigen: peer_flags = $(patsubst -I%,-isystem %,$(shell pkg-config --cflags eigen3))
$(P)/openmp-gcc: private CC = $(PEERS_GCC)
$(P)/openmp-clang: private CC = $(PEERS_CLANG)
# What computes is compiled at -O3, as bench/common/forked.c is: it is the default of Rust's.
$(peers_omp): peer_flags = -fopenmp -O3
$(peers_cc): peer_flags += -DNDEBUG -O3

.PHONY: peers peers-rust peers-go scoreboard

$(P)/obj/%.o: %.c bench/flags.mk $(B)/stage/stamp $(B)/flags
	$(cc) $(bench_includes) -fPIE $(CFLAGS_$*) $(CFLAGS) -c -o $@ $<

# What asks the questions, for contestants of any language that links to C.
$(P)/libpeer.a: $(peer_main)
	$(say)rm -f $@ && $(AR) rcs $@ $^

peer_link = $(peer_flags) -o $@ $< $(filter %.o,$^) $(P)/libpeer.a $(LDFLAGS) \
            $(call wanted,link) $(peer_libs) -lm

$(peers_c): $(P)/%: bench/peers/%.c $(P)/libpeer.a
	$(cc) $(bench_includes) $(CFLAGS) $(peer_link)

$(peers_omp): bench/peers/openmp.c $(P)/libpeer.a
	$(cc) $(bench_includes) $(CFLAGS) $(peer_link)

$(peers_cc): $(P)/%: bench/peers/%.cc $(P)/libpeer.a
	$(cxx) $(bench_includes) $(CXXFLAGS) $(peer_link)

# Other languages build themselves; without their tools the comparison goes on without them.
# $(1): their folder; $(2): a program that they need; $(3): what their build is told.
define other_language
@mkdir -p $(firstword $(3))
@if [ ! -x $(1)/build ]; then echo '  $(1): left out, no $(1)/build'; \
elif ! command -v $(2) >/dev/null; then echo '  $(1): left out, no $(2) here'; \
else $(1)/build $(3); fi
endef

peers-rust: $(P)/libpeer.a
	$(call other_language,bench/peers/rust,cargo,$(P) $(P)/libpeer.a)
peers-go:
	$(call other_language,bench/peers/go,go,$(P))

peers: $(peers_c) $(peers_omp) $(peers_cc) peers-rust peers-go

scoreboard: peers
	@QUICK='$(QUICK)' bench/scoreboard

-include $(wildcard $(P)/*.d $(P)/obj/bench/*/*.d)
