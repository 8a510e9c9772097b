#!/bin/sh
# tests/lint/selftest.sh - shows that each check can fail: a small bad tree for every rule, which must be refused, and
# a good one, which must pass.
set -u

here=$(cd "$(dirname "$0")" && pwd)
command -v python3 >/dev/null 2>&1 || { echo "selftest: no python3"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# A new tree that both checks accept.
fresh() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/lib/base" "$work/tree/lib/raft" "$work/tree/lib/store" "$work/tree/lib/api" "$work/tree/daemon"
    file lib/base/rk_log.h '#include <stdio.h>'
    file lib/raft/raft.c '#include "lib/raft/raft.h"' '#include "lib/base/rk_util.h"'
    file lib/store/store.c '#include <db.h>' '/* #include <openssl/ssl.h> */'
    file daemon/main.c '#include "lib/raft/raft.h"' '#include <systemd/sd-daemon.h>' '#include "config.h"'
}

# file PATH LINE... - a file that opens with a comment.
file() {
    path=$1
    shift
    printf '%s\n' "/* $path - made up. */" "$@" >"$work/tree/$path"
}

# expect pass|fail WORDS WHAT CHECK... - WORDS must stand in what the check says.
expect() {
    want=$1 words=$2 what=$3
    shift 3
    if "$@" >"$work/out" 2>&1; then got=pass; else got=fail; fi
    if [ $got != "$want" ] || ! grep -qF -e "$words" "$work/out"; then
        echo "selftest: $what: wanted $want with \"$words\", got $got:"
        cat "$work/out"
        failed=1
    fi
}

layers() { expect "$1" "$2" "layers: $3" sh "$here/layers.sh" "$work/tree"; }
style() { expect "$1" "$2" "style: $3" sh "$here/style.sh" "$work/tree" "$work/exceptions"; }
purity() { expect "$1" "$2" "purity: $3" sh "$here/purity.sh" "$work/tree"; }

# layers
fresh
layers pass ' 0 problems' 'the good tree'
file lib/raft/raft.c '#include "lib/base/rk_log.h"'
layers fail 'raft.c:2: includes "lib/base/rk_log.h"' 'the core logs'
fresh
file lib/api/kv.c '#include "lib/store/store.h"'
layers fail 'lib/api may not know it' 'the api reads the store'
fresh
file lib/api/kv.c '#include <lib/raft/raft.h>'
layers fail 'lib/api may not know it' 'angle brackets do not help'
fresh
file daemon/main.c '' '  #  include <db.h>'
layers fail 'daemon/main.c:3: includes <db.h>' 'the daemon opens the engine'
fresh
file lib/base/rk_tls.c '#include <openssl/ssl.h>'
layers fail 'lib/base may not know it' 'base speaks TLS'
fresh
file lib/raft/raft.c '#include "../base/rk_log.h"'
layers fail 'from the top of the tree' 'a relative include'
fresh
file lib/raft/raft.c '#include "lib/raft/../base/rk_log.h"'
layers fail 'no way up' 'a way around'
fresh
file lib/raft/raft.c '#define H <db.h>' '#include H'
layers fail 'spelled out' 'a computed include'
fresh
mkdir "$work/tree/lib/new"
file lib/new/new.c ''
layers fail 'no row' 'a folder that the table does not know'
rm -rf "$work/tree" && mkdir "$work/tree"
layers fail 'no source at all' 'an empty tree'

# style
: >"$work/exceptions"
fresh
style pass ' 0 problems' 'the good tree'
printf 'int x;\n' >"$work/tree/lib/base/x.c"
style fail 'open with a comment' 'no comment at the top'
fresh
file lib/base/x.c "int x; /* $(printf '%0110d' 0) */"
style fail 'columns' 'a wide line'
fresh
file lib/base/x.c "int x; /* $(printf 'FIX%s' ME): later */"
style fail 'do it now' 'a marker'
for call in 'strcpy(a, b)' 'strcat(a, b)' 'sprintf(a, b)' 'gets (a)' 'strtok(a, b)' 'atoi(a)' 'system(a)' 'popen(a, b)'; do
    fresh
    file lib/base/x.c "    $call;"
    style fail "x.c:2: ${call%%[ (]*}() is banned" "$call"
done
fresh
file lib/base/x.c '/* strcpy(a, b) */' 'const char *s = "system(a)";' 'int n = snprintf(a, 1, "x") + strtok_r(a) + o->system(1);'
style pass ' 0 problems' 'words that only look like banned calls'
fresh
{ echo '/* long */'; seq -f '/* %g */' 900; } >"$work/tree/lib/base/x.c"
style fail 'the file has 901 lines' 'a long file'
echo 'lib/base/x.c lines 901 a table' >"$work/exceptions"
style pass ' 0 problems' 'an exception'
echo 'lib/base/x.c lines 900 a table' >"$work/exceptions"
style fail 'the bound is 900' 'over the exception'
echo 'lib/base/x.c lines 901' >"$work/exceptions"
style fail 'reason missing' 'an exception without a reason'
: >"$work/exceptions"
fresh
{ echo '/* f */'; echo 'static RK_UNUSED int giant(int a,'; echo '    int b)'; echo '{'; seq -f '    f(%g);' 79; echo '}'; } >"$work/tree/lib/base/x.c"
style fail 'x.c:4: giant() has 81 lines' 'a long function'
echo 'lib/base/x.c function giant 81 a reason' >"$work/exceptions"
style pass ' 0 problems' 'an exception for a function'
fresh
style fail 'not needed any more' 'an exception that is left over'

# purity
compile() { ${CC:-cc} -c -o "$work/tree/lib/raft/$1.o" -x c - ; }
fresh
purity fail 'no object' 'nothing built'
if command -v "${CC:-cc}" >/dev/null 2>&1; then
    echo '#include <string.h>
          int helper(const char *s);
          int core(char *to, const char *from, int n) { memcpy(to, from, (size_t)n); return helper(to); }' | compile core
    purity fail 'calls helper' 'a function that nobody in the core defines'
    echo '#include <string.h>
          int helper(const char *s) { return (int)strlen(s); }' | compile helper
    purity pass '2 objects' 'memory, strings and its own functions'
    for call in 'long time(long *); long f(void) { return time(0); }' 'int rand(void); int f(void) { return rand(); }' \
        'int puts(const char *); int f(void) { return puts("x"); }' \
        'extern int rk_log_write(int); int f(void) { return rk_log_write(1); }' \
        'extern int xmemcpy(int); int f(void) { return xmemcpy(1); }'; do
        echo "$call" | compile bad
        purity fail 'bad.o calls' "$call"
    done
    : | compile empty
    rm "$work/tree/lib/raft/core.o" "$work/tree/lib/raft/helper.o" "$work/tree/lib/raft/bad.o"
    purity fail 'define nothing' 'empty objects'
fi

# catalogue
catalogue() { expect "$1" "$2" "$3" python3 "$here/catalogue.py" "$work/tree"; }
fresh
mkdir -p "$work/tree/tests/unit" "$work/tree/tests/system" "$work/tree/tests/script"
file lib/base/rk_plant.h 'X(BAD_VOTE, "it is bad")'
file tests/unit/test_x.c 'static void a_rule(void **state)'
# rows FIRST LAST ANSWER
rows() { for row in $(seq "$1" "$2"); do echo "| $row | what | $3 |"; done; }
rows 1 150 '`a_rule`; BAD_VOTE' >"$work/tree/tests/README.md"
catalogue pass '150 rows, 0 problems' 'a whole table'
rows 1 149 '`a_rule`' >"$work/tree/tests/README.md"
catalogue fail 'missing: [150]' 'a row left out'
{ rows 1 149 '`a_rule`'; rows 150 150 '`another_rule`'; } >"$work/tree/tests/README.md"
catalogue fail 'row 150: there is no test another_rule' 'a test that does not exist'
{ rows 1 149 '`a_rule`'; rows 150 150 'BAD_READ'; } >"$work/tree/tests/README.md"
catalogue fail 'row 150: there is no planted bug BAD_READ' 'a planted bug that does not exist'

[ $failed -eq 0 ] && echo "selftest: every check passes what is good and refuses what is bad"
exit $failed
