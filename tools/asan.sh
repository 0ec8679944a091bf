#!/bin/sh
# The test suite with the extension under ASan and UBSan: asan.sh PYTHON [pytest arguments]
# The build stands apart in build/asan, so that no other build picks its files up.
set -eu
python=$1
shift
top=$PWD/build/asan
rm -rf "$top"
SEQCACHE_SANITIZE=1 "$python" setup.py -q build --build-base "$top" --build-lib "$top/lib"

# Servers run as they are: only Python is preloaded.
mkdir -p "$top/bin"
for name in redis-server valkey-server; do
    real=$(command -v $name) || continue
    printf '#!/bin/sh\nunset LD_PRELOAD\nexec %s "$@"\n' "$real" >"$top/bin/$name"
    chmod +x "$top/bin/$name"
done
runtime=$(${CC:-gcc} -print-file-name=libasan.so)
[ -e "$runtime" ] || { echo "asan: no libasan beside the compiler" >&2; exit 1; }
echo "asan: $("$python" -V), extension in $top/lib"
# Durable mode is Python, and its databases hang with a preloaded runtime. The pytest
# plugin is Python, too, and each of its tests starts interpreters; types are not run.
# Leaks are checked in the C tests: the interpreter itself keeps memory at exit.
export PATH="$top/bin:$PATH" PYTHONPATH="$top/lib" PYTHONMALLOC=malloc SEQCACHE_ASAN=1
set -- -m "not build" --ignore tests/chaos --ignore tests/live/durable \
    --ignore tests/docs --ignore tests/plugin --ignore tests/typing "$@"
run() {
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=1:log_path=$top/report \
        UBSAN_OPTIONS=print_stacktrace=1:log_path=$top/report LD_PRELOAD=$runtime \
        "$(dirname "$python")/pytest" "$@"
}
status=0
run -n 4 --dist loadfile --no-loadscope-reorder "$@" || {
    printf '\n==== once more, alone: what failed (see test.sh)\n'
    SEQCACHE_TEST_AGAIN=1 run --last-failed --last-failed-no-failures none "$@"
} || status=1
# A report fails the run, whatever became of the test in which it was made.
for report in "$top"/report*; do
    [ ! -e "$report" ] || { cat "$report" >&2; status=1; }
done
exit $status
