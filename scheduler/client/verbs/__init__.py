"""One module for each verb, or for a noun whose verbs are small; each holds ``VERBS``."""
