"""The page that csgate serves at ``/``, as package data."""
