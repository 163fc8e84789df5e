#!/bin/sh
# install-data.sh DATA PREFIX
#
# Installs the units, policies, scripts and pages in DATA below PREFIX, with the paths of an ordinary
# installation replaced by those of the store. package.nix runs this, and tests/test_nix_package.py.
#
# The environment names the packages whose programs the files start: $systemd, $util_linux,
# $coreutils, and the shell itself: $shell.
set -eu
export LC_ALL=C

data=$1
prefix=$2

# buildEnv links a directory that only one package has. To add files to it, make it a real one.
(cd "$data" && find . -type d | sort) | while IFS= read -r folder; do
    if [ -L "$prefix/$folder" ]; then
        target=$(readlink -f "$prefix/$folder")
        rm "$prefix/$folder"
        mkdir "$prefix/$folder"
        find "$target" -mindepth 1 -maxdepth 1 -exec ln -s {} "$prefix/$folder/" \;
    fi
    mkdir -p "$prefix/$folder"
done

# systemd finds programs without a path only beside its own, so `mount` gets one. In a container,
# PATH is that of NixOS.
(cd "$data" && find . -type f) | while IFS= read -r file; do
    sed \
        -e "s|/usr/lib/hyperhive|$prefix|g" \
        -e "s|/usr/lib/systemd/systemd-socket-proxyd|$systemd/lib/systemd/systemd-socket-proxyd|g" \
        -e "s|PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin|PATH=/run/wrappers/bin:/run/current-system/sw/bin|" \
        -e "s#^\(Exec[A-Za-z]*=-*\)\(busctl\|systemctl\) #\1$systemd/bin/\2 #" \
        -e "s|^\(Exec[A-Za-z]*=-*\)mount |\1$util_linux/bin/mount |" \
        -e "s|^\(Exec[A-Za-z]*=-*\)/bin/rm |\1$coreutils/bin/rm |" \
        "$data/$file" > "$prefix/$file"
done

# The init of containers runs before they have a PATH, or a /bin/sh.
init=$prefix/share/hyperhive/hive-init.sh
if [ -e "$init" ]; then
    sed -i \
        -e "1s|^#!.*|#!$shell|" \
        -e "s|^\( *\)mount |\1$util_linux/bin/mount |" \
        -e "s|^exec setpriv |exec $util_linux/bin/setpriv |" \
        "$init"
    chmod +x "$init"
fi
