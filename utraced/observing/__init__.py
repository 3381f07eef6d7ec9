"""What a trace tells of system calls, however they were seen: by stops, or recorded.  No I/O."""
