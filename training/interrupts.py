"""Ctrl-C, SIGTERM and SIGHUP during a training: they never take effect in the middle of a step."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

from dsetkit.stopping import Interrupted, handled_signals
from training import ranks

logger = logging.getLogger(__name__)


class CtrlC:
    """Delays signals within `delayed` blocks, where weights and progress change together.

    Outside of them a signal raises `Interrupted`, a KeyboardInterrupt, at once. So does a second
    Ctrl-C within a block. Use it as a context manager: it restores the former handlers.

    Of several ranks the first one alone is stopped, because it saves the state; the others would
    leave it without their part of its step. They end with it, see `ranks.join`.

    Attributes:
        state_is_whole: Whether weights and progress agree, so that they may be saved. False within
            a `delayed` block, and after one that an exception left.
    """

    def __init__(self) -> None:
        self.state_is_whole = True
        self._pending: int | None = None

    def __enter__(self) -> Self:
        # Python lets the main thread alone set handlers; elsewhere signals do not arrive anyway.
        is_main = threading.current_thread() is threading.main_thread()
        numbers = handled_signals() if is_main else []
        self._former = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @contextmanager
    def delayed(self) -> Iterator[None]:
        """Runs a block to its end before a signal takes effect.

        Raises:
            Interrupted: A signal came within the block.
        """
        self.state_is_whole = False
        yield
        self.state_is_whole = True
        if self._pending is not None:
            number, self._pending = self._pending, None
            raise Interrupted(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not ranks.is_first():
            return
        # torchrun sends a second signal for each Ctrl-C, so there it does not mean impatience.
        may_repeat = number == signal.SIGINT and ranks.world() == 1
        if self.state_is_whole or (may_repeat and self._pending is not None):
            raise Interrupted(number)
        if self._pending is None:
            self._pending = number
            again = "; press Ctrl-C again to stop at once" if may_repeat else ""
            logger.info("stopping after this step%s", again)
