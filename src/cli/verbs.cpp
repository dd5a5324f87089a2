// The table of verbs.
#include "cli/verbs.h"

#include <array>

namespace rq::cli {
namespace {

using enum Group;

constexpr auto kVerbs = std::to_array<Verb>({
    {"server", start, "Run the server, and with it a worker for this machine",
     "rq server\nrq server --dir /var/lib/rq --http 127.0.0.1:3333", declare_server},
    {"worker", start, "Run a worker: takes messages and runs the scripts of their queues",
     "rq worker --dir ./var\nrq worker --server http://127.0.0.1:3333 --name second",
     declare_worker},

    {"put", put, "Put a message into a queue, or many from a file",
     "rq put mail hello --tag welcome\n"
     "tar c project | rq put backup - --key project-2026-11-21\n"
     "rq put mail --ndjson messages.ndjson\n"
     "rq put resize @photo.json --wait\n"
     "while IFS= LC_ALL=C read -r line || [ -n \"$line\" ]; do\n"
     "  rq put lines --text \"$line\"; done < list",
     declare_put},
    {"run", put,
     "Queue a command line: runs in this folder, with PATH, HOME and the like as they are here",
     "rq run -- make -C project\nrq run -j 2 --wait --timeout 10m -- ./backup.sh --all\n"
     "rq run -- sh -c 'ls | wc -l > count'\n"
     "rq run --retries 3 --stdin -- psql -f - < change.sql",
     declare_run},

    {"show", look, "All about a message: fields, attempts, post-mortems",
     "rq show 123\nrq show key:order-7 --json", declare_show},
    {"list", look, "List messages",
     "rq list mail --state err\nrq list mail --by reason\n"
     "rq list --text timeout --after 2h --json",
     declare_list},
    {"tail", look, "The log of a message, as it is written",
     "rq tail -f 123\nrq tail -n 20 123\nrq tail --all 123 > log", declare_tail},
    {"why", look, "Why is this message not running?", "rq why 123\nrq why key:order-7 --json",
     declare_why},
    {"stats", look, "Counts and sizes of the server", "rq stats\nrq stats --json", declare_stats},
    {"top", look, "Queues and running messages, live; q quits", "rq top\nrq top --once --json",
     declare_top},
    {"events", look, "What happens, as it happens",
     "rq events --queue mail\nrq events --kinds message,progress --json", declare_events},

    {"retry", act,
     "Run finished messages again under their ids, with attempts counted anew. By a filter those "
     "in "
     "err, unless --state says others",
     "rq retry 123 124\nrq retry --queue mail --dry-run\n"
     "rq retry --queue mail --fingerprint 'exit 3: no row #'\nrq retry --queue mail --state done "
     "-y",
     declare_retry},
    {"requeue", act,
     "As retry, but takes running messages too, from their workers back into the line. By a filter "
     "those in err, unless --state says others",
     "rq requeue 123\nrq requeue --queue mail --state run -y", declare_requeue},
    {"run-now", act, "Run scheduled messages now, before their time",
     "rq run-now 123\nrq run-now --queue mail --state scheduled -y", declare_run_now},
    {"commit", act, "Let messages go that were put as prep",
     "rq commit 123\nrq commit --queue mail -y", declare_commit},
    {"cancel", act,
     "Give messages up: those that wait, and failures in err; a running script is told to stop. "
     "By a filter unfinished ones, unless --state says others",
     "rq cancel 123 --reason 'sent by hand'\nrq cancel --tag campaign-9 -y", declare_cancel},
    {"kill", act, "Stop running scripts; their messages end in err",
     "rq kill 123\nrq kill --queue mail --state run -y", declare_kill},
    {"clone", act,
     "Resubmit finished messages as new ones with ids of their own; the old ones stay. By a filter "
     "those in err, unless --state says others",
     "rq clone 123\nrq clone 123 --to mail-test", declare_clone},
    {"move", act,
     "Move messages of any state but run to another queue, where they keep it. By a filter waiting "
     "ones, unless --state says others",
     "rq move 123 --to slow\nrq move --queue mail --tag bulk --to slow -y", declare_move},
    {"priority", act, "Change the priority of messages; larger goes first",
     "rq priority 123 --priority 10\nrq priority --tag vip --priority 10 -y", declare_priority},
    {"remove", act, "Delete messages for good; not while they run. A filter must say --state",
     "rq remove 123\nrq remove --queue mail --state done --before 30d -y", declare_remove},

    {"queue create", server, "Make a queue",
     "rq queue create mail --script ./mail.py -j 2 --retries 3 --timeout 60s\n"
     "rq queue create metrics --sync relaxed --keep-done 1h --set nice=5",
     declare_queue_create},
    {"queue list", server, "List the queues", "rq queue list\nrq queue list --json",
     declare_queue_list},
    {"queue show", server, "A queue: status, counts, settings",
     "rq queue show mail\nrq queue show mail --json", declare_queue_show},
    {"queue set", server, "Change settings of a queue",
     "rq queue set mail --retries 5 --backoff exponential:15s..1h\n"
     "rq queue set mail --env STAGE=test --set priority=3",
     declare_queue_set},
    {"queue pause", server, "Accept messages, start none",
     "rq queue pause mail\nrq queue pause mail --for 10m", declare_queue_pause},
    {"queue resume", server, "Go on", "rq queue resume mail\nrq queue resume mail --json",
     declare_queue_resume},
    {"queue drain", server, "Accept nothing new, work off what is there",
     "rq queue drain mail\nrq queue drain mail --json", declare_queue_drain},
    {"queue down", server, "Accept nothing, start nothing",
     "rq queue down mail\nrq queue down mail --json", declare_queue_down},
    {"queue delete", server,
     "Delete a queue; one that holds messages, finished or not, needs --force",
     "rq queue delete mail\nrq queue delete mail --force", declare_queue_delete},
    {"doctor", server, "Look at all that is usually wrong",
     "rq doctor\nrq doctor --dir /var/lib/rq --json", declare_doctor},
    {"version", server, "Versions of this rq and of the server", "rq version\nrq version --json",
     declare_version},
    {"completion", server, "Completion script for bash or zsh",
     "source <(rq completion bash)\nrq completion zsh > ~/.zfunc/_rq", declare_completion},

    {"exec-payload", hidden, "Runs the command line in a payload (the script of rq run)", "",
     declare_exec_payload},
});

}  // namespace

std::span<const Verb> verbs() { return kVerbs; }

}  // namespace rq::cli
