"""The way to a device, opened again when it is lost: a laptop sleeps, a radio fades, a board restarts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from searcher.devices.transport import Transport, TransportError, UnreachableError

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
PATIENCE_S = 900.0


class Link:
    """A transport that can be replaced by a new one to the same device.

    Args:
        connect: opens the way to the device.
        patience_s: how long to try before a lost device is given up.
        sleep: waits.
        clock: monotonic, in s.
    """

    def __init__(
        self,
        connect: Callable[[], Transport],
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._patience_s = patience_s
        self._sleep = sleep
        self._clock = clock
        # At once: a device that cannot be reached from the beginning is told before any work.
        self._transport = connect()

    @property
    def transport(self) -> Transport:
        """The way as it is now."""
        return self._transport

    @property
    def device(self) -> str:
        """Where this leads, for messages."""
        return self._transport.description

    def reconnect(self, lost: UnreachableError) -> None:
        """Open the way again, waiting longer each time.

        Raises:
            TransportError: the device refuses: its host key has changed, say.
            UnreachableError: it did not come back in time; `lost` is the cause.
        """
        with contextlib.suppress(TransportError):
            self._transport.close()
        give_up_s = self._clock() + self._patience_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                self._transport = self._connect()
                return
            except UnreachableError as e:
                if self._clock() + pause_s > give_up_s:
                    raise UnreachableError(
                        f"{self.device} was lost and did not come back within {self._patience_s:.0f} s: {e}"
                    ) from lost
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def close(self) -> None:
        """Let go of the device."""
        self._transport.close()
