# The everyday commands. What holds before a change goes in is .ci/run, what runs for hours is .ci/nightly.

# These recipes, with what they do.
_list:
    @just --list --unsorted

# Builds the server and starts it on port 8000; options follow.
run *options:
    cargo run --release --locked -- {{options}}

# All tests, or those whose names match.
test *names:
    cargo test --workspace --locked {{names}}

# Format and lints.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# What each step of a message's way costs, or those steps whose names match.
bench *names:
    cargo bench --locked -- {{names}}

# One fuzz target for so many seconds; `cargo fuzz list` names the targets.
fuzz target seconds='60':
    mkdir -p fuzz/corpus/{{target}}
    cargo +nightly fuzz run {{target}} fuzz/corpus/{{target}} fuzz/seeds/{{target}} -- \
        -max_total_time={{seconds}} -max_len=16384 -timeout=60 -malloc_limit_mb=64

# So many seeds of the simulator.
simulate seeds='20000':
    SIMULATION_SEEDS={{seeds}} cargo test --locked --test simulation --config profile.dev.opt-level=2

# The documentation of the code.
doc:
    cargo doc --no-deps --locked --open

# The static binary, and the image of it.
image:
    make build

# All that must hold before a change goes in.
gate:
    .ci/run

# What finds more the longer it runs: fuzzing, simulation, Miri, mutants, advisories.
nightly:
    .ci/nightly
