#!/bin/sh
# SPDX-License-Identifier: MIT
#
# examples/treesum against sha256sum over the list of find: the same bytes for every kind of name
# and file, the same messages, the exit statuses, and a defined end on signals. TAP on stdout.
# BUILD: the build folder.

LC_ALL=C
export LC_ALL
planned=38
count=0
failed=0

skip_all() {
        echo "1..0 # SKIP $*"
        exit 0
}

build=$(cd "${BUILD:-build}" 2>/dev/null && pwd) || skip_all "no build folder: run it by make test"
[ -x "$build/examples/treesum" ] || skip_all "examples/treesum is not built"
for tool in sha256sum find sort xargs mkfifo truncate timeout cmp; do
        command -v $tool >/dev/null || skip_all "$tool is missing"
done
work=$(mktemp -d) || skip_all "no temporary folder"
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cp "$build/examples/treesum" "$work/treesum" # where other users reach it
chmod 755 "$work"
mkdir -m 1777 "$work/log" # where sanitizers write, so that stderr is treesum's
for options in ASAN_OPTIONS TSAN_OPTIONS UBSAN_OPTIONS; do
        eval "export $options=\"\${$options:+\$$options:}log_path=$work/log/report\""
done
cd "$work" || exit
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

skip() { # skip how-many reason
        for _ in $(seq "$1"); do
                count=$((count + 1))
                echo "ok $count # SKIP $2"
        done
}

treesum() {
        timeout -k 5 120 "$work/treesum" "$@"
}

expect() { # expect root...: what sha256sum prints and says about the files below, and its status
        for root in "$@"; do
                case $root in -*) printf '%s\0' "$root" && continue ;; esac # not for find
                find -H "$root" -type f -print0 | sort -z
        done | xargs -0 -r sha256sum -- >"$work/expected"
}

same_with() { # same_with option root...: the same bytes, nothing said, status 0
        option=$1
        shift
        expect "$@"
        treesum "$option" -- "$@" >"$work/got" 2>"$work/errors" || return
        cmp "$work/expected" "$work/got" && [ ! -s "$work/errors" ]
}

same() {
        same_with -q "$@"
}

status() { # status wanted command...
        wanted=$1
        shift
        "$@" >got 2>errors
        [ $? -eq "$wanted" ]
}

said() { # said text: errors holds just that line
        [ "$(cat errors)" = "$1" ]
}

contains() {
        grep -q -e "$1" "$2"
}

quotes_alike() { # quotes_alike name...: none of them exists
        sha256sum -- "$@" 2>&1 | sed 's/^sha256sum:/treesum:/' >expected
        treesum -q -- "$@" 2>got
        cmp expected got
}

no_reports() { # of sanitizers; a warning on their own limits does not count
        ! grep -rhE -A 20 'ERROR: |WARNING: ThreadSanitizer|runtime error: ' log
}

interrupted() { # interrupted signal wanted: amidst a run over `many` and what takes a minute
        env --default-signal ./treesum -q many endless >got 2>errors &
        running=$!
        sleep 0.5
        kill -s "$1" $running
        wait $running
        [ $? -eq "$2" ] && [ ! -s errors ] && head -c "$(wc -c <got)" expected | cmp - got
}

# ---------------------------------------------------------------- names

mkdir names 'names/sub dir' names/a names/a-b
printf 'content' >plain
# shellcheck disable=SC2016
odd='a b|a\\b|a\nb|\n|\\|-x|--help|-|a"b|'"a'b"'|$(x)|`x`|a\tb|\377\376|caf\303\251|*|?|#x|~|a\\nb'
echo "$odd" | tr '|' '\n' | while IFS= read -r name; do
        # shellcheck disable=SC2059
        printf '%s' "$name" >"names/$(printf -- "$name")x"
done
carriage_return=$(printf 'names/a\rb')
cp plain "$carriage_return"
sha256sum "$carriage_return" | grep -q '^\\' || rm "$carriage_return" # an old sha256sum
cp plain 'names/ends in a newline
'
echo 1 >names/a/z
echo 2 >names/a-b/y
echo 3 >'names/sub dir/x'
echo 4 >names/a.c
ok "odd names" same names
ok "there were many" [ "$(wc -l <got)" -ge 20 ]
ok "as arguments, too" same names/*x
ok "the sums are accepted by sha256sum -c" status 0 sha256sum -c --quiet expected
cd names || exit
ok "names with a leading dash" same -x* --help*
cd ..

long=$(printf '%0255d' 7)
path=long
for _ in 1 2 3 4 5 6 7 8; do
        path=$path/$(printf '%0240d' 1)
done
mkdir -p "$path" && echo long >"$path/$long"
ok "a name of 255 bytes, a path of 2,000" same long

# ---------------------------------------------------------------- files

mkdir empty files
ok "an empty folder" same empty
: >files/empty
truncate -s 64M files/sparse
head -c 131072 /dev/urandom >files/one-buffer
head -c 131073 /dev/urandom >files/one-more
ok "empty, large and sparse files, and around one buffer" same files

path=deep
for _ in $(seq 300); do
        path=$path/d
done
mkdir -p "$path"
echo 5 >"$path/f"
echo 6 >deep/d/d/e
ok "300 folders deep" same deep

mkdir many
for folder in $(seq 50); do
        mkdir "many/$folder"
        (cd "many/$folder" && seq 1000 | split -a 2 -l 10 -)
done
ok "5,000 small files" same many
ok "on one worker" same_with -qj1 many
ok "on eight workers" same_with -qj8 many
ok "on eight, again" same_with -qj8 many
ok "pinned" same_with -qp many
ok "without io_uring" same_with -qn many

ok "several roots, in their order" same many/2 files plain many/1
ok "a root twice, with slashes" same many/3/ many/3/ many//3
ln -s many/3 link
ok "a root that is a symbolic link" same link
ok "one file" same plain

mkdir special
mkfifo special/fifo
ln -s nowhere special/dangling
ln -s ../plain special/to-file
ln -s ../many special/to-folder
echo 7 >special/file
ok "links and pipes below are left out" same special
ok "only the file is there" [ "$(wc -l <got)" -eq 1 ]

# ---------------------------------------------------------------- what cannot be read

ok "a name that does not exist: status 1" status 1 treesum -q plain nowhere files
ok "said as by sha256sum" said 'treesum: nowhere: No such file or directory'
expect plain files
ok "the others are summed" cmp expected got

# shellcheck disable=SC2016
ok "names in messages are quoted as by sha256sum" quotes_alike \
        'a b' "it's" "it's:" '"' "a'\"b" 'a\b' 'a:b' '~t' 't~' '#h' "h#'" "#'h" '{' '{}' 'a=b' '*' \
        '$x' '@' '' ']' '^' "$(printf 'a\nb')" "$(printf "q'\n\rb")" "$(printf '\377')" \
        "$(printf '\033[1m\a\001')" "$(printf 'caf\303\251')"

# Permissions do not stop root, who becomes somebody else for this.
mkdir -p locked/closed locked/list-only
echo 8 >locked/file
echo 9 >locked/list-only/inside
echo 10 >locked/open
chmod 000 locked/file locked/closed
chmod 744 locked/list-only
other=
[ "$(id -u)" -ne 0 ] || other='setpriv --reuid=65534 --regid=65534 --clear-groups --'
if $other test -r locked/open 2>/dev/null && ! $other test -r locked/file; then
        [ -n "$other" ] || chmod 444 locked/list-only
        ok "unreadable file and folders: status 1" \
                status 1 timeout 60 $other ./treesum -q locked
        {
                echo 'treesum: locked/closed: Permission denied'
                echo 'treesum: locked/file: Permission denied'
                echo 'treesum: locked/list-only/inside: Permission denied'
        } >expected
        ok "each is reported, in the order of the walk" cmp expected errors
        sha256sum locked/open >expected
        ok "the rest is summed" cmp expected got
else
        skip 3 "cannot be a user whom permissions stop"
fi

# A worker has eight files under way. All of them hang in pipes, while the next file goes away.
mkdir fleeting
pipes=$(seq -f pipe%g 8)
# shellcheck disable=SC2086
mkfifo $pipes
echo 11 >fleeting/file
# shellcheck disable=SC2086
timeout 60 ./treesum -qj1 $pipes fleeting >got 2>errors &
running=$!
sleep 0.5
rm fleeting/file
for pipe in $pipes; do
        timeout 60 sh -c ": >$pipe" &
done
wait $running
ok "a file that vanishes after the walk: status 1" [ $? -eq 1 ]
ok "and is reported" said 'treesum: fleeting/file: No such file or directory'

# ---------------------------------------------------------------- the program

ok "wrong use: status 1" eval 'status 1 treesum && status 1 treesum -j 0 plain &&
        status 1 treesum -j 1x plain && status 1 treesum -z plain'
ok "--help" eval 'status 0 treesum --help && contains "^usage: treesum" got'
ok "-t prints a line per worker" eval 'status 0 treesum -tj3 many && [ "$(wc -l <errors)" -eq 4 ]'
if [ -w /dev/full ]; then
        ok "no room for the output: status 1" eval '! treesum -q many >/dev/full 2>errors &&
                said "treesum: write error: No space left on device"'
else
        skip 1 "no /dev/full"
fi

if truncate -s 64G endless 2>/dev/null; then
        expect many
        ok "SIGINT: status 130, the output a beginning of the whole" interrupted INT 130
        ok "SIGTERM: status 143, the same" interrupted TERM 143
        if command -v script >/dev/null; then
                timeout 9 script -qec 'timeout -s INT 1 ./treesum plain endless >got' /dev/null \
                        </dev/null >screen 2>errors
                ok "progress on a terminal" contains 'files, .* MB/s' screen
        else
                skip 1 "no script(1) for a terminal"
        fi
else
        skip 3 "no sparse files here"
fi

if [ -n "$SAN" ]; then
        ok "no report by the sanitizer" no_reports
else
        skip 1 "no sanitizer in this build"
fi

[ $failed -eq 0 ]
