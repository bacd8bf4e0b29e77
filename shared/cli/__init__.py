"""The `darkroom` command: the client for people and shell scripts. docs/cli.md tells how to use it.

Results go to stdout, everything else to stderr. Talks to the gateway through `shared.client` alone.
"""
