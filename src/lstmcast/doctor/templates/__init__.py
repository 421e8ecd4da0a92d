"""Working examples of programs with an adapter, one for each cell, as text."""
