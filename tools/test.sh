#!/bin/sh
# The test suite: test.sh PYTEST [arguments]. Most tests wait, so four run at a time;
# those of durable mode wait for the disk and have it for themselves; `make docs` has its own.
set -eu
pytest=$1
shift
[ $# -eq 0 ] || exec "$pytest" "$@"
status=0
"$pytest" -n 4 --dist loadfile --no-loadscope-reorder --ignore tests/live/durable --ignore tests/chaos --ignore tests/docs || status=$?
"$pytest" tests/live/durable tests/chaos || status=$?
exit $status
