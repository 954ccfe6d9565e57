# SPDX-License-Identifier: MIT
#
# The servers of bench/echo, built into build/echo/bin, and the load generator, into build/load; see
# the README.md beside this file. Included by the Makefile, whose flags they get, and after
# bench/peers/peers.mk, whose way it shares to build other languages. Skua's server is an example.

E := build/echo
L := build/load

echo_c  := $(patsubst %,$(E)/bin/%,epoll liburing libuv)
echo_cc := $(E)/bin/asio
load_c  := $(wildcard bench/load/*.c)

.PHONY: echo echo-servers echo-rust echo-go

$(E)/server.o: bench/echo/server.c $(B)/flags
	$(cc) -D_GNU_SOURCE $(CFLAGS) -c -o $@ $<

$(echo_c): $(E)/bin/%: bench/echo/%.c $(E)/server.o
	$(cc) -D_GNU_SOURCE $(CFLAGS) -o $@ $< $(E)/server.o $(LDFLAGS) $(call wanted,link)

# At -O3, as bench/peers has its contestants in C++.
$(echo_cc): $(E)/bin/%: bench/echo/%.cc $(E)/server.o
	$(cxx) -DNDEBUG -O3 $(CXXFLAGS) -o $@ $< $(E)/server.o $(LDFLAGS) $(call wanted,link)

$(L)/load: $(load_c) bench/load/load.h $(B)/flags
	$(cc) -D_GNU_SOURCE $(CFLAGS) -o $@ $(load_c) $(LDFLAGS)

$(L)/hdr: $(wildcard bench/load/hdr/*)
	$(say)bench/load/hdr/build $(L)

echo-rust:
	$(call other_language,bench/echo/rust,cargo,$(E)/bin)
echo-go:
	$(call other_language,bench/echo/go,go,$(E)/bin)

echo-servers: $(L)/load $(L)/hdr $(echo_c) $(echo_cc) echo-rust echo-go \
        $(filter %/echo %/echo-await,$(examples))

# PARTS="echo mixed idle files": only these; bench/echo/run says what else it takes.
echo: echo-servers $(filter %/io-read,$(benches))
	@QUICK='$(QUICK)' BUILD='$(B)' bench/echo/run $(PARTS)

-include $(wildcard $(E)/*.d $(E)/bin/*.d $(L)/*.d)
