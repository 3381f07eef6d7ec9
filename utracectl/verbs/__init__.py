"""One module for each verb of utracectl: ``HELP``, ``EXAMPLE``, ``add_arguments``, ``run``."""
