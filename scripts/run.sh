#!/bin/sh
# run.sh COMMAND VARIABLE... -- ARGUMENT...
# Run COMMAND with --variable value for each named variable that is set and not empty, then the arguments.
set -eu
command=$1
shift
names=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    names="$names $1"
    shift
done
shift
for name in $names; do
    value=$(printenv "$name" || true)
    if [ -n "$value" ]; then
        option=$(printf '%s' "$name" | tr 'A-Z_' 'a-z-')
        set -- "--$option" "$value" "$@"
    fi
done
echo "$command $*"
exec "$command" "$@"
