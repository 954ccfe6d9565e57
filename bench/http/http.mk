# SPDX-License-Identifier: MIT
#
# The peers of examples/httpd, built into build/http/bin; see the README.md beside this file.
# Included by the Makefile after bench/peers/peers.mk, whose way it shares to build other languages.

H := build/http

.PHONY: http http-rust

http-rust:
	$(call other_language,bench/http/rust,cargo,$(H)/bin)

# bench/http/run says what it takes from the environment.
http: http-rust $(filter %/httpd,$(examples))
	@QUICK='$(QUICK)' BUILD='$(B)' bench/http/run
