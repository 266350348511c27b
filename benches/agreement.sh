#!/usr/bin/env bash
# Locks every requirement set of benches/sets with imgforge, compiles it with uv for the same interpreter, glibc and
# wheels-only policy, and prints where they differ. docs/agreement.md holds a run's result with the reasons.
#
#   benches/agreement.sh [SET...]      IMGFORGE, UV: the programs; PYTHON, PYTHON_RELEASE, GLIBC: what to solve for
#
# Exit status: 0 whatever the sets say, 2 if a program is missing. Needs the network.
# shellcheck source=benches/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
find_imgforge
find_uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export IMGFORGE_CACHE=$work/cache

# `name==version` of the lock's wheels.
wheels() {
    awk '/^\[\[/ { wheel = ($0 == "[[platform.wheel]]") }
        wheel && /^name = / { gsub(/"/, ""); name = $3 }
        wheel && /^version = / { gsub(/"/, ""); print name "==" $3 }' "$1"
}

echo "Python $PYTHON_RELEASE, glibc $GLIBC, x86_64, wheels only; $("$IMGFORGE" --version), $("$UV" --version | cut -d' ' -f1,2)"
for set in $(sets "$@"); do
    write_set "$work" "$set"
    ours=yes theirs=yes
    "$IMGFORGE" --quiet lock "$work/$set/spec.yaml" >/dev/null 2>"$work/ours.log" || ours=
    uv_compile "$work/$set"
    "${uv_command[@]}" 2>"$work/theirs.log" || theirs=
    if [[ -z "$ours$theirs" ]]; then
        printf '%-20s both refuse\n' "$set"
    elif [[ -z "$ours" ]]; then
        printf '%-20s imgforge refuses: %s\n' "$set" "$(head -n 1 "$work/ours.log")"
    elif [[ -z "$theirs" ]]; then
        printf '%-20s uv refuses: %s\n' "$set" "$(grep -m 1 -E '[A-Za-z]{4}' "$work/theirs.log")"
    else
        wheels "$work/$set/imgforge.lock" | sort >"$work/ours.txt"
        sed '/^ *#/d; /^$/d' "$work/$set/uv.txt" | sort >"$work/theirs.txt"
        count=$(wc -l <"$work/ours.txt")
        if cmp -s "$work/ours.txt" "$work/theirs.txt"; then
            printf '%-20s same, %d packages\n' "$set" "$count"
        else
            different=$(comm -3 "$work/ours.txt" "$work/theirs.txt" | tr -d '\t' | cut -d= -f1 | sort -u | wc -l)
            printf '%-20s %d of %d packages differ\n' "$set" "$different" "$count"
            comm -23 "$work/ours.txt" "$work/theirs.txt" | sed 's/^/    imgforge  /'
            comm -13 "$work/ours.txt" "$work/theirs.txt" | sed 's/^/    uv        /'
        fi
    fi
done
