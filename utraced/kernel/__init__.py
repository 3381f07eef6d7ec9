"""The only place that touches ptrace, /proc/PID and other processes' memory."""
