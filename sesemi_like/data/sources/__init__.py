"""The kinds of data set, one file per kind, and what they share."""
