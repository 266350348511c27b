#!/usr/bin/env bash
# What a year of upgrades moves: a requirement set, resolved as of each week of the last year, built as an image each time.
# docs/benchmarks.md holds a run's result.
#
#   benches/year.sh [SET...]      IMGFORGE, UV: the programs; UNTIL: the last day (today); STEPS: weeks back from it (52);
#                                 DAYS: between two builds (7); KEEP: a folder for the locks and layers of each step
#
# The index is asked as it was on a day with `uv pip compile --exclude-newer`; imgforge gets every version as a pin. Debian's
# packages are those of today in every step, so only Python packages move. A line for each step that changed something:
# packages with another version (or new, or gone), layers that the image of the step before does not have, their bytes,
# and for comparison the bytes of the changed wheels alone and of all wheels together, which is one layer of `pip install`.
# shellcheck source=benches/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
find_imgforge
find_uv
until=${UNTIL:-$(date -u +%F)}
steps=${STEPS:-52}
days=${DAYS:-7}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Writes FOLDER/wheels: `NAME VERSION SIZE` of each wheel in the lock.
list_wheels() {
    awk -F '"' '/^\[\[/ { wheel = /wheel\]\]$/ } !wheel { next }
        /^name =/ { name = $2 } /^version =/ { version = $2 }
        /^size =/ { sub(/.*= /, ""); print name, version, $0 }' "$1/imgforge.lock" | sort >"$1/wheels"
}

# The image of a set on a day: FOLDER/wheels, and FOLDER/layers with `DIGEST SIZE` of each layer of packages.
build_as_of() {
    local folder=$1 day=$2
    rm -f "$folder/uv.txt" # uv keeps to what it finds there
    uv_compile "$folder" --exclude-newer "${day}T00:00:00Z"
    "${uv_command[@]}" 2>"$work/err" || fail "uv has no answer for $day: $(tail -n 1 "$work/err")"
    {
        sed '/^packages:/q' "$folder/spec.yaml.first"
        sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/  - "\1"/p' "$folder/uv.txt"
    } >"$folder/spec.yaml"
    "$IMGFORGE" build "$folder/spec.yaml" --format json --output "$folder/image" >"$folder/answer" 2>"$work/err" ||
        fail "no image for $day: $(grep -m 1 error "$work/err")"
    jq -r '.images[0].layers[] | select(.annotations["dev.imgforge.layer.kind"] == "wheels") | "\(.digest) \(.size)"' \
        "$folder/answer" | sort >"$folder/layers"
    list_wheels "$folder"
}

# Packages that differ between two lists of wheels, and the bytes of those that are in the second.
changed() {
    awk 'NR == FNR { before[$1] = $2; next } { if (before[$1] != $2) { count++; bytes += $3 } delete before[$1] }
        END { for (name in before) count++; printf "%d %d", count, bytes }' "$1" "$2"
}

row() {
    awk -v set="$1" -v day="$2" -v total="$3" -v packages="$4" -v moved="$5" -v bytes="$6" -v all="$7" 'BEGIN {
        split(moved, m, " ")
        printf "%-19s %-10s %9d %9d %7d %9.1f %9.1f %9.1f\n", set, day, total, packages, m[1], m[2] / 1e6, bytes / 1e6, all / 1e6 }'
}

printf '%-19s %-10s %9s %9s %7s %9s %9s %9s\n' set day packages changed layers 'MB moved' 'MB wheels' 'MB all'
(($#)) || set -- mlflow
for set in "$@"; do
    folder=$work/$set
    write_set "$work" "$set"
    mv "$folder/spec.yaml" "$folder/spec.yaml.first"
    for ((step = steps; step >= 0; step--)); do
        day=$(date -u -d "$until - $((step * days)) days" +%F)
        build_as_of "$folder" "$day"
        if [[ -n "${KEEP:-}" ]]; then
            mkdir -p "$KEEP/$set/$day"
            cp "$folder"/{wheels,layers,imgforge.lock} "$KEEP/$set/$day"
        fi
        if [[ -e "$folder/wheels.before" ]]; then
            read -r packages bytes < <(changed "$folder/wheels"{.before,} && echo)
            moved=$(comm -13 "$folder/layers.before" "$folder/layers" | awk '{ bytes += $2 } END { print NR, bytes + 0 }')
            all=$(awk '{ bytes += $3 } END { print bytes }' "$folder/wheels")
            total=$(wc -l <"$folder/wheels")
            ((packages == 0)) || row "$set" "$day" "$total" "$packages" "$moved" "$bytes" "$all"
        fi
        cp "$folder/wheels" "$folder/wheels.before"
        cp "$folder/layers" "$folder/layers.before"
    done | tee "$folder/rows"
    awk -v layers="$(wc -l <"$folder/layers.before")" '
        { steps++; packages += $4; moved += $5; mb += $6; wheels += $7; all += $8; if ($4 == 1) { alone++; single += $5 } }
        END { if (!steps) exit
            printf "%s: %d steps with changes, %.1f packages and %.1f layers of %d each, %.2f layers a package; ", $1, steps,
                packages / steps, moved / steps, layers, moved / packages
            printf "%.0f MB moved, %.0f MB of changed wheels, %.0f MB in one layer; ", mb, wheels, all
            printf "%d steps changed one package, and moved %d layers\n", alone, single }' "$folder/rows"
done
