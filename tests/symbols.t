#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Both libraries show their public names and nothing else, the shared one has its soname and needs
# no executable stack. TAP on stdout. BUILD: the build folder, NM: the nm to use.
build=${BUILD:?run it by make test}
nm=${NM:-nm}
count=0
failed=0

ok() # description, output that must be empty
{
        count=$((count + 1))
        if [ -z "$2" ]; then
                echo "ok $count - $1"
        else
                echo "not ok $count - $1"
                echo "$2" | sed 's/^/# /'
                failed=1
        fi
}

[ ! "$SAN" ] || { echo "1..0 # SKIP sanitizers add names"; exit 0; }
echo "1..5"
# In front of libc's own, in debug builds.
case $build in
*-debug*) more='|pthread_mutex_' ;;
*) more= ;;
esac
static=$($nm -g --defined-only "$build/libskua.a" | awk 'NF == 3 { print $3 }' | sort)
shared=$($nm -D --defined-only "$build/libskua.so" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' |
        sort)
ok "libskua.a: only skua_ is global" "$(echo "$static" | grep -vE "^(skua_$more)")"
ok "libskua.so: only skua_ is global" "$(echo "$shared" | grep -vE "^(skua_$more)")"
[ "$static" = "$shared" ] && same= || same="they differ"
ok "the same names in both" "$same"
soname=$(readelf -d "$build/libskua.so" | sed -n 's/.*soname: \[\(.*\)\]/\1/p')
[ "$soname" = libskua.so.0 ] && soname=
ok "soname" "$soname"
ok "the stack is not executable" "$(readelf -lW "$build/libskua.so" | grep 'GNU_STACK.*RWE')"
exit $failed
