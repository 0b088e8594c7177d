"""The installer ISO that lorax makes, in a separate process.

`backend` is the record and the build; `request` what is asked of lorax, `inputs`, `sources` and `metadata`
what that depends on; `about` which lorax there is, `failure` what went wrong. `child` is run by lorax'
interpreter, where none of our modules are, back to Python 3.6: it imports nothing of ours.
"""
