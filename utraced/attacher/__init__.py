"""The attacher: the process that loads programs into the kernel, for workers that could not."""
