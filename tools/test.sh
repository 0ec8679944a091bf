#!/bin/sh
# The test suite: test.sh PYTEST [arguments]. Most tests wait, so four run at a time;
# those of durable mode wait for the disk and have it for themselves; `make docs` has its own.
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
suite "" tests/live/durable tests/chaos || status=1
exit $status
