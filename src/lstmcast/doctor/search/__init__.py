"""The search for the mistakes that explain wrong gradients, and for the place where they begin."""
