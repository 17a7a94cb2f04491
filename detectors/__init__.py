"""Read-only finders of checkpoint roots and of the tasks below them; they take no locks and follow no link out of a root."""
