"""The one error that the networks raise for what a user can mend."""


class ModelError(ValueError):
    """An architecture, an input size or a weights file does not fit what was asked for."""
