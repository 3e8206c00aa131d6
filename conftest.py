"""What holds for the tests of all packages."""

import signal

# A shell starts background jobs with Ctrl-C ignored, and ignoring is inherited: the tests that interrupt something
# would then wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
