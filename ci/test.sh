#!/bin/sh
# usage: ci/test.sh MAKE PART...
# Runs every part of the tests with make, whatever fails before it, and lists at the
# end what failed.
set -eu
make=$1
shift
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
trap 'exit 130' INT TERM
failed=
for part in "$@"; do
	rm -f "$log/passed"
	{ $make --no-print-directory "$part" 2>&1 && : >"$log/passed"; } | tee "$log/$part"
	[ -e "$log/passed" ] || failed="$failed $part"
done
[ -n "$failed" ] || { echo "make test: all parts passed: $*"; exit 0; }
for part in $failed; do
	echo "make test: $part failed:"
	# go test's, ginkgo's and the score's words for a failure; else the end of the log
	grep -E '^ *--- FAIL|^FAIL|^panic:|^ *\[(FAIL|TIMEDOUT|PANICKED|INTERRUPTED)\]|: not all right: ' "$log/$part" ||
		tail -n 20 "$log/$part"
done
exit 1
