"""Aurora's API as bytes: Thrift in its two encodings, and plain JSON."""
