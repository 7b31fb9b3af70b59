"""Exchanges beside the training: a thread goes to the store, the network never waits for it.

A store that hangs (a lost NFS mount keeps a process in the kernel for as long as it likes) holds up this thread alone;
exchanges that would come meanwhile are left out.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from frazil.errors import FrazilError
from frazil.learn.distributed.exchange import Exchange, Peer

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.02  # from one look for others to the next, in lockstep


class Courier:
    """Carries weights to the store and others' weights back.

    Args:
        exchange: this worker's.
        lockstep: see `frazil.learn.config.PeersConfig`.
        watches: whether others' weights are wanted at all.
        patience_s: how long lockstep waits for others at most, and how long the last errand may take.
    """

    def __init__(
        self, exchange: Exchange, *, lockstep: int = 0, watches: bool = True, patience_s: float = 120.0
    ) -> None:
        self.exchange, self.lockstep, self.watches, self.patience_s = exchange, lockstep, watches, patience_s
        self.left_out = 0
        self._thread: threading.Thread | None = None
        self._found: queue.SimpleQueue[dict[str, Peer] | FrazilError] = queue.SimpleQueue()

    def go(self, step: int, weights: Mapping[str, Tensor] | None, **facts: Any) -> None:
        """Set out with weights, or only to look; what is found comes with `news`.

        Args:
            step: as far as this worker is.
            weights: to publish; they must not change any more. None only looks.
            facts: as `Exchange.publish` takes them.
        """
        if self._thread is not None and self._thread.is_alive():
            self.left_out += 1
            _LOG.warning("The exchange before step %d is still under way; this one is left out.", step)
            return
        self._thread = threading.Thread(target=self._errand, args=(step, weights, facts), daemon=True)
        self._thread.start()
        if self.lockstep:
            self._thread.join()

    def news(self) -> dict[str, Peer] | None:
        """Others that are alive, by name, once after every errand; None in between.

        Raises:
            OptionError: another worker goes by this worker's name.
        """
        try:
            found = self._found.get_nowait()
        except queue.Empty:
            return None
        if isinstance(found, FrazilError):
            raise found
        return found

    def last(self, step: int, weights: Mapping[str, Tensor], **facts: Any) -> None:
        """Publish the end of the run, and wait until that is done or has taken too long."""
        if self._thread is not None:
            self._thread.join(self.patience_s)
        self.lockstep, self.watches = 0, False
        self.go(step, weights, done=True, **facts)
        assert self._thread is not None
        self._thread.join(self.patience_s)
        if self._thread.is_alive():
            _LOG.warning("The store does not answer; the last weights of this worker may not be there.")
        self.news()

    def _errand(self, step: int, weights: Mapping[str, Tensor] | None, facts: dict[str, Any]) -> None:
        try:
            if weights is not None:
                self.exchange.publish(weights, step=step, **facts)
            if self.watches:
                self._found.put(self._wait(step) if self.lockstep else self.exchange.fetch())
        except FrazilError as error:
            self._found.put(error)

    def _wait(self, step: int) -> dict[str, Peer]:
        deadline = time.monotonic() + self.patience_s
        while True:
            found = self.exchange.fetch(at_step=step)
            if len(found) >= self.lockstep - 1 or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK_S)
