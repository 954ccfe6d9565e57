#!/bin/sh
# SPDX-License-Identifier: MIT
#
# examples/resolve with names that need no network: answers in the order of the names from arguments
# and standard input, errors in their places, few threads, and a lookup that does not come back. TAP
# on stdout. BUILD: the build folder, CC: the compiler, SAN: what the example is built for.

LC_ALL=C
export LC_ALL
planned=16
count=0
failed=0

skip_all() {
        echo "1..0 # SKIP $*"
        exit 0
}

build=$(cd "${BUILD:-build}" 2>/dev/null && pwd) || skip_all "no build folder: run it by make test"
[ -x "$build/examples/resolve" ] || skip_all "examples/resolve is not built"
for tool in seq cmp cut timeout; do
        command -v $tool >/dev/null || skip_all "$tool is missing"
done
work=$(mktemp -d) || skip_all "no temporary folder"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
echo "1..$planned"

ok() { # ok description command...: one check
        description=$1
        shift
        count=$((count + 1))
        if "$@"; then
                echo "ok $count - $description"
        else
                echo "not ok $count - $description"
                failed=$((failed + 1))
        fi
}

resolve() {
        timeout -k 5 100 "$build/examples/resolve" "$@"
}

is() { # is text command...: what it prints
        expected=$1
        shift
        [ "$("$@")" = "$expected" ]
}

status() { # status number command...
        expected=$1
        shift
        "$@" >"$work/out" 2>"$work/err"
        [ $? = "$expected" ]
}

same_numbers() { # how many, options: addresses come back in their order
        count_of=$1
        shift
        seq "$count_of" | sed 's|.*|10.&.0.1|; s|10\.\([0-9]*\)\([0-9][0-9]\)\.0|10.\1.\2|' |
                sed 's|\.\.|.0.|; s|\.0\([0-9]\)\.|.\1.|' >"$work/names"
        resolve -n "$@" <"$work/names" >"$work/answers" || return
        cut -f1 "$work/answers" | cmp -s - "$work/names" || return
        cut -f2 "$work/answers" | cmp -s - "$work/names"
}

ok "an address" is "127.0.0.1	127.0.0.1" resolve -n 127.0.0.1
ok "in order" is "::1	::1
1.2.3.4	1.2.3.4" resolve -n ::1 1.2.3.4
ok "status 0" status 0 resolve -n 127.0.0.1
ok "an error in its place" status 1 resolve -n 1.1.1.1 nobody.invalid 2.2.2.2
ok "beside the others" is "1.1.1.1
nobody.invalid
2.2.2.2" cut -f1 "$work/out"
ok "many from standard input" same_numbers 2000
ok "on one thread" same_numbers 500 -j 1
ok "on more than names" same_numbers 20 -j 64
ok "no names" is "" resolve -n </dev/null
if [ "$(cut -d' ' -f1 /etc/hosts 2>/dev/null | grep -c '^127\.0\.0\.1')" = 0 ] &&
        ! grep -q '^127\.0\.0\.1[[:space:]].*localhost' /etc/hosts 2>/dev/null; then
        count=$((count + 1))
        echo "ok $count # SKIP /etc/hosts does not say where localhost is"
else
        ok "localhost, by the system's resolver" status 0 resolve localhost
fi
ok "wrong use: a number" status 2 resolve -j 0 127.0.0.1
ok "wrong use: an option" status 2 resolve -x
ok "says how it is used" grep -q '^usage: ' "$work/err"

# A resolver that does not come back for one name.
cat >"$work/never.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
        int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

        while (!strcmp(name, "never"))
                pause();
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(name, service, hints, found);
}
END
if [ "$SAN" ] ||
        ! ${CC:-cc} -shared -fPIC -o "$work/never.so" "$work/never.c" -ldl 2>/dev/null; then
        for _ in 1 2 3; do
                count=$((count + 1))
                echo "ok $count # SKIP no resolver can be put in its place"
        done
        exit $failed
fi
with_never() {
        LD_PRELOAD="$work/never.so" resolve "$@"
}
tab=$(printf '\t')
ok "a lookup that does not come back" is "never${tab}timed out
1.1.1.1${tab}1.1.1.1" with_never -n -t 1 -j 2 never 1.1.1.1
ok "has its status" status 1 with_never -n -t 1 -j 2 never 1.1.1.1
ok "on the only thread: what waits behind it is not asked for" is "never${tab}timed out
1.1.1.1${tab}timed out
2.2.2.2${tab}timed out" with_never -n -t 1 -j 1 never 1.1.1.1 2.2.2.2
exit $failed
