#!/usr/bin/env bash
# A queue script in bash: compresses the file named by the first parameter, and says how far it is.
# fd 3 is the way back to rq: "run TEXT" is progress, "done TEXT" and "err TEXT" end the message.
set -euo pipefail

file=$RQ_PARAM1
[ -r "$file" ] || { echo "err cannot read $file" >&3; exit 0; }
size=$(stat -c %s "$file")
echo "compressing $file, $((size / 1048576)) MiB"

# The file goes through a pipe a sixteenth at a time, so that we know how much is behind us.
step=$(((size + 15) / 16))
feed() {
  local sent=0
  while ((sent < size)); do
    tail -c +$((sent + 1)) "$file" | head -c "$step" || true
    sent=$((sent + step))
    ((sent < size)) || sent=$size
    echo "run $((sent * 100 / size)) %" >&3
    printf '\033[32m%3d %%\033[0m  %d of %d MiB\n' \
      $((sent * 100 / size)) $((sent / 1048576)) $((size / 1048576)) >&2
  done
}
feed | gzip -1 > out.gz

packed=$(stat -c %s out.gz)
rm -f out.gz
echo "done $((size / 1048576)) MiB became $((packed / 1048576)) MiB ($((packed * 100 / size)) %)" >&3
