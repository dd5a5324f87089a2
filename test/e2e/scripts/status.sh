#!/bin/bash
# Says the line in param1 (if any) on fd 3, prints param3, and exits with the status in param2.
[ -n "$RQ_PARAM1" ] && echo "$RQ_PARAM1" >&3
[ -n "$RQ_PARAM3" ] && echo "$RQ_PARAM3" >&2
exit "${RQ_PARAM2:-0}"
