"""The lean Mesos scheduler: jobs, updates, reconciliation, its API, its pages and its clients."""
