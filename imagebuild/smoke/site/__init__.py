"""A site's own criteria: what a configuration's `criteria` names, tested as ours are.

record       one criterion: its files, and what is known of it without running it
reading      a directory is read, once, with limits
tests_told   what is told of a pytest file without running it
kola         kola.json and the headers of kola's external tests
guest_side   the programs that an executable finds in the guest
running      an executable is run there, through its reboots
test_executables   pytest's way to it

A pytest file runs on the build machine, as the user that builds; an executable runs in the guest, as root.
"""
