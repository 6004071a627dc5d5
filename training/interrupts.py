"""Ctrl-C during a training: it never takes effect in the middle of a step."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

logger = logging.getLogger(__name__)


class CtrlC:
    """Delays Ctrl-C within `delayed` blocks, where weights and progress change together.

    Outside of them Ctrl-C raises KeyboardInterrupt at once, as usual. So does a second Ctrl-C
    within a block. Use it as a context manager: it restores the former handler of SIGINT.

    Attributes:
        state_is_whole: Whether weights and progress agree, so that they may be saved. False within
            a `delayed` block, and after one that an exception left.
    """

    def __init__(self) -> None:
        self.state_is_whole = True
        self._is_pending = False

    def __enter__(self) -> Self:
        # Python lets the main thread alone set handlers; elsewhere Ctrl-C does not arrive anyway.
        self._sets_handler = threading.current_thread() is threading.main_thread()
        if self._sets_handler:
            self._former = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._sets_handler:
            signal.signal(signal.SIGINT, self._former)

    @contextmanager
    def delayed(self) -> Iterator[None]:
        """Runs a block to its end before Ctrl-C takes effect.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed within the block.
        """
        self.state_is_whole = False
        yield
        self.state_is_whole = True
        if self._is_pending:
            self._is_pending = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.state_is_whole or self._is_pending:
            raise KeyboardInterrupt
        self._is_pending = True
        logger.info("stopping after this step; press Ctrl-C again to stop at once")
