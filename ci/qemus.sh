#!/bin/sh
# usage: ci/qemus.sh GO JOBS RELEASE...
# Runs the core of the hang suite on the QEMU of each Debian release, which is unpacked
# beside the system's own, and lists at the end what failed.
set -eu
go=$1 jobs=$2
shift 2
failed=
for release in "$@"; do
	dir=$($go run ./suites/internal/debroot/qemu "$release")
	echo "qemus: $release: $("$dir/qemu-system-x86_64" --version | head -n 1)"
	PATH="$dir:$PATH" $go tool ginkgo -v -p --procs="$jobs" --no-color --timeout=6h --label-filter=core ./suites/hang ||
		failed="$failed $release"
done
[ -z "$failed" ] || { echo "qemus: failed on the QEMU of:$failed"; exit 1; }
