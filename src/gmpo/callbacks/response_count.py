"""How many responses an engine has finished so far."""


class ResponseCount:
    """The responses of one step, or of a validation over its batches, on this rank's engine.

    of: what they are for. in_all: how many there are, where that is known before.
    """

    def __init__(self, of: str, in_all: int | None = None) -> None:
        self.of = of
        self._in_all = in_all
        self._earlier = 0  # of the batches before
        self._finished = 0
        self._asked = 0

    def count(self, finished: int, asked: int) -> None:
        """Take in that so many of those of this batch are finished; fewer than before begin another batch."""
        if finished <= self._finished:
            self._earlier += self._asked
        self._finished, self._asked = finished, asked

    @property
    def share(self) -> str:
        """FINISHED/ALL."""
        asked = self._earlier + self._asked if self._in_all is None else self._in_all
        return f"{self._earlier + self._finished:,}/{asked:,}"
