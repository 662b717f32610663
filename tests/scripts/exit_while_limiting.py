"""Exit with code 4 while `SpinLimiter` starts and ends teams of threads all the time."""

import itertools
import sys
import time

from rgt_cli.inference import threads

loads = itertools.cycle([9.0, 0.0])
threads._INTERVAL = 0.001
threads.LoadMeter.load = lambda meter: next(loads)  # type: ignore[method-assign,assignment]
threads.use_threads(2)
time.sleep(0.02)
sys.exit(4)
