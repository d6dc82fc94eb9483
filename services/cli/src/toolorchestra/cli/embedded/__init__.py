"""The parts that a laptop needs and that come with the product: PostgreSQL, Valkey, a small local model.

Each runs as a child process of the command, keeps its data under one folder and listens on a unix socket or on loopback
only. ``supervisor`` starts, watches and stops them; any other process can be one of its parts.
"""
