"""A stand-in for kedro's handling of a node that yields items one by one."""


def fill(folder, node, *, stop_after=None):
    """Save each piece in the folder, as far as `stop_after`."""
    for number, piece in enumerate(node):
        folder.save(piece)
        if number == stop_after:
            break
    return folder
