"""An installer ISO of anybody's, turned into an unattended one."""
