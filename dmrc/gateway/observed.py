"""What built-in plugins with routes may look at; plugins of others have hooks."""

from __future__ import annotations

from dataclasses import dataclass

from dmrc.capture.recorder import Recorder
from dmrc.hooks.plugins import Plugins
from dmrc.scheduler.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class Observed:
    """Parts of the daemon, found as `app.state.observed`; to be read on its event loop."""

    scheduler: Scheduler
    """Which runners live, and who waits."""
    recorder: Recorder
    """What was recorded and what was lost."""
    plugins: Plugins
    """Which plugins there are, with their counters."""
