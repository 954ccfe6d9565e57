#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A new user's way: make install into a fresh prefix, the README's first programs and the example of
# skua_io(3) built by pkg-config with each compiler, as C and C++, shared and static, the man pages
# found, and an uninstall that leaves nothing. TAP on stdout. BUILD: the build folder.
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

prints_line() # program, which prints the first line of a file
{
        printf 'a skua\nand another\n' >"$work/file"
        [ "$(timeout 60 "$1" "$work/file")" = "a skua" ] && ! timeout 60 "$1" "$work"
}

from_readme() # name
{
        [ "$(grep -c "^<!-- $1 -->$" README.md)" = 1 ] || return
        awk -v mark="<!-- $1 -->" '$0 == mark { wanted = 1; next }
                /^```/ && wanted { if (inside) exit; inside = 1; next } inside' \
                README.md >"$work/$1"
        cp "$work/$1" "$work/$1c" && [ -s "$work/$1" ]
}

from_page() # name, page: its first example
{
        sed -n '/^\.SH EXAMPLES/,/^\.EE/p' "$2" |
                sed -e '1,/^\.EX/d' -e '/^\.EE/d' -e 's/\\-/-/g' -e 's/\\e/\\/g' >"$work/$1"
        cp "$work/$1" "$work/$1c" && [ -s "$work/$1" ]
}

builds() # compiler, its flags, how to link, their mark; in $suffix: of the sources
{
        for name in fib read wait line; do
                # shellcheck disable=SC2086 # lists of flags
                $1 $2 "$work/$name.$suffix" -o "$work/$name-$4" $3 || return
        done
}

run_all() # which ones
{
        prints_fib "$work/fib-$1" && prints_line "$work/read-$1" && prints_line "$work/wait-$1" &&
                prints_line "$work/line-$1"
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
echo "1..$((10 + $# * 3))"

ok "make install" make -s install PREFIX="$prefix"
ok "pkg-config knows it" pkg-config --exists 'skua >= 0.1.0'
ok "the README has a program" from_readme fib.c
ok "and one with I/O" from_readme read.c
ok "and one that waits" from_readme wait.c
ok "skua_io(3) has one" from_page line.c docs/man/skua_io.3

flags=$(pkg-config --cflags --libs skua)
all_flags=$(pkg-config --static --cflags --libs skua)
for cc in $compilers; do
        case $cc in
        *++) language="-std=c++17" suffix=cc ;;
        *) language="-std=c11" suffix=c ;;
        esac
        strict="$language -O2 -Wall -Wextra -Werror -pedantic"
        ok "$cc, shared" builds $cc "$strict" "$flags" "shared-$cc"
        ok "$cc, static" builds $cc "$strict -static" "$all_flags" "static-$cc"
        ok "$cc, both run" eval "run_all 'shared-$cc' && run_all 'static-$cc'"
done

ok "man pages and their aliases" aliases_resolve
ok "the commands of gdb" test -f "$prefix/share/skua/skua-gdb.py"
ok "make uninstall" make -s uninstall PREFIX="$prefix"
ok "nothing is left" nothing_left
exit $failed
