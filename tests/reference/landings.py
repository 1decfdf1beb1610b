"""What kedro does with a node that lands things one by one."""


def fill(folder, landing, *, stop_after=None):
    """Save each piece in the folder, as far as `stop_after`."""
    for number, piece in enumerate(landing):
        folder.save(piece)
        if number == stop_after:
            break
    return folder
