#!/usr/bin/env bash
# Times `imgforge lock` against `uv pip compile` on the requirement sets of benches/sets: same machine, same index, taking
# turns. docs/benchmarks.md holds a run's result.
#
#   benches/lock.sh [SET...]      IMGFORGE, UV: the programs; ROUNDS: turns per set (3); default sets: a handful
#
# For each set: `cold` with empty caches, `warm` once more, `offline` the same with `--offline`. A line gives minimum and
# median seconds, processor seconds, peak memory and our requests, then the same of uv, and ours/uv of the minimum, which
# other load disturbs least. `lock` is all of `imgforge lock`, Debian's packages included; `packages` the part of it that uv
# does, as `--verbose` tells it.
# shellcheck source=benches/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
find_imgforge
find_uv
[[ -x /usr/bin/time ]] || fail "/usr/bin/time is missing: install time"
rounds=${ROUNDS:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Appends "seconds kilobytes processor-seconds" of a command to a file; the command must succeed.
timed() {
    local file=$1
    shift
    /usr/bin/time -f '%e %M %U %S' -o "$work/time" "$@" >"$work/out" 2>"$work/err" ||
        fail "\`$*\` failed: $(grep -m 1 . "$work/err")"
    awk '{ print $1, $2, $3 + $4 }' "$work/time" >>"$file"
}

theirs() {
    local phase=$1
    shift
    uv_compile "$folder" "$@"
    timed "$folder/theirs-$phase" "${uv_command[@]}"
}

# A lock, and in packages-PHASE the time of its packages alone.
ours() {
    local phase=$1
    shift
    rm -f "$folder/imgforge.lock"
    IMGFORGE_CACHE=$folder/ours-cache timed "$folder/lock-$phase" "$IMGFORGE" --verbose lock "$folder/spec.yaml" "$@"
    sed -n 's/.*the packages took \([0-9]*\) ms.*; \([0-9]*\) request.*/\1 \2/p' "$work/err" | head -n 1 >"$work/part"
    awk '{ print $1 / 1000, 0, 0 }' "$work/part" >>"$folder/packages-$phase"
    cut -d' ' -f2 "$work/part" >"$folder/asked-$phase"
}

# Minimum and median seconds, megabytes and minimum processor seconds of a file of timings.
summary() {
    sort -n "$1" | awk '{ seconds[NR] = $1; if ($2 > memory) memory = $2; if (NR == 1 || $3 < processor) processor = $3 }
        END { printf "%.2f %.2f %.0f %.2f", seconds[1], seconds[int((NR + 1) / 2)], memory / 1024, processor }'
}

row() {
    local name=$1 phase=$2 one=$3 other=$4 requests=$5
    awk -v name="$name" -v phase="$phase" -v one="$one" -v other="$other" -v requests="$requests" 'BEGIN {
        split(one, a, " "); split(other, b, " ")
        printf "%-19s %-14s %6.2f %6.2f %6s %5s %5s | %6.2f %6.2f %6.2f %5d | %5.2f\n", name, phase, a[1], a[2],
            (a[4] > 0 ? a[4] : "-"), (a[3] > 0 ? a[3] : "-"), requests, b[1], b[2], b[4], b[3],
            (b[1] > 0 ? a[1] / b[1] : 0) }'
}

echo "$("$IMGFORGE" --version), $("$UV" --version | cut -d' ' -f1,2), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
printf '%-19s %-14s %6s %6s %6s %5s %5s | %6s %6s %6s %5s | %5s\n' set phase min median cpu MB asked 'uv min' median cpu MB ratio
(($#)) || set -- transformers-torch mlflow jupyterlab tensorflow airflow
for set in "$@"; do
    folder=$work/$set
    write_set "$work" "$set"
    for ((round = 0; round < rounds; round++)); do
        rm -rf "$folder"/{uv,ours}-cache
        for phase in cold warm offline; do
            offline=()
            [[ $phase == offline ]] && offline=(--offline)
            theirs "$phase" "${offline[@]}"
            ours "$phase" "${offline[@]}"
        done
    done
    for phase in cold warm offline; do
        uv=$(summary "$folder/theirs-$phase")
        row "$set" "packages $phase" "$(summary "$folder/packages-$phase")" "$uv" "$(cat "$folder/asked-$phase")"
        row "$set" "lock $phase" "$(summary "$folder/lock-$phase")" "$uv" -
    done
done
