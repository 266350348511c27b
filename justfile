# What contributors type. `just` lists it.

_default:
    @just --list --unsorted

# fast checks while editing: formatting, lints, the tests of the modules
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test --lib

# everything, or the tests whose name holds FILTER; needs root for the Docker engine of the tests
test *FILTER:
    tests/run {{ FILTER }}

# rewrite the golden files, then look at the difference before committing it
bless *FILTER:
    INSTA_UPDATE=always BLESS=1 cargo test -- {{ FILTER }}
    git diff --stat

# look for inputs that break a reader of foreign bytes: `just fuzz wheel 600`; see fuzz/README.md
fuzz TARGET SECONDS:
    cargo +nightly fuzz run {{ TARGET }} -- -max_total_time={{ SECONDS }} -rss_limit_mb=2048 -malloc_limit_mb=512 -timeout=30

# exactly what CI runs
ci:
    .ci/run
