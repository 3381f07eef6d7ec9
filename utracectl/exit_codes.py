"""What utracectl's exit status means.

``trace`` of a command ends as the command did: with its status, or by the signal that ended it.  So it does where the
tracing ended before the command, as when the worker died: stderr then says that the trace is incomplete, and a script
that runs the command gets the status that it would have without us.
"""

OK = 0
ERROR = 1
"""The daemon or the target said no, or ended early."""
USAGE = 2
"""The command line is wrong."""
FAILED = 125
"""utracectl itself failed; the numbers from here on are those of env(1) and nohup(1)."""
NOT_EXECUTABLE = 126
"""The command was found and could not be executed."""
NOT_FOUND = 127
"""The command was not found."""

HELP = """\
exit status: 0 success; 1 the daemon or the target said no; 2 wrong usage; 125 utracectl itself failed;
126 the command cannot be executed; 127 there is no such command. A traced command's own status or signal
becomes utracectl's."""
