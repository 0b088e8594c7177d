"""The command line: arguments in, exit status out. Prints; holds no logic of its own."""
