#!/bin/sh
# Make a virtual environment with pip: venv.sh PYTHON FOLDER
# Debian's Python may come without ensurepip; its own pip then puts one in.
python=$1
folder=$2
[ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1 && exit 0
"$python" -m venv --clear "$folder" >/dev/null 2>&1 && exit 0
"$python" -m venv --clear --without-pip "$folder" &&
    "$python" -m pip --python "$folder/bin/python" install -q pip >/dev/null && exit 0
"$python" -m virtualenv -q --clear "$folder" 2>/dev/null && exit 0
echo "$python cannot make a virtual environment: install its venv and pip (Debian: apt-get install python3-venv)" >&2
exit 1
