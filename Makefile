# make help tells what there is. Everything is one Go command, ./harness, built
# here and called; its own exit status is 1 when the program is wrong, 2 when
# this machine cannot test it, 3 when the harness broke.

export CGO_ENABLED = 0
MAKEFLAGS += --no-print-directory
HARNESS = .build/harness

# What make kit makes, unpacked here, is used instead of the network.
ifneq ($(wildcard .kit/mod),)
export GOMODCACHE := $(CURDIR)/.kit/mod
export CFS_CACHE := $(CURDIR)/.kit/cache
export GOPROXY := off
endif

# "make test-step 3", "make start 3" and so on take their number as a word: those
# words are no targets of any other command.
ifneq ($(filter start watch test-step mutants demo,$(firstword $(MAKECMDGOALS))),)
ifneq ($(word 3,$(MAKECMDGOALS)),)
$(error one number at a time: make $(firstword $(MAKECMDGOALS)) $(word 2,$(MAKECMDGOALS)))
endif
ifneq ($(word 2,$(MAKECMDGOALS)),)
N := $(word 2,$(MAKECMDGOALS))
.PHONY: $(word 2,$(MAKECMDGOALS))
$(word 2,$(MAKECMDGOALS)): ; @:
endif
endif

ifneq ($(filter map kit shell doctor,$(firstword $(MAKECMDGOALS))),)
ifneq ($(word 2,$(MAKECMDGOALS)),)
$(error make $(firstword $(MAKECMDGOALS)) takes no $(word 2,$(MAKECMDGOALS)))
endif
endif

.PHONY: help doctor start watch test-step shell map demo kit test lint carry mutants conformance bench engines harness

help: ## this list
	@echo 'learner'
	@echo '  make doctor           what this machine is good for, and how to mend the rest'
	@echo '  make start            your own program, in work/ (make start 4: from our step 03)'
	@echo '  make watch            try its facts on every save, with hints (make watch 2: of step 2)'
	@echo '  make test-step 3      try every fact of step 3 on steps/03-mount'
	@echo '                        PROGRAM=./work tries them on your program'
	@echo '                        RUN=hostname  only those with this text in their name'
	@echo '  make shell            a shell in a throwaway machine, with the steps in PATH'
	@echo 'instructor'
	@echo '  make map              what each step shares with the host: here, and as a page'
	@echo '  make demo 3           the attack of step 3 in two panes: the host, a container'
	@echo '  make kit              an archive for machines without internet, or without Debian'
	@echo 'maintainer'
	@echo '  make test             everything, in the best sandbox that works here'
	@echo '  make lint             gofmt, and vet for linux, darwin and windows'
	@echo '  make carry            copy what first appears elsewhere: files of steps, listings and transcripts in texts'
	@echo '  make mutants          delete one statement at a time; a fact must fail (N=3: one step)'
	@echo '  make conformance      the validation suite of the OCI: in a VM with v1, with v2, and on this host'
	@echo '  make bench            what a start costs, beside runc, crun, bwrap and unshare'
	@echo '  make engines          podman, docker and containerd, those that are installed, with our runtime'
	@echo 'variables'
	@echo '  SANDBOX=vm            where: a virtual machine (QEMU); CGROUP=v2|v1|hybrid, KERNEL=dir,'
	@echo '                        ACCEL=auto|kvm|tcg and ARCH=amd64|arm64 say which'
	@echo '          container     a privileged container of docker or podman'
	@echo '          host          namespaces of its own on this machine, as root'
	@echo '          user          the same without root: less can be tried'
	@echo '          auto          the first of these that works here (the default)'
	@echo '  PROGRAM=dir|file      whose program; RUN=text which facts; V=1 every failure in full'
	@echo '  MUST_RUN=1            a skip that harness/checks/skips.txt does not list is a failure'
	@echo '  RUNTIME=dir|file|command  whose OCI runtime: the last three'

harness: # without the commit in it, for which each new one would link it again
	@command -v go >/dev/null || { echo 'Go 1.26 is needed (from 1.21 on it fetches that itself): https://go.dev/dl' >&2; exit 2; }
	@test -x $(HARNESS) || echo 'building the harness (a minute, the first time)' >&2
	@go build -buildvcs=false -o $(HARNESS) ./harness

doctor: harness ## what this machine is good for
	@$(HARNESS) doctor

start: harness ## the program that a step begins with
	@$(HARNESS) start $(N)

watch: harness ## the learner's loop
	@$(HARNESS) watch $(N)

test-step: harness ## the facts of one step
	@$(HARNESS) test-step $(N)

shell: harness ## a shell in a sandbox
	@$(HARNESS) shell

map: harness ## what each step shares with the host
	@$(HARNESS) map

demo: harness ## the attack of one step, shown
	@$(HARNESS) demo $(N)

kit: harness ## all that is fetched, as one archive
	@$(HARNESS) kit

test: harness ## every test
	@$(HARNESS) test

mutants: harness ## can the facts fail
	@$(HARNESS) mutants $(N)

conformance: harness ## the OCI's validation suite
	@$(HARNESS) conformance

bench: harness ## what a start costs
	@$(HARNESS) bench

engines: harness ## podman, docker and containerd
	@$(HARNESS) engines

carry: harness ## bring the later steps, the listings and the transcripts up to date
	@go test ./harness -run TestCarried -count=1 -update
	@go test ./harness/docs -count=1 -update
	@go test ./harness/isolation -count=1 -update
	@$(HARNESS) record

OURS = steps harness # and not work/, which is the learner's
TESTDATA = ./harness/testdata/00-none ./harness/testdata/broken

lint: ## gofmt and vet
	@test -z "$$(gofmt -l $(OURS))" || { gofmt -l $(OURS); echo 'gofmt would change these'; exit 1; }
	@for os in linux darwin windows; do GOOS=$$os go vet ./steps/... ./harness/... && GOOS=$$os go build -o /dev/null ./steps/... ./harness/... || exit 1; done
	@GOOS=linux go vet $(TESTDATA)
	@echo 'lint: gofmt, and vet for linux, darwin and windows: nothing to say'
