#!/bin/sh
# usage: template-inside.sh PACKAGE SCRIPT KERNEL
# Runs in a fresh Debian root: does the steps of a CI template, which `go run ./ci/steps`
# has written into SCRIPT, in a project's directory that holds a kernel package, as the
# job before it would have left it. PACKAGE is what the steps download; KERNEL is the
# package that depends on the kernel.
set -eu
package=$1 script=$2 kernel=$3

mkdir -p /builds/project/kernel
cd /builds/project
apt-get update -q >/dev/null
image=$(apt-cache depends "$kernel" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
(cd kernel && apt-get download -q -o APT::Sandbox::User=root "$image" >/dev/null)
ln kernel/linux-image-*.deb .
# The steps begin where a runner's image does.
rm -rf /var/lib/apt/lists/*

export UNWEDGE_PACKAGE="file://$package"
export CI=true CI_PROJECT_DIR=/builds/project
export GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=/root/summary.md
bash "$script" >/root/steps.log 2>&1 || { tail -n 40 /root/steps.log; echo "dist-test: the steps failed"; exit 1; }
tail -n 12 /root/steps.log
if grep -q GITHUB_STEP_SUMMARY "$script" && [ ! -s "$GITHUB_STEP_SUMMARY" ]; then
	echo "dist-test: no summary"
	exit 1
fi
