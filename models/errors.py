"""The exception of this package."""


class ModelError(ValueError):
    """The user asked for something that does not fit; the message says what and how to fix it.

    Examples: an unknown architecture, an input size the network cannot take, a damaged weights
    file.
    """
