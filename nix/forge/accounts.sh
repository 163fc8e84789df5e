#!/bin/sh
# accounts.sh ACCOUNT...
#
# Creates the accounts in the forge that do not exist, and stores a token of each in $tokens. The account
# `hive` is an administrator: it owns the mirrored repositories. Prints no secret.
set -eu
umask 077

status=0
for account in hive "$@"; do
    if ! forgejo admin user list | awk '{ print $2 }' | grep -qxF -e "$account"; then
        admin=
        [ "$account" != hive ] || admin=--admin
        # The random password is printed: nobody needs it, the token logs in.
        if ! said=$(forgejo admin user create --username "$account" --email "$account@localhost" \
            --random-password --must-change-password=false $admin 2>&1); then
            echo "The account $account could not be created: $(echo "$said" | tail -n 1)" >&2
            status=1
            continue
        fi
    fi
    if [ ! -s "$tokens/$account" ]; then
        scopes=write:repository,write:issue,write:notification,read:user
        [ "$account" != hive ] || scopes=all
        # The name is new each time: the token of a lost file is still there.
        if forgejo admin user generate-access-token --username "$account" \
            --token-name "host-$(date +%s)" --scopes "$scopes" --raw > "$tokens/.$account.new"; then
            mv "$tokens/.$account.new" "$tokens/$account"
        else
            rm -f "$tokens/.$account.new"
            echo "No token for the account $account could be made." >&2
            status=1
        fi
    fi
done
exit "$status"
