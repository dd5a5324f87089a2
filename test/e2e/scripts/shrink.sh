#!/bin/bash
# Compresses the file named in param1 into the job folder and reports how far it is.
set -u
file=$RQ_PARAM1
if [ ! -r "$file" ]; then
  echo "err cannot read '$file'" >&3
  exit 1
fi
name=$(basename "$file")
echo "run compressing $name" >&3
gzip -c "$file" >"$name.gz" || { echo "resend 60-gzip failed" >&3; exit 0; }
echo "$name: $(stat -c %s "$file") bytes become $(stat -c %s "$name.gz")"
echo "done $(stat -c %s "$name.gz") bytes" >&3
