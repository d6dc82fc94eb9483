"""The part that runs inside the sandbox's process: standard library only, for it starts without any installed package.

``main`` is the launcher; the other modules are the layers it puts on: ``namespaces``, ``landlock``, ``seccomp``, ``limits``;
``execute`` then runs the code.
"""
