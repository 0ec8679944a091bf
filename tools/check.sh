#!/bin/sh
# What a machine can say about the sources; runs all of it, fails if any of it fails.
failed=
step() {
    name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}
allow=tests/typing/stubtest.allow
step ruff ruff check
step format ruff format --check
step mypy mypy seqcache _seqcache_pytestplugin.py tools $([ -d tests/typing ] && echo tests/typing)
[ ! -e seqcache/_native.pyi ] ||
    step stubtest python -m mypy.stubtest seqcache._native $([ -f $allow ] && echo --allowlist $allow)
step stylecheck python tools/stylecheck.py
[ -z "$failed" ] && echo "all checks passed" && exit 0
echo "failed:$failed" >&2
exit 1
