"""The library face: what a command, a notebook or another program asks for, from a build to its release.

    lines, refs     which release line and ref are meant, which there are; compose a commit; print a kickstart
    build           prepare → plan → run → release
    batch           the same of several refs in one graph (`endings`: when nothing of a ref is left to do)
    running         how a graph is run
    events          a build's events as JSON lines
    releases        make, promote, mark bad and prune releases
    names           what the files of a release are called
    verification    verify a release with its public key
    images          test, boot, compare any image; make an installer unattended
    criteria        the release criteria as a list
    doctor          what this machine can do
    storage         what nobody needs any more
    outcome, material    what a finished graph knows: cells and evidence, the material of a release

Comes in: paths, names and addresses as a person gives them. Goes out: typed results, or BuildError. Nothing
here prints or ends the program.
"""
