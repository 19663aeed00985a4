"""How much of what waits is sent next, so that one bad batch costs and blocks no other."""

#: Tries with everything at once, before a batch is tried alone.
TRIES_TOGETHER = 3
#: How often a batch may fail alone while others arrive, before it is given up on.
STRIKES = 2
#: So many batches refused one by one, with nothing accepted between, are refused as they come.
REFUSED_IN_A_ROW = 8
#: From so many batches on a delivery counts as whole again.
_WHOLE = 64
#: How far behind the oldest batch another one is looked for.
FARTHEST = 16
#: Tries after which the next batch may be one of the same source, which can mix up the order.
_PATIENT_TRIES = 20


class Portions:
    """Decides on the next delivery from how the last ones went.

    A target that is away fails with whatever it gets, a bad batch fails while others arrive: after
    some tries the oldest batch and another one are sent alone by turns.
    """

    def __init__(self) -> None:
        #: Batches to send at most; None for as many as fit.
        self.most: int | None = None
        #: Whether it is the turn of another batch than the oldest.
        self.other = False
        #: How far behind the oldest to look for it.
        self.behind = 1
        self._tries = self._strikes = self._refused = 0
        self._others_arrive = False

    @property
    def same_source(self) -> bool:
        """Whether the other batch may be one of the oldest's source."""
        return self._tries > _PATIENT_TRIES

    def arrived(self) -> None:
        """Take note that what was sent arrived."""
        self._refused = 0
        if self.other:
            self.other, self._others_arrive = False, True
            self.behind = 1
            return
        self._tries = self._strikes = 0
        self._others_arrive = False
        if self.most is not None:
            self.most = self.most * 2 if self.most < _WHOLE else None

    def refused(self, batches: int) -> bool:
        """Take note that the target refuses what was sent; return whether it is lost.

        It is not when it is to be tried in smaller parts.
        """
        if batches > 1 and self._refused < REFUSED_IN_A_ROW:
            self.most = batches // 2
            return False
        self._refused += 1
        self.other = self._others_arrive = False
        self._tries = self._strikes = 0
        if self.most is not None:
            self.most = self.most * 2 if self._refused < REFUSED_IN_A_ROW else None
        return True

    def failed(self, batches: int) -> bool:
        """Take note that what was sent may be sent again; return whether to give up on it."""
        self._tries += 1
        if self.other:
            self.other = self._others_arrive = False
            self._strikes = 0
            # That one may be bad, too.
            self.behind = self.behind % FARTHEST + 1
            return False
        if self._others_arrive:
            self._strikes += 1
            if self._strikes >= STRIKES:
                self.skipped()
                return True
        if self._tries >= TRIES_TOGETHER:
            self.other = self.most == 1
            self.most = 1
        return False

    def skipped(self) -> None:
        """Take note that the oldest batch is another one now."""
        self.other = self._others_arrive = False
        self._strikes = 0
