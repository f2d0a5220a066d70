"""The command line: one file per command, nothing in it but arguments -> calls. Start reading at `weft.cli.main`."""
