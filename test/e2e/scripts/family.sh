#!/bin/bash
# A script with a family that does not want to go: for trying kill and timeouts. param1 is a folder
# for the process numbers.
trap '' TERM
sleep 1000 &
echo $! >"$RQ_PARAM1/child"
setsid bash -c 'trap "" TERM; echo $$ >"$0/daemon"; while :; do sleep 1; done' "$RQ_PARAM1" &
echo $$ >"$RQ_PARAM1/script"
while [ ! -s "$RQ_PARAM1/daemon" ]; do sleep 0.01; done
echo "run family is here" >&3
while :; do sleep 1; done
