"""The YAML file: its schema, its loader, the configs shipped with the program."""
