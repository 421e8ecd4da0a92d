"""The program under examination: what its adapter says, its process, its arrays and what it returned."""
