"""The connection to the Mesos master, and to ZooKeeper: who leads there, who leads here."""
