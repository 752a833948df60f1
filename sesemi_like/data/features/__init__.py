"""Features of a frozen network, computed once for every sample and kept beside decoded images."""
