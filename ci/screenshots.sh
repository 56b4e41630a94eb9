#!/bin/sh
# usage: ci/screenshots.sh UNWEDGE CHROMIUM
# Makes the README's pictures, harness/report/report.png and harness/history/grid.png, of
# real boots: a page of `unwedge report`, and the grid of `unwedge serve`.
set -eu
unwedge=$1 chromium=$2
dir=$(mktemp -d)
export UNWEDGE_STATE="$dir/state"
server=
# shellcheck disable=SC2086 # none, or one
trap 'kill $server 2>/dev/null || true; rm -rf "$dir"' EXIT

picture() { # FILE SIZE URL
	"$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
		--user-data-dir="$dir/profile" --screenshot="$1" --window-size="$2" "$3" 2>/dev/null
}

old=deb:linux-image-cloud-amd64@bookworm new=deb:linux-image-cloud-amd64@trixie-backports
"$unwedge" mutate "$new" --at try_to_generate_entropy -o "$dir/starved"
"$unwedge" boot -s random --entropy none "$dir/starved" || test $? = 1
"$unwedge" report --format html -o "$dir/run.html" "$UNWEDGE_STATE"/runs/*
picture "$PWD/harness/report/report.png" 900,860 "file://$dir/run.html"

for kernel in "$old" "$new" "$dir/starved"; do
	"$unwedge" matrix -s tiny -s random "$kernel" || test $? = 1
done
"$unwedge" serve --listen 127.0.0.1:0 >"$dir/address" 2>&1 &
server=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
	grep -q http "$dir/address" && break
	sleep 1
done
picture "$PWD/harness/history/grid.png" 900,345 "$(grep -o 'http://[^ ]*' "$dir/address" | head -1)"
