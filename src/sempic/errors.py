"""Every error that a user can meet, as one sentence with what to do."""


class SempicError(Exception):
    """Base of all errors that Sempic raises on purpose."""


class InputError(SempicError):
    """The picture, label map or setting handed in cannot be used."""


class StreamError(SempicError):
    """The stream is not one of ours, damaged, truncated or asks for too much."""


class ModelError(SempicError):
    """A model is missing, unknown or not the one the stream was made with."""


class BudgetError(SempicError):
    """The asked size lies below the smallest stream that the codec can write."""


class SempicWarning(UserWarning):
    """What a user should know about a picture or a stream that can be used nevertheless."""


class TrainingError(SempicError):
    """A training run cannot go on."""


def sentence(error: Exception) -> str | None:
    """Return the sentence to show to a user about an error; None where it is a mistake of our own."""
    if isinstance(error, SempicError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this picture."
    if isinstance(error, OSError):
        about = f"'{error.filename}': " if error.filename else ""
        return f"{about}{error.strerror or error}."
    return None
