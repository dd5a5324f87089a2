#!/bin/bash
# Says that it runs, then waits until the file in param1 is there, as long as that takes.
echo "run waiting" >&3
echo "$$ $RQ_ATTEMPT" >>"$RQ_PARAM1.started"
until [ -e "$RQ_PARAM1" ]; do sleep 0.02; done
echo "done it is there" >&3
