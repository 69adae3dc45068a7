#!/usr/bin/env bash
# Makes the pictures of docs/images.md: runs the commands that stand there under "Gallery", from the project's root.
# PYTHON names an interpreter that has textdiff (default: .venv/bin/python).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

interpreter=$(realpath --no-symlinks "${PYTHON:-.venv/bin/python}")
python() { "$interpreter" "$@"; }

mkdir -p runs
sed -n '/^## Gallery$/,$p' docs/images.md | sed -n '/^```bash$/,/^```$/{/^```/!p}' > runs/gallery.sh
source runs/gallery.sh
