"""The shell around the core: clocks, locks, journals, forks, signals and resource usage of this host."""
