"""The command open_cli: its arguments, its help, one run or the runs of a sweep."""
