"""The release criteria, one per file: each test reads like its sentence, and `@criterion` beside it says what
it asks for. pytest runs them against one booted artifact, with the fixtures of `plugin`.

A criterion imports the words of the host under test (`smoke.host`, `smoke.hosts`, `smoke.journey`, and the
constants that they speak of), and never another criterion. `registry` lists them all.
"""
