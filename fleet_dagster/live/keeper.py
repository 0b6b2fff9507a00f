"""`Keeper`: keeps one fleet current in threads of its own, while it holds the fleet's lease."""

import threading
import time
import traceback
import uuid
from collections.abc import Sequence

from fleet_dagster.core.windows import Span
from fleet_dagster.live.events import Event, Kind, Listener, Tell
from fleet_dagster.live.observing import MakeObserver, unobserved
from fleet_dagster.live.summary import Summary
from fleet_dagster.live.trouble import Trouble
from fleet_dagster.live.work import Do, Work, n_windows, next_batch
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError, LeaseError
from fleet_dagster.refresh.due import owed, owed_answers
from fleet_dagster.refresh.refresh import Outcome, Refresh
from fleet_dagster.storage.clock import Clock
from fleet_dagster.storage.leases import Leases, live_key
from fleet_dagster.storage.store import Store

POLL_S = 0.05
"""How often a thread that waits looks at the clock [s]."""
ASK_AGAIN_S = 2.0
"""How often it is tried to take over from another engine [s]."""
PATIENCE_S = 20.0
"""How long a batch waits for another writer before that is told, and the work tried again [s]."""
RUN = "live"
"""What the run ids of an engine's writes begin with."""


class Keeper:
    """Keeps one fleet current: closes its windows, and asks its AI models, in threads of their own.

    The lease `live/<fleet>` is held meanwhile. Where another engine holds it, that is told, and the fleet taken over when the
    other ends.
    """

    def __init__(
        self,
        store: Store,
        config: FleetConfig,
        *,
        clock: Clock,
        wait: int,
        tell: Tell,
        listeners: Sequence[Listener] = (),
        observer: MakeObserver = unobserved,
    ) -> None:
        self.store, self.config, self.clock = store, config, clock
        self.tell, self.listeners = tell, listeners
        store.door.leases.wait_s = PATIENCE_S
        self.run_id = f"{RUN}-{uuid.uuid4().hex[:16]}"
        self.stopping = threading.Event()
        self.is_keeping = self.is_left_out = False
        closing, asking = self._doing("windows", observer), self._doing("ai_inference", observer)
        self.windows = Work(store, config, clock, owed, closing, wait)
        self.answers = Work(store, config, clock, owed_answers, asking, wait)
        self._fresh = threading.Event()
        self._answers_ended: BaseException | None = None
        self._summary = Summary(config, tell)
        self._leases = Leases(store.control, wait_s=0.0)
        self._thread = threading.Thread(target=self._guarded, name=f"live-{config.name}")

    def start(self) -> None:
        """Begin to keep the fleet current."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the batch that it is at."""
        self.stopping.set()
        self._fresh.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended; tells whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _doing(self, nodes: str, observer: MakeObserver) -> Do:
        """Return what refreshes a batch, with a refresh and an observer that live as long as the keeper."""
        observed = observer(self.store, self.config)
        refresh = Refresh(
            self.store,
            self.config,
            run_id=self.run_id,
            clock=self.clock,
            observe=observed,
            source="live",
        )
        work: Do = getattr(refresh, nodes)

        def do(batch: Span) -> list[Outcome]:
            with observed.refreshing(batch, source="live", run_id=self.run_id):
                return work(batch)

        return do

    def _guarded(self) -> None:
        """Run; what nobody foresaw leaves this fleet to the schedule, and no other."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - delta-rs panics are no Exception; it ends the thread
            self.is_left_out = True
            told = "".join(traceback.format_exception(error))
            text = f"left out, the schedule keeps it current from here on: {error!r}. Report this, with what was printed"
            self.tell(Event(Kind.LEFT_OUT, self.config.name, text, {"traceback": told}))

    def _run(self) -> None:
        trouble = Trouble(self.tell, self.config.name, "Taking the fleet's lease")
        held_by = ""
        while not self.stopping.is_set():
            try:
                with self._leases.hold([live_key(self.config.name)]) as holder:
                    trouble.over()
                    self._begin(holder)
            except LeaseError as error:
                if held_by != error.holder:
                    held_by = error.holder
                    text = f"left to the live engine {held_by}; taken over when that ends"
                    self.tell(Event(Kind.WAITING, self.config.name, text, {"holder": held_by}))
                self.stopping.wait(ASK_AGAIN_S)
            except (FleetError, OSError) as error:
                self.stopping.wait(trouble.met(error))

    def _begin(self, holder: str) -> None:
        """Keep the fleet current until told to stop, or until another engine has the lease."""
        self.tell(Event(Kind.STARTED, self.config.name, "kept current", {"holder": holder}))
        over, self.is_keeping = threading.Event(), True
        self._answers_ended = None
        asking = threading.Thread(
            target=self._guarded_answers, args=(over,), name=f"live-{self.config.name}-ai"
        )
        asking.start()
        try:
            self._keep_windows(holder)
        finally:
            self.is_keeping = False
            over.set()
            self._fresh.set()
            asking.join()
            self.tell(Event(Kind.ENDED, self.config.name, "no longer kept current"))

    def _keep_windows(self, holder: str) -> None:
        trouble = Trouble(self.tell, self.config.name, "Closing windows")
        while not self.stopping.is_set():
            if self._answers_ended is not None:
                raise self._answers_ended
            try:
                if not self._leases.is_alive(holder):
                    return
                is_idle = self._one_round(self.windows)
            except (FleetError, OSError) as error:
                self._pause(trouble.met(error))
                continue
            if not self.windows.aside:
                trouble.over()
            self._fresh.set()
            if is_idle:
                again = self.windows.tried_again_at()
                self._wait_until(self.windows.next_closing(), again)

    def _one_round(self, work: Work) -> bool:
        """Do the first batch of what is owed; tells whether nothing was."""
        spans = work.owed()
        n_owed, n_behind = n_windows(spans, work.interval), work.behind(spans)
        if not spans:
            self._summary.nothing(work)
            return True
        batch = next_batch(spans, work.interval)
        self._summary.begins(work, batch, n_behind=n_behind, n_owed=n_owed)
        done = work.round(batch, n_behind=n_behind, n_owed=n_owed)
        self._summary.ended(done)
        for listener in self.listeners:
            listener(self.config, done)
        return False

    def _guarded_answers(self, over: threading.Event) -> None:
        """Ask the AI models; what nobody foresaw ends the keeping, not just this thread: the schedule asks then."""
        try:
            self._keep_answers(over)
        except BaseException as error:  # noqa: BLE001 - told by the keeper's own thread
            self._answers_ended = error

    def _keep_answers(self, over: threading.Event) -> None:
        """Ask the AI models about what the windows' thread has brought up to date: one that hangs holds nothing up."""
        trouble = Trouble(self.tell, self.config.name, "Asking AI models")
        while not over.is_set():
            self._fresh.wait()
            self._fresh.clear()
            while not over.is_set() and not self.stopping.is_set():
                try:
                    if not self._ask_models():
                        break
                except (FleetError, OSError) as error:
                    over.wait(trouble.met(error))
                    continue
                if not self.answers.aside:
                    trouble.over()

    def _ask_models(self) -> bool:
        """Ask about the first batch of what has no answers; tells whether there was any."""
        work = self.answers
        spans = work.owed()
        if not spans:
            return False
        batch = next_batch(spans, work.interval)
        n_owed = n_windows(spans, work.interval)
        done = work.round(batch, n_behind=0, n_owed=n_owed)
        for listener in self.listeners:
            listener(self.config, done)
        return True

    def _pause(self, pause_s: float) -> None:
        """Pause after a failure; the next window ends the pause, but one that could not even be asked for does not."""
        closing = self.windows.next_closing()
        if closing > self.clock():
            self._wait_until(closing, time.monotonic() + pause_s)
        else:
            self.stopping.wait(pause_s)

    def _wait_until(self, instant: int, moment: float) -> None:
        """Wait until an instant of the engine's clock [us] or a moment of the monotonic one [s], whatever comes first."""
        while self.clock() < instant and time.monotonic() < moment:
            if self.stopping.wait(POLL_S) or self._answers_ended is not None:
                return
