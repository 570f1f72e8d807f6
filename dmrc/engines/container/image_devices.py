"""What llama.cpp's server in an image lists of the graphics cards that its container is given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from dmrc.engines.container.order import AUTO, KEEPER, Order
from dmrc.engines.devices import Device, DeviceList
from dmrc.errors import DmrcError
from dmrc.project import ServingOptions

_log = logging.getLogger(__name__)

LIST = ("--list-devices",)
"""What such a server is given to print them, and end."""


class ImageDevices:
    """Asks images, and knows which of them did not answer when they were asked last."""

    def __init__(self) -> None:
        """Have asked none yet."""
        self._silent: set[str] = set()

    def is_silent(self, options: ServingOptions) -> bool:
        """Return whether the image of a model did not answer."""
        return (options.image or AUTO) in self._silent

    async def ask(self, options: ServingOptions, order: Callable[[], Order]) -> Sequence[Device]:
        """Run a model's image by an `order`, which blocks while it is pulled; the log says why it does not answer."""
        from dmrc.background import apart

        image = options.image or AUTO
        try:
            answer = await _listed(await apart(order, "order-devices"))
        except (DmrcError, OSError) as error:
            answer = DeviceList(failure=str(error))
        self._silent.discard(image)
        if answer.failure is not None:
            self._silent.add(image)
            _log.warning("image %s does not list its devices: %s", image, answer.failure)
        return answer.devices


async def _listed(order: Order) -> DeviceList:
    """Run a container that prints its devices and ends; it is gone then, also where it hangs and its keeper is killed.

    Raises:
        OSError: Its directory cannot be made.
    """
    from dmrc.engines.container.outside import ContainerOutside  # heavy, and who only checks options needs it not
    from dmrc.engines.llama_cpp.device_list import list_devices

    Path(order.directory).mkdir(mode=0o700, exist_ok=True)
    try:
        return await list_devices([*KEEPER, order.to_json()])
    finally:
        await ContainerOutside(order).end()
