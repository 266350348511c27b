#!/usr/bin/env bash
# Times `imgforge resolve` on the examples: catalog only, no network. The target is under 30 ms.
#
#   benches/resolve.sh [SPEC...]      IMGFORGE: the program; ROUNDS: runs per spec (20)
# shellcheck source=benches/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
find_imgforge
(($#)) || set -- examples/*/spec.yaml
rounds=${ROUNDS:-20}
echo "$("$IMGFORGE" --version), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
printf '%-40s %8s %8s\n' spec min median
for spec in "$@"; do
    for ((round = 0; round < rounds; round++)); do
        start=${EPOCHREALTIME/./}
        "$IMGFORGE" --quiet resolve "$spec" >/dev/null
        echo $((${EPOCHREALTIME/./} - start))
    done | sort -n | awk -v spec="$spec" '{ micro[NR] = $1 }
        END { printf "%-40s %5.1f ms %5.1f ms\n", spec, micro[1] / 1000, micro[int((NR + 1) / 2)] / 1000 }'
done
