"""Years in seconds: the real job in a made-up world with a virtual clock and a seed of faults.

Real: Refresher, state, schedule, ClientCredentials with all of oauth, the sinks and their stores;
with many tokens in one process also the sweep, the agenda and the pool of the daemon. Made up:
time, the token server behind the transport, the disk calls, the AWS client. Read it from the top:

timeline.py     virtual time; processes take turns, one at a time, so that a seed replays exactly
faults.py       which fault is active where and when: drawn from a seed, or read from a script
ledger.py       the truth about every token: when it really dies
readers.py      what the readers of a store have, by the truth
process_log.py  what is known of one process, and what excuses it
audit.py        what must always hold (I1 to I10); a breach ends the run
process.py      the loop of the daemon on a host that stops, dies and has a wrong clock
endpoint.py     the token server
stores.py       what all stores share; memory.py, disk.py and cloud.py are the three kinds
scenario.py     what a seed stands for
play.py         puts a world together and lets it run
many_tokens.py  minutes of many tokens in one process, most of which hang
defects.py      defects of the job, put in by hand: the audit must find each
table.py        what is printed
__main__.py     the command
"""
