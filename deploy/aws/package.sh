#!/bin/sh
# Makes the Lambda package: sh deploy/aws/package.sh CONFIG [ZIP], from the repository's root.
# It needs the Python version and the processor of the function, for msgspec and cryptography are
# compiled: run it on such a machine, or in AWS' own image of that runtime.
set -eu
config=$1
zip=${2:-freshtoken-lambda.zip}
case $zip in /*) ;; *) zip=$PWD/$zip ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work" \
    --require-hashes --requirement requirements/run.txt
cp -R job "$work/job"
cp "$config" "$work/freshtoken.toml"
find "$work" -name __pycache__ -type d -prune -exec rm -rf {} +
rm -f "$zip"
cd "$work"
python3 -m zipfile -c "$zip" ./*
