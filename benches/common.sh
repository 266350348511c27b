# Shared by the scripts beside it: the programs to compare, specs and requirement files of the sets, and small tools.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

# imgforge: IMGFORGE, else the release build of this checkout.
find_imgforge() {
    if [[ -z "${IMGFORGE:-}" ]]; then
        cargo build --release --quiet
        IMGFORGE=$PWD/target/release/imgforge
    fi
    [[ -x "$IMGFORGE" ]] || fail "\`$IMGFORGE\` is no program"
}

# uv: UV, else the one on PATH, else one in a virtual environment below target.
find_uv() {
    UV=${UV:-$(command -v uv || true)}
    if [[ -z "$UV" ]]; then
        [[ -x target/bench-venv/bin/uv ]] || {
            python3 -m venv target/bench-venv
            target/bench-venv/bin/pip install --quiet uv
        }
        UV=$PWD/target/bench-venv/bin/uv
    fi
    # Named, so that uv does not spend its time on looking for one.
    UV_INTERPRETER=$(python3 -c 'import sys; print(sys.executable)')
}

# Writes FOLDER/SET/spec.yaml and requirements.in for a set of benches/sets. A set for other machines than processors
# begins with `# targets: [CARD]`.
write_set() {
    local folder=$1/$2 targets
    mkdir -p "$folder"
    cp "benches/sets/$2.txt" "$folder/requirements.in"
    targets=$(sed -n 's/^# targets: //p' "benches/sets/$2.txt")
    {
        printf 'name: %s\ntargets: %s\npython: "%s"\npackages:\n' "$2" "${targets:-[cpu]}" "$PYTHON"
        sed '/^#/d; s/.*/  - "&"/' "benches/sets/$2.txt"
    } >"$folder/spec.yaml"
}

# Names of the sets: the arguments, else all.
sets() {
    if (($#)); then
        printf '%s\n' "$@"
    else
        basename -s .txt benches/sets/*.txt
    fi
}

# Sets uv_command to `uv pip compile` for the interpreter and glibc of the base that imgforge takes for $PYTHON, wheels only.
uv_compile() {
    local folder=$1
    shift
    # shellcheck disable=SC2034  # for whoever sources this
    uv_command=("$UV" pip compile --quiet --no-header --no-annotate --only-binary :all:
        --python "$UV_INTERPRETER" --python-version "$PYTHON_RELEASE" --python-platform "x86_64-manylinux_${GLIBC/./_}"
        --cache-dir "$folder/uv-cache" "$@" -o "$folder/uv.txt" "$folder/requirements.in")
}

# What both solve for: the base of Debian packages for this line, see `catalog/base.yaml`.
PYTHON=${PYTHON:-3.11}
PYTHON_RELEASE=${PYTHON_RELEASE:-3.11.2}
GLIBC=${GLIBC:-2.36}
