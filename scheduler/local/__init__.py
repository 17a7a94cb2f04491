"""One machine without a cluster: a master with agents of its own, behind the same HTTP API as Mesos."""
