"""What built-in plugins with routes may look at; plugins of others have hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.live import LiveEvents
from dmrc.capture.recorder import Recorder
from dmrc.engines.engine import Engine
from dmrc.gateway.comparing.comparisons import Comparisons
from dmrc.gateway.inference.lifecycle import Lifecycle
from dmrc.gateway.routes.transfers import Transfers
from dmrc.gateway.server.page_sessions import PageSessions
from dmrc.gateway.serving.catalog import Catalog
from dmrc.hooks.plugins import Plugins
from dmrc.models import Models
from dmrc.projects import Projects
from dmrc.scheduler.scheduler import Scheduler
from dmrc.settings import Settings


@dataclass(frozen=True, slots=True)
class DaemonParts:
    """Parts of the daemon, found as `app.state.parts`; to be read on its event loop."""

    settings: Settings
    """Where things are."""
    scheduler: Scheduler
    """Which runners live, and who waits."""
    recorder: Recorder
    """What was recorded and what was lost."""
    database: ExchangeDatabase
    """The record; to be read in a thread."""
    live: LiveEvents
    """What happens now."""
    lifecycle: Lifecycle
    """Which requests run."""
    catalog: Catalog
    """What names of models mean."""
    models: Models
    """The store; to be read in a thread."""
    projects: Projects
    """Which projects are up."""
    plugins: Plugins
    """Which plugins there are, with their counters."""
    page_sessions: PageSessions
    """Who may use the web page."""
    comparisons: Comparisons
    """Recorded requests that the page has sent again."""
    engines: Mapping[str, Engine]
    """The engines by name."""
    transfers: Transfers
    """Runs what takes its time, as a pull."""
