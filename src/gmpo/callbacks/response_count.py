"""Count of the responses that an engine has finished."""


class ResponseCount:
    """Count of finished responses in one step, or over all batches of a validation, on this rank's engine.

    of: what they are for, in words. in_all: their total, if known in advance.
    """

    def __init__(self, of: str, in_all: int | None = None) -> None:
        self.of = of
        self._in_all = in_all
        self._earlier = 0  # of the batches before
        self._finished = 0
        self._asked = 0

    def count(self, finished: int, asked: int) -> None:
        """Record how many responses of the batch are finished; a number that does not grow begins another batch."""
        if finished <= self._finished:
            self._earlier += self._asked
        self._finished, self._asked = finished, asked

    @property
    def share(self) -> str:
        """Text of the form FINISHED/ALL."""
        asked = self._earlier + self._asked if self._in_all is None else self._in_all
        return f"{self._earlier + self._finished:,}/{asked:,}"
