max_restarts=50
restarts=${SLURM_RESTART_COUNT:-0}
echo "--- $(date -Is) $(hostname), job $job, start $((restarts + 1)): ${work[*]}"

# Before the time limit Slurm signals this shell alone, which hands the signal on: alike ends with the part that it is at.
# SIGTERM comes to alike from Slurm as well, and a second one would have it drop that part. It means cancelled or preempted, which
# is not for this script to undo.
child= signal= cancelled=
trap 'signal=USR1; [ -z "$child" ] || kill -USR1 "$child" 2> /dev/null' USR1
trap 'signal=TERM; cancelled=1' TERM

prepare
code=75 # what it is when the signal came before there was anything to stop
if [ -z "$signal" ]; then
    "${alike[@]}" "${work[@]}" --threads "$SLURM_CPUS_PER_TASK" &
    child=$!
    while signal=; wait "$child"; code=$?; [ -n "$signal" ]; do :; done # a signal ends `wait`, not alike
fi

# 75: stopped early, and what is finished is kept; 138: ended by SIGUSR1 before alike listened. Anything else but 0 is a failure, which
# the next `submit` goes on from.
if { [ "$code" -eq 75 ] || [ "$code" -eq 138 ]; } && [ -z "$cancelled" ]; then
    if [ "$restarts" -ge "$max_restarts" ]; then
        echo "error: start $((restarts + 1)) stopped early as well: raise --time or max_restarts, and submit again" >&2
        exit 1
    fi
    trap - TERM USR1
    scontrol requeue "$job" && sleep 60 # until Slurm ends this start
fi
exit "$code"
