#!/bin/sh
# accounts.sh ACCOUNT...
#
# Creates the accounts in the forge that do not exist, stores a token of each in $tokens, and has the forge
# at $forge send its events to $events. The account `hive` is an administrator: it owns the mirrored
# repositories and makes the webhook. Runs as root, and Forgejo's program as $forge_user. Prints no secret.
set -eu
umask 077

as_forge() {
    setpriv --reuid="$forge_user" --regid="$forge_group" --clear-groups --inh-caps=-all -- "$@"
}

status=0
users=$(as_forge forgejo admin user list | awk '{ print $2 }')
for account in hive "$@"; do
    if ! echo "$users" | grep -qxF -e "$account"; then
        admin=
        [ "$account" != hive ] || admin=--admin
        # The random password is printed: nobody needs it, the token logs in.
        if ! said=$(as_forge forgejo admin user create --username "$account" \
            --email "$account@localhost" --random-password --must-change-password=false $admin 2>&1); then
            echo "The account $account could not be created: $(echo "$said" | tail -n 1)" >&2
            status=1
            continue
        fi
    fi
    if [ ! -s "$tokens/$account" ]; then
        scopes=write:repository,write:issue,write:notification,read:user,read:organization,read:misc
        [ "$account" != hive ] || scopes=all
        # The name is new each time: the token of a lost file is still there.
        if as_forge forgejo admin user generate-access-token --username "$account" \
            --token-name "host-$(date +%s)" --scopes "$scopes" --raw > "$tokens/.$account.new"; then
            mv "$tokens/.$account.new" "$tokens/$account"
            # It has started without the token.
            systemctl --no-block stop "hive-gateway@$account.service" || true
        else
            rm -f "$tokens/.$account.new"
            echo "No token for the account $account could be made." >&2
            status=1
        fi
    fi
done

# As hive; the token and the secret are in no argument, which every user of the host can read. Forgejo may
# not listen yet.
api() {
    printf 'header = "Authorization: token %s"\n' "$(cat "$tokens/hive")" \
        | curl --silent --show-error --fail --max-time 60 --retry 5 --retry-connrefused --config - "$@"
}

hooks="$forge/api/v1/admin/hooks"
[ -s "$tokens/hive" ] || exit 1
made=$(api "$hooks" | jq --raw-output --arg url "$events" '.[] | select(.config.url == $url) | .id')
if [ -z "$made" ] || [ ! -s "$tokens/webhook" ]; then
    # The secret of a webhook cannot be read or changed.
    for id in $made; do
        api --request DELETE "$hooks/$id"
    done
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$tokens/.webhook.new"
    jq --null-input --arg url "$events" --rawfile secret "$tokens/.webhook.new" '{
        type: "gitea", active: true, is_system_webhook: true, events: ["issues", "pull_request"],
        config: { url: $url, content_type: "json", secret: $secret, is_system_webhook: "true" }
    }' > "$tokens/.hook.json"
    api --request POST --header 'Content-Type: application/json' --data "@$tokens/.hook.json" \
        --output /dev/null "$hooks"
    rm "$tokens/.hook.json"
    mv "$tokens/.webhook.new" "$tokens/webhook"
    # It has started with another secret, or without one.
    systemctl --no-block stop hive-forge.service || true
fi
systemctl --no-block start hive-forge.socket || true
exit "$status"
