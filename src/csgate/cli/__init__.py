"""The command line: arguments to configuration to ``trio.run``."""
