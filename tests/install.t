#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A new user's way: make install into a fresh prefix, the README's first program built by pkg-config
# with each compiler, as C and C++, shared and static, the man pages found, and an uninstall that
# leaves nothing. TAP on stdout. BUILD: the build folder.
count=0
failed=0

ok() # description, command...
{
        what=$1
        shift
        count=$((count + 1))
        if "$@" >"$work/log" 2>&1; then
                echo "ok $count - $what"
        else
                echo "not ok $count - $what: $*"
                sed 's/^/# /' "$work/log" | head -n 20
                failed=1
        fi
}

skip_all()
{
        echo "1..0 # SKIP $*"
        exit 0
}

prints_fib() # program
{
        [ "$(timeout 60 "$1")" = "fib(30) = 832040" ]
}

nothing_left()
{
        find "$prefix" ! -type d
        [ -z "$(find "$prefix" ! -type d)" ]
}

aliases_resolve() # every ".so" page names a page that is there
{
        for page in "$prefix"/share/man/man3/*; do
                target=$(sed -n '1s/^\.so //p' "$page")
                [ ! "$target" ] || [ -e "$prefix/share/man/$target" ] || return
        done
}

[ ! "$SAN" ] || skip_all "the library is built for sanitizers"
command -v pkg-config >/dev/null || skip_all "no pkg-config"
work=$(mktemp -d) || skip_all "no temporary folder"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
prefix=$work/prefix
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" LD_LIBRARY_PATH="$prefix/lib"
compilers=
for cc in gcc g++ clang clang++; do
        command -v $cc >/dev/null && compilers="$compilers $cc"
done
# shellcheck disable=SC2086 # a list
set -- $compilers
echo "1..$((6 + $# * 3))"

ok "make install" make -s install PREFIX="$prefix"
ok "pkg-config knows it" pkg-config --exists 'skua >= 0.1.0'
ok "the README has the program" [ "$(grep -c '^<!-- fib.c -->$' README.md)" = 1 ]
awk '/^<!-- fib.c -->$/ { wanted = 1; next } /^```/ && wanted { if (inside) exit; inside = 1; next }
     inside' README.md >"$work/fib.c"
cp "$work/fib.c" "$work/fib.cc"

flags=$(pkg-config --cflags --libs skua)
all_flags=$(pkg-config --static --cflags --libs skua)
for cc in $compilers; do
        case $cc in
        *++) language="-std=c++17" file=$work/fib.cc ;;
        *) language="-std=c11" file=$work/fib.c ;;
        esac
        strict="$language -O2 -Wall -Wextra -Werror -pedantic"
        # shellcheck disable=SC2086 # lists of flags
        ok "$cc, shared" $cc $strict "$file" -o "$work/shared-$cc" $flags
        # shellcheck disable=SC2086
        ok "$cc, static" $cc $strict -static "$file" -o "$work/static-$cc" $all_flags
        ok "$cc, both run" eval "prints_fib '$work/shared-$cc' && prints_fib '$work/static-$cc'"
done

ok "man pages and their aliases" aliases_resolve
ok "make uninstall" make -s uninstall PREFIX="$prefix"
ok "nothing is left" nothing_left
exit $failed
