"""The worker: the process that traces.  The daemon's only event loop is here."""
