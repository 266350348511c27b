#!/usr/bin/env bash
# Times `imgforge lock` against `uv pip compile` on the requirement sets of benches/sets: same machine, same index, taking
# turns. docs/benchmarks.md holds a run's result.
#
#   benches/lock.sh [SET...]      IMGFORGE, UV: the programs; ROUNDS: turns per set (3); default sets: a handful
#
# For each set: `cold` with empty caches, `warm` once more, `cache` the same with `--offline`. A line gives minimum and
# median seconds, peak memory and requests of both, and ours/uv of the minimum, which other load disturbs least. `packages`
# is the part of a lock that uv does, by benches/packages.rs; `lock` is all of `imgforge lock`, Debian's packages included.
# shellcheck source=benches/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
find_imgforge
find_uv
PACKAGES=$(cargo build --release --bench packages --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"packages".*"executable":"\([^"]*\)".*/\1/p')
[[ -x "$PACKAGES" ]] || fail "benches/packages.rs does not build"
[[ -x /usr/bin/time ]] || fail "/usr/bin/time is missing: install time"
rounds=${ROUNDS:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Appends "seconds kilobytes" of a command to a file; the command must succeed.
timed() {
    local file=$1
    shift
    /usr/bin/time -f '%e %M' -o "$work/time" "$@" >"$work/out" 2>"$work/err" ||
        fail "\`$*\` failed: $(grep -m 1 . "$work/err")"
    local end
    end=$(cat "$work/time")
    echo "$end" >>"$file"
}

ours_packages() { IMGFORGE_CACHE=$folder/packages-cache timed "$1" "$PACKAGES" "$folder/spec.yaml" "$PYTHON_RELEASE" "${@:2}"; }

ours_lock() {
    rm -f "$folder/imgforge.lock"
    IMGFORGE_CACHE=$folder/lock-cache timed "$1" "$IMGFORGE" lock "$folder/spec.yaml" "${@:2}"
}

theirs() { timed "$1" env UV="$UV" PYTHON_RELEASE="$PYTHON_RELEASE" GLIBC="$GLIBC" bash -c \
    '. benches/common.sh; uv_compile "$@"' _ "$folder" "${@:2}"; }

# "minimum median megabytes" of a file of timings.
summary() {
    sort -n "$1" | awk '{ seconds[NR] = $1; if ($2 > memory) memory = $2 }
        END { printf "%.2f %.2f %.0f", seconds[1], seconds[int((NR + 1) / 2)], memory / 1024 }'
}

row() {
    local name=$1 phase=$2 file=$3 against=$4 requests=$5 one other
    one=$(summary "$file")
    other=$(summary "$against")
    awk -v name="$name" -v phase="$phase" -v one="$one" -v other="$other" -v requests="$requests" 'BEGIN {
        split(one, a, " "); split(other, b, " ")
        printf "%-20s %-15s %6.2f %6.2f %5d MB %5s   %6.2f %6.2f %5d MB   %5.2f\n", name, phase, a[1], a[2], a[3], requests,
            b[1], b[2], b[3], b[1] > 0 ? a[1] / b[1] : 0 }'
}

echo "$("$IMGFORGE" --version), $("$UV" --version | cut -d' ' -f1,2), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
printf '%-20s %-15s %6s %6s %8s %5s   %6s %6s %8s   %5s\n' set phase min median memory asked 'uv min' median memory ratio
(($#)) || set -- transformers-torch mlflow jupyterlab tensorflow airflow
for set in "$@"; do
    folder=$work/$set
    write_set "$work" "$set"
    for ((round = 0; round < rounds; round++)); do
        rm -rf "$folder"/*-cache
        for phase in cold warm cache; do
            offline=()
            [[ $phase == cache ]] && offline=(--offline)
            theirs "$folder/theirs-$phase" "${offline[@]}"
            ours_packages "$folder/packages-$phase" "${offline[@]}"
            cut -d' ' -f2 "$work/out" >"$folder/asked-$phase"
            ours_lock "$folder/lock-$phase" "${offline[@]}"
        done
    done
    for phase in cold warm cache; do
        row "$set" "packages $phase" "$folder/packages-$phase" "$folder/theirs-$phase" "$(cat "$folder/asked-$phase")"
        row "$set" "lock $phase" "$folder/lock-$phase" "$folder/theirs-$phase" -
    done
done
