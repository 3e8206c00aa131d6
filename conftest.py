"""What holds for the tests of all packages."""

import signal

from hypothesis import settings

# A shell starts background jobs with Ctrl-C ignored, and ignoring is inherited: the tests that interrupt something
# would then wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines that do other things besides are slow now and then: how long an example takes says nothing. The examples
# are the same in every run.
settings.register_profile("uamp", deadline=None, derandomize=True)
settings.load_profile("uamp")
