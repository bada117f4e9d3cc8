"""What can go wrong on a laptop, told so that the reader knows the next step. The message is the interface."""


class DevstackError(Exception):
    """The embedded stack cannot do what was asked; the message says why and what to do next."""


class AlreadyRunningError(DevstackError):
    """Another supervisor holds this data directory."""


class JarMismatchError(DevstackError):
    """The jars on disk are not exactly those of the committed lock; Java is not started."""


class PortTakenError(DevstackError):
    """A port the stack needs is held by another program."""
