#!/bin/bash
# PID 1 of the host. It runs each script that is put into the share, by a number that
# comes through the port, and answers with the number and the script's exit status.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /run /tmp /share /lower /rw "$CACHE"
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t tmpfs rw /rw
while read -r module; do insmod "/modules/$module" || echo "nest: no module $module"; done </modules/order
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 share /share
# Read when it is asked for: what the program keeps from earlier boots.
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,ro,cache=loose cache /lower
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work overlay "$CACHE"
cp /share/unwedge /usr/bin/unwedge
ip link set lo up 2>/dev/null
ls -l /dev/kvm

for port in /sys/class/virtio-ports/*; do exec 3<>"/dev/${port##*/}"; done
run() { # its number
	mkdir -p "/run/$1"
	cd "/run/$1" || return
	bash "/share/$1/script" >"/share/$1/stdout" 2>"/share/$1/stderr" </dev/null 3>&-
	status=$?
	# Sockets stay here, and whatever is as large as a guest's memory.
	find . -type f -size -64M -exec cp --parents -t "/share/$1" {} +
	cd / && rm -rf "/run/$1"
	echo "$1 $status" >&3
}
echo ready >&3
while read -r number <&3; do run "$number"; done
echo o >/proc/sysrq-trigger
sleep 60
