#!/bin/sh
# mirror.sh REPOSITORIES URL
#
# Pushes the branches and tags of meta and of all agents' configurations below REPOSITORIES to the account
# `hive` of the forge at URL, which creates the repositories, private ones. Tags are not forced: an
# approved commit keeps its tag.
set -u

# The repositories belong to another user.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_TERMINAL_PROMPT=0

status=0
push() {
    # Not in the URL: arguments can be read by every user.
    # shellcheck disable=SC2016
    git -C "$1" -c credential.helper= \
        -c credential.helper='!f() { echo username=hive; echo "password=$(cat "$CREDENTIALS_DIRECTORY/token")"; }; f' \
        push --quiet --prune "$2" '+refs/heads/*:refs/heads/*' 'refs/tags/*:refs/tags/*' || {
        echo "$1 could not be pushed to $2" >&2
        status=1
    }
}

push "$1/meta" "$2/hive/meta.git"
for repository in "$1"/applied/*; do
    [ -d "$repository" ] || continue
    push "$repository" "$2/hive/agent-$(basename "$repository" .git).git"
done
exit "$status"
