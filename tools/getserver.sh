#!/bin/bash
# A Redis or Valkey of another Debian suite, unpacked below a folder with its own libc;
# nothing of the system changes. Prints the path of the server on the last line.
#
#   tools/getserver.sh NAME [FOLDER]      NAME: redis-7.0 redis-8.0 valkey-8.0 valkey-9
#   SEQCACHE_TEST_SERVER=$(tools/getserver.sh valkey-9) make test
#
# Needs Debian's apt and its archive keyring; about 15 MB of download, 45 MB of disk.
set -euo pipefail

case "${1:-}" in
redis-7.0) suite=bookworm package=redis-tools kind=redis ;;
redis-8.0) suite=trixie package=redis-tools kind=redis ;;
valkey-8.0) suite=bookworm,bookworm-backports package=valkey-tools kind=valkey ;;
valkey-9) suite=sid package=valkey-tools kind=valkey ;; # moves on: look at --version
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

folder=$(realpath -m "${2:-$(dirname "$0")/../build/servers/$1}")
program=$folder/$kind-server
if [ -x "$program" ] && "$program" --version >/dev/null 2>&1; then
    echo "$program"
    exit
fi

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=$(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)
[ -n "$mirror" ] || mirror=$(sed -n 's/^deb .*\(https\?:[^ ]*\).*/\1/p' /etc/apt/sources.list | head -1)
apt=$folder.apt
rm -rf "$folder" "$apt"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$folder"
trap 'rm -rf "$apt"' EXIT
: >"$apt/status" # as if nothing were installed: the libc comes along
for one in ${suite//,/ }; do
    echo "deb [signed-by=$keyring] $mirror $one main"
done >"$apt/list"
options=(-qq -o Dir::Etc::sourcelist="$apt/list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$apt/lists"
    -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache"
    -o Acquire::Languages=none -o APT::Install-Recommends=0
    -o APT::Default-Release="${suite##*,}")
apt-get "${options[@]}" update >&2
apt-get "${options[@]}" -y --download-only install "$package" >&2
for file in "$apt"/cache/archives/*.deb; do dpkg -x "$file" "$folder"; done

# The checker of dumps is the same binary; it looks at the name it is called by.
cp "$folder/usr/bin/$kind-check-rdb" "$folder/usr/bin/$kind-server"
loader=$(find "$folder" -path '*linux-gnu*/ld-linux-*.so.*' -o -name 'ld-linux-*.so.*' | head -1)
libraries=$(find "$folder" -type d -name '*-linux-gnu' | paste -sd:)
for name in server cli; do
    cat >"$folder/$kind-$name" <<SCRIPT
#!/bin/sh
exec "$loader" --library-path "$libraries" "$folder/usr/bin/$kind-$name" "\$@"
SCRIPT
    chmod +x "$folder/$kind-$name"
done
rm -rf "$folder/usr/share" "$folder/var" "$folder/etc"
"$program" --version >&2
echo "$program"
