"""Tables of names and values, generated from the kernel's uapi headers by the scripts in tools/."""
