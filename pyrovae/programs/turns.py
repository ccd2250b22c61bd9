"""One thread at a time, where what is borrowed belongs to the whole process.

Pyro has one stack of handlers, one param store and one validation setting for all threads, and torch one random
generator for each device. A fit or an evaluation that has begun is therefore ended before another thread's begins; in
its own thread more of them may run inside it.
"""

import threading

TURN = threading.RLock()
"""Held by the thread whose programs run. A thread that it waits for can run none, and neither can a forked process."""
