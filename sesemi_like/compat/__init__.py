"""The only room for private parts of other libraries; a test for each fails when it changes."""
