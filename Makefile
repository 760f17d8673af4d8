# What isn't cargo's: a static binary, and the image of it. `just` lists the everyday commands.

TARGET ?= $(shell uname -m)-unknown-linux-musl
IMAGE ?= npchat
BUILDER ?= $(firstword $(foreach tool,docker podman buildah,$(shell command -v $(tool) 2>/dev/null)))

.PHONY: build static

# The image: make build && docker run -p 8000:8000 npchat
build: static
	@test -n "$(BUILDER)" || { echo "docker, podman or buildah is needed" >&2; exit 1; }
	$(BUILDER) build --tag $(IMAGE) --file deploy/Containerfile target/image

# target/image/npchatd, which needs no file but itself. The C of aws-lc and mimalloc takes a compiler for musl.
static:
	@command -v musl-gcc >/dev/null || { echo "musl-gcc is needed: apt-get install musl-tools" >&2; exit 1; }
	rustup target add $(TARGET)
	CARGO_PROFILE_RELEASE_STRIP=true cargo build --release --locked --bin npchatd --target $(TARGET)
	mkdir -p target/image
	cp target/$(TARGET)/release/npchatd target/image/npchatd
	ls -l target/image/npchatd
