# The habits. CMake presets do the work; what is tested is what ships: demo, run, test, bench and
# crash share one build, the release preset. Each target first sees to the packages it needs
# (tools/setup; in a blink when they are there).
#
#   make demo     two queues at work, from nothing, in a few minutes
#   make run      a server on ./var, in the foreground
#   make test     build, then all tests and the lint
#   make bench    speed, beside its peers (BENCH=--full for the long one); bench-disk: the same
#                 with 1 and 5 ms added to each sync
#   make crash    kill -9 at random moments under load (ROUNDS=50; CRASH='--kill worker')
#   make lint     formatting, layers, clang-tidy        make fmt    formats the C++ files
#   make asan     unit, fuzz and e2e tests under AddressSanitizer and UBSan; make tsan: threads
#   make fuzz     each fuzz target for FUZZ_SECONDS=60
#   make damage   bit flips and edited rows, found and survived (ROUNDS=50)
#   make install  rq and its systemd unit (PREFIX=/usr/local, DESTDIR=), after make build
#   make setup    all packages      make build      make clean

JOBS ?= $(shell nproc)
ROUNDS ?= 50
FUZZ_SECONDS ?= 60
PREFIX ?= /usr/local
RQ_BINARY ?= build/release/rq
CTEST = ctest --output-on-failure --no-tests=error --no-label-summary -j$(JOBS)

.DEFAULT_GOAL := build
.PHONY: demo run test bench bench-disk crash damage lint fmt asan tsan fuzz setup build install clean

demo:
	@tools/setup build test
	@$(MAKE) --no-print-directory binary
	tools/demo

run:
	@tools/setup build
	@$(MAKE) --no-print-directory binary
	build/release/rq server

test:
	@tools/setup build lint test
	@$(MAKE) --no-print-directory compile-release
	$(CTEST) --test-dir build/release

bench:
	@tools/setup build bench
	@$(MAKE) --no-print-directory compile-release
	bench/run $(BENCH)

bench-disk:
	@tools/setup build bench
	@$(MAKE) --no-print-directory compile-release
	bench/run --disk $(BENCH)

crash:
	@tools/setup build test
	@$(MAKE) --no-print-directory binary
	RQ_BIN=$(CURDIR)/build/release/rq python3 test/e2e/crash.py --rounds $(ROUNDS) $(CRASH)

damage:
	@tools/setup build test
	@$(MAKE) --no-print-directory binary
	RQ_BIN=$(CURDIR)/build/release/rq python3 test/e2e/damage.py --rounds $(ROUNDS) $(DAMAGE)

lint:
	@tools/setup build lint
	@$(MAKE) --no-print-directory build/release/build.ninja
	$(CTEST) --test-dir build/release -L lint

fmt:
	@tools/setup lint
	tools/format

asan tsan:
	@tools/setup build test
	@$(MAKE) --no-print-directory compile-$@
	$(CTEST) --test-dir build/$@ -LE lint

fuzz:
	@tools/setup build fuzz
	@$(MAKE) --no-print-directory compile-fuzz
	tools/fuzz build/fuzz $(FUZZ_SECONDS)

setup:
	@tools/setup build lint test fuzz bench

build:
	@tools/setup build
	@$(MAKE) --no-print-directory compile-release

# Builds nothing, so that it can be run as root.
install:
	@test -x $(RQ_BINARY) || { echo "there is no $(RQ_BINARY): make build makes it" >&2; exit 1; }
	install -D -m 0755 $(RQ_BINARY) $(DESTDIR)$(PREFIX)/bin/rq
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' tools/rq.service | \
	  install -D -m 0644 /dev/stdin $(DESTDIR)/etc/systemd/system/rq.service

clean:
	rm -rf build

# The binary alone, for those who want to see it work: a third of the files.
.PHONY: binary
binary: build/release/build.ninja
	cmake --build --preset release -j $(JOBS) --target rq

# compile-<preset>: configured when it never was or the presets changed; CMake sees to the rest.
.PHONY: compile-release compile-asan compile-tsan compile-fuzz
compile-release compile-asan compile-tsan compile-fuzz: compile-%: build/%/build.ninja
	cmake --build --preset $* -j $(JOBS)

build/%/build.ninja: CMakePresets.json
	cmake --preset $*
	@touch $@
