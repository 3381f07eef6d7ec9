"""The contract with clients: one class per method, one struct per event.  No I/O.

A method's class is found by its name: ``engine.attach`` is ``Attach`` in ``engine.py``; ``methods`` lists all.
"""
