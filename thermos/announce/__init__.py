"""Making a task known in ZooKeeper: one ephemeral node, as the readers of server sets expect it."""
