"""What csgate serves at ``/`` and to other sites: built from the repository's ``web/`` into ``dist/``, package data."""
