"""The world of pollect 1.x: what hand-written extensions import, and how they become plugins.

Nothing of it is loaded until a config names an extension or somebody imports an old path.
`paths` holds the table of the old import paths.
"""
