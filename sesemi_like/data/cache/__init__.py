"""Images decoded once: what is kept, in which file, or in memory."""
