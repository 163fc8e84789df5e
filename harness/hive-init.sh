#!/bin/sh
# Runs as PID 1 of an agent's container, before the container's systemd and before anything of the
# agent. Sets the kernel limits of the container's user namespace, then gives up the capability
# with which they could be raised again: neither root in the container nor a namespace that it makes
# gets that capability back.
#
# hive-init "LIMIT=NUMBER ..." INIT [ARGUMENT ...]
set -eu

mount -o remount,bind,rw /proc/sys
for limit in $1; do
    file=/proc/sys/user/${limit%%=*}
    # Older kernels do not know all limits.
    [ ! -e "$file" ] || echo "${limit#*=}" > "$file"
done
mount -o remount,bind,ro /proc/sys
shift
exec setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource -- "$@"
