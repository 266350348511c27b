#!/usr/bin/env bash
# Times `imgforge build --push` against `docker build` and `docker push` (BuildKit, uv, a cache mount), and against `buildah
# build` and `buildah push` (uv, a cache mount, zstd): same machine, same base, same locked wheels, same registry, taking turns.
# docs/benchmarks.md holds a run's result.
#
#   benches/compare.sh [CASE...]     run as root, as tests/run is, which installs Docker; cases: science torch
#                                    IMGFORGE, UV: the programs; ROUNDS: turns (1); TOOLS: "imgforge docker buildah"
#                                    ROUND_TRIP: milliseconds to the registry (0)
#                                    torch needs 40 GB of disk
#
# Steps of each case:
#   first      the wheels are on this machine, nothing else is
#   changed    the same with another release of numpy, after `first`
#   nothing    once more
#   fresh      an empty machine, a registry that has the image of `first`, another release of numpy; wheels come from the index
#
# A line gives seconds, processor seconds of the whole machine, the most memory beyond what was in use before (anonymous
# pages), bytes that came into the registry, and the image's compressed size. `floor` is what no builder can do without that
# looks at its wheels: sha256 and inflate of the same files, with the libraries that imgforge uses (benches/floor.rs).
# `ready` is what no push can do without: curl brings the layers, made before, to a registry that has the base.
# shellcheck source=benches/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[[ $(id -u) == 0 ]] || fail "an engine of our own needs root"
find_imgforge
find_uv
floor=$(cargo build --release --quiet --bench floor --message-format json | python3 -c '
import json, sys
for message in map(json.loads, sys.stdin):
    if message.get("executable") and message["target"]["name"] == "floor":
        print(message["executable"])')
[[ -x $floor ]] || fail "benches/floor.rs was not built"
rounds=${ROUNDS:-1}
read -ra tools <<<"${TOOLS:-imgforge docker buildah}"
for tool in curl docker skopeo python3 "${tools[@]/imgforge/true}"; do
    command -v "$tool" >/dev/null || fail "\`$tool\` is missing"
done

work=$(mktemp -d)
distance=
cleanup() {
    [[ -z $distance ]] || kill "$distance"
    tests/engine stop "$work/engine"
    [[ ! -d $work/buildah ]] || buildah --root "$work/buildah" --runroot "$work/buildah-run" rm --all >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT

# A registry whose storage is ours: it begins every measurement with the base alone.
settings=$(CARGO_TARGET_DIR=$work/target tests/engine start "$work/engine" $$)
while IFS= read -r setting; do export "${setting?}"; done <<<"$settings"
registry=$IMGFORGE_TEST_MIRROR
storage=$work/target/test-cache/registry
if [[ ${ROUND_TRIP:-0} != 0 ]]; then
    python3 benches/distance.py "${registry##*:}" "$ROUND_TRIP" >"$work/distance" &
    distance=$!
    until [[ -s $work/distance ]]; do sleep 0.1; done
    registry=${registry%:*}:$(cat "$work/distance")
fi

# What builds inside containers need of this machine: its certificates, and its own choice of an index.
certificates=/etc/ssl/certs/ca-certificates.crt
index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}}

requirements() {
    case "$1" in
    science) printf '%s\n' scikit-learn==1.5.2 scipy==1.14.1 pandas==2.2.3 ;;
    torch) printf '%s\n' torch==2.5.1 ;;
    *) fail "there is no case \`$1\`: science, torch" ;;
    esac
}

# Writes CASE/VARIANT: spec, lock, requirements with hashes, Dockerfile.
prepare() {
    local name=$1 variant=$2 numpy=$3 folder=$work/$1/$2
    mkdir -p "$folder"
    {
        printf 'name: %s\ntargets: [%s]\npython: "%s"\nbase: "%s/base:latest"\npackages:\n' "$name" \
            "$([[ $name == torch ]] && echo "{gpu: A100}" || echo cpu)" "$PYTHON" "$registry"
        { requirements "$name" && echo "numpy==$numpy"; } | sed 's/.*/  - "&"/'
    } >"$folder/spec.yaml"
    export IMGFORGE_CACHE=$work/cache
    "$IMGFORGE" --quiet lock "$folder/spec.yaml" >/dev/null
    "$IMGFORGE" --quiet render "$folder/spec.yaml" --output "$folder/rendered" >/dev/null
    mkdir -p "$folder/context"
    cp "$(find "$folder/rendered" -name 'requirements*.txt' | head -n 1)" "$folder/context/requirements.txt"
    cp "$UV" "$folder/context/uv"
    cp "$certificates" "$folder/context/ca.crt"
    cat >"$folder/context/Dockerfile" <<END
FROM $registry/base:latest
USER root
ARG UV_DEFAULT_INDEX=$index
ARG RUN=0
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,source=uv,target=/tmp/uv \\
    --mount=type=bind,source=ca.crt,target=/tmp/ca.crt --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \\
    : "\$RUN" && export SSL_CERT_FILE=/tmp/ca.crt && [ -n "\$UV_DEFAULT_INDEX" ] || unset UV_DEFAULT_INDEX; \\
    /tmp/uv venv --quiet --python /usr/bin/python$PYTHON /opt/env && \\
    VIRTUAL_ENV=/opt/env /tmp/uv pip install --quiet --link-mode copy --no-deps --require-hashes -r /tmp/requirements.txt
ENV PATH=/opt/env/bin:\$PATH
END
}

# The base: what imgforge makes of Debian's packages for this Python, and nothing more.
make_base() {
    mkdir -p "$work/base"
    printf 'name: base\ntargets: [cpu]\npython: "%s"\npackages: [pip]\n' "$PYTHON" >"$work/base/spec.yaml"
    IMGFORGE_CACHE=$work/cache "$IMGFORGE" --quiet build "$work/base/spec.yaml" --push --repository "$registry/base" \
        --output "$work/base/out" >/dev/null
    cp -a "$storage" "$work/storage"
}

reset_registry() {
    find "$storage" -mindepth 1 -delete
    cp -a "$work/storage/." "$storage/"
}

stored() { find "$storage" -path '*/blobs/*' -name data -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
anonymous() { awk '/^AnonPages:/ { print $2 }' /proc/meminfo; }
ticks() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat; }

# Processor seconds of the last command itself, without those of any server.
own() { awk '{ printf "%.1f", $1 + $2 }' "$work/own"; }

# Runs a command and prints a line of the table.
measure() {
    local tool=$1 name=$2 step=$3 before stored_before started processor watcher
    shift 3
    sync
    before=$(anonymous)
    stored_before=$(stored)
    (
        peak=0
        trap 'echo "$peak" >"$work/peak"; exit' TERM
        while :; do
            now=$(anonymous)
            ((now > peak)) && peak=$now
            sleep 0.1
        done
    ) &
    watcher=$!
    processor=$(ticks)
    started=$(date +%s.%N)
    local TIMEFORMAT='%U %S'
    { time "$@" >"$work/out" 2>&1; } 2>"$work/own" || { tail -n 20 "$work/out" >&2 && fail "\`$*\` failed"; }
    local seconds
    seconds=$(awk -v a="$started" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }')
    processor=$(($(ticks) - processor))
    kill "$watcher"
    wait "$watcher" || true
    local size=0
    [[ $tool == curl ]] || size=$(skopeo inspect --tls-verify=false --raw "docker://$registry/$name-$tool:latest" 2>/dev/null |
        python3 -c 'import json, sys; print(sum(layer["size"] for layer in json.load(sys.stdin)["layers"]))' || echo 0)
    awk -v tool="$tool" -v name="$name" -v step="$step" -v seconds="$seconds" -v processor="$processor" \
        -v memory="$(($(cat "$work/peak") - before))" -v sent="$(($(stored) - stored_before))" -v size="$size" 'BEGIN {
        printf "%-8s %-8s %-8s %8.2f %8.1f %7.0f %9.1f %9.1f\n", name, step, tool, seconds, processor / 100, memory / 1024,
            sent / 1e6, size / 1e6 }' | tee -a "$work/rows"
    [[ $tool != imgforge || $step != first ]] || echo "$name own $(own)" >>"$work/alone"
}

# One tool's build and push of CASE/VARIANT. RUN makes a builder forget its layer of wheels.
run_imgforge() {
    IMGFORGE_CACHE=$work/imgforge-cache "$IMGFORGE" --quiet build "$work/$1/$2/spec.yaml" --locked --push \
        --repository "$registry/$1-imgforge" --output "$work/imgforge-out"
}
run_docker() {
    local name=$1 variant=$2
    shift 2
    docker build --progress plain --build-arg "RUN=$run" --build-arg BUILDKIT_INLINE_CACHE=1 "$@" \
        --tag "$registry/$name-docker:latest" "$work/$name/$variant/context" && docker push --quiet "$registry/$name-docker:latest"
}
run_buildah() {
    local flags=(--root "$work/buildah" --runroot "$work/buildah-run")
    # Its cache does not look into bind mounts: the variant is named, else it would take one's layer for the other's.
    buildah "${flags[@]}" build --isolation chroot --layers --tls-verify=false --build-arg "RUN=$run-$2" \
        --tag "$registry/$1-buildah:latest" "$work/$1/$2/context" &&
        buildah "${flags[@]}" push --tls-verify=false --compression-format zstd "$registry/$1-buildah:latest"
}

# Wheels in the tool's own cache, and nothing else.
with_wheels() {
    local name=$1 variant
    case "$tool" in
    imgforge)
        rm -rf "$work/imgforge-cache" "$work/imgforge-out"
        mkdir -p "$work/imgforge-cache"
        cp -al "$work/cache/blobs" "$work/imgforge-cache/"
        ;;
    *)
        for variant in one two; do
            run=$((run + 1))
            "run_$tool" "$name" "$variant" >"$work/out" 2>&1 || { tail -n 20 "$work/out" >&2 && fail "the wheels of $tool"; }
        done
        run=$((run + 1))
        ;;
    esac
}

# One blob, by its file in a layout, into the registry by the fewest requests there are.
push_blob() {
    local place
    place=$(curl --fail --silent --show-error --request POST --output /dev/null --write-out '%header{location}' \
        "http://$registry/v2/ready/blobs/uploads/")
    curl --fail --silent --show-error --output /dev/null --header 'Content-Type: application/octet-stream' \
        --upload-file "$1" "$place&digest=sha256:$(basename "$1")"
}
# shellcheck disable=SC2016  # the inner shell expands it
push_blobs() { xargs --max-procs "$(nproc)" --max-args 1 bash -c 'set -e; push_blob "$0"' <"$1"; }
export -f push_blob
export registry

# All layers of the image are made and lie in memory: what does it take to bring them to a registry that has the base?
bring_ready() {
    local name=$1 ready=$work/ready blob
    IMGFORGE_CACHE=$work/cache "$IMGFORGE" --quiet build "$work/$name/one/spec.yaml" --locked --output "$ready" >/dev/null
    reset_registry
    find "$ready" -path '*/blobs/sha256/*' -type f | while read -r blob; do
        compgen -G "$storage/docker/registry/v2/blobs/sha256/*/$(basename "$blob")" >/dev/null || echo "$blob"
    done >"$work/blobs"
    xargs cat <"$work/blobs" >/dev/null
    measure curl "$name" ready push_blobs "$work/blobs"
    rm -rf "$ready"
}

empty() {
    case "$tool" in
    imgforge) rm -rf "$work/imgforge-cache" "$work/imgforge-out" ;;
    docker)
        docker image rm --force "$registry/$name-docker:latest" >/dev/null
        docker system prune --all --force >/dev/null
        docker builder prune --all --force >/dev/null
        ;;
    buildah)
        # The cache mounts lie beside the storage, below TMPDIR.
        buildah --root "$work/buildah" --runroot "$work/buildah-run" rmi --all --force >/dev/null
        rm -rf "${TMPDIR:-/var/tmp}"/buildah-cache*
        ;;
    esac
}

echo "$("$IMGFORGE" --version), Docker $(docker version --format '{{.Server.Version}}'), $(buildah --version 2>/dev/null | cut -d' ' -f1-3), $("$UV" --version | cut -d' ' -f1,2), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
printf '%-8s %-8s %-8s %8s %8s %7s %9s %9s\n' case step tool seconds cpu MB 'sent MB' 'image MB'
make_base
(($#)) || set -- science torch
run=$RANDOM
for name in "$@"; do
    prepare "$name" one 2.1.3
    prepare "$name" two 2.1.2
    # Wheels of both variants, by a build of each.
    for variant in one two; do
        IMGFORGE_CACHE=$work/cache "$IMGFORGE" --quiet build "$work/$name/$variant/spec.yaml" --locked --output "$work/warm" >/dev/null
    done
    rm -rf "$work/warm"
    mapfile -t wheels < <(sed -n 's/.*--hash=sha256:\([0-9a-f]*\).*/\1/p' "$work/$name/one/context/requirements.txt" |
        while read -r hash; do find "$work/cache/blobs/sha256/${hash:0:2}" -name "${hash:2}" 2>/dev/null; done)
    for ((round = 0; round < rounds; round++)); do
        TIMEFORMAT='%U %S'
        { time "$floor" "${wheels[@]}" >"$work/out"; } 2>"$work/own"
        printf '%-8s %-8s %-8s %8.2f %8.1f\n' "$name" floor - "$(cat "$work/out")" "$(own)" | tee -a "$work/rows"
        bring_ready "$name"
        for tool in "${tools[@]}"; do
            reset_registry
            with_wheels "$name"
            reset_registry
            measure "$tool" "$name" first "run_$tool" "$name" one
            measure "$tool" "$name" changed "run_$tool" "$name" two
            measure "$tool" "$name" nothing "run_$tool" "$name" two
            reset_registry
            run=$((run + 1))
            "run_$tool" "$name" one >/dev/null 2>&1
            empty
            case "$tool" in
            docker) measure "$tool" "$name" fresh run_docker "$name" two --cache-from "$registry/$name-docker:latest" ;;
            *) measure "$tool" "$name" fresh "run_$tool" "$name" two ;;
            esac
            empty
        done
    done
done

echo
echo "seconds of the others for one second of imgforge, of the minimum of each"
awk '$2 != "floor" { key = $1 " " $2; if (!((key, $3) in best) || $4 < best[key, $3]) best[key, $3] = $4; keys[key] = 1; tools[$3] = 1 }
    $2 == "floor" { if (!($1 in floor) || $4 < floor[$1]) floor[$1] = $4 }
    END { for (key in keys) for (tool in tools) if (tool != "imgforge" && (key, tool) in best && best[key, "imgforge"] > 0)
            printf "%-17s %-8s %6.1f\n", key, tool, best[key, tool] / best[key, "imgforge"]
        for (name in floor) if ((name " first", "imgforge") in best)
            printf "%-17s of floor %6.2f\n", name " first", best[name " first", "imgforge"] / floor[name] }' "$work/rows" | sort
echo
echo "processor seconds of imgforge itself, the registry's left out, for one of the floor"
awk '$2 == "own" && (!($1 in own) || $3 < own[$1]) { own[$1] = $3 } $2 == "floor" && (!($1 in floor) || $5 < floor[$1]) { floor[$1] = $5 }
    END { for (name in own) printf "%-17s %.1f of %.1f: %6.2f\n", name " first", own[name], floor[name], own[name] / floor[name] }' \
    "$work/alone" "$work/rows"
echo
echo "seconds of imgforge for one of floor and ready: their processor seconds together, shared by all processors"
awk -v processors="$(nproc)" '{ key = $1 " " ($2 == "floor" ? $2 : $2 " " $3) }
    !((key, "seconds") in least) || $4 < least[key, "seconds"] { least[key, "seconds"] = $4 }
    !((key, "cpu") in least) || $5 < least[key, "cpu"] { least[key, "cpu"] = $5 }
    { names[$1] = 1 }
    END { for (name in names) if ((name " first imgforge", "seconds") in least) {
        both = (least[name " floor", "cpu"] + least[name " ready curl", "cpu"]) / processors
        took = least[name " first imgforge", "seconds"]
        printf "%-17s %.2f of %.2f: %6.2f\n", name " first", took, both, took / both } }' "$work/rows" | sort
