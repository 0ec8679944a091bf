#!/bin/sh
# The test suite: test.sh PYTEST [arguments]. Most tests wait, so four run at a time;
# those of durable mode watch the clock more closely, two at a time. Their stores sync for
# every block, so they lie in memory where there is some: it is processes that are killed
# here, not machines, and a shared disk takes five times as long. `make docs` has its own.
# What failed runs once more, alone (CONTRIBUTING.md says why, and what does not).
set -eu
pytest=$1
shift
[ $# -eq 0 ] || exec "$pytest" "$@"
again() {
    printf '\n==== once more, alone: what failed\n'
    SEQCACHE_TEST_AGAIN=1 "$pytest" --last-failed --last-failed-no-failures none "$@"
}
suite() { # suite "OPTIONS OF THE FIRST RUN" ARGUMENTS...
    first=$1
    shift
    # shellcheck disable=SC2086
    "$pytest" $first "$@" || again "$@"
}
status=0
suite "-n 4 --dist loadfile --no-loadscope-reorder" \
    --ignore tests/live/durable --ignore tests/chaos --ignore tests/docs || status=1
room=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ "${room:-0}" -gt 1048576 ] && memory=$(mktemp -d /dev/shm/seqcache-XXXXXX); then
    trap 'rm -rf "$memory"' EXIT
    trap 'exit 130' INT TERM
    chmod 755 "$memory" # PostgreSQL does not run as root
    export TMPDIR=$memory
fi
suite "-n 2 --dist loadfile --no-loadscope-reorder" tests/live/durable tests/chaos || status=1
exit $status
