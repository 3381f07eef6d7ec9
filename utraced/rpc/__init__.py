"""JSON-RPC 2.0 over packets, without I/O."""
