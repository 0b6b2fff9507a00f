"""What is in the way of a fleet's work: told once while it lasts, with growing pauses between the tries."""

from dataclasses import dataclass

from fleet_dagster.live.events import Event, Kind, Tell

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


@dataclass
class Trouble:
    """What went wrong last for one fleet; `about` names the work that it keeps from being done."""

    tell: Tell
    fleet: str
    about: str
    problem: str = ""
    pause_s: float = 0.0

    def met(self, error: Exception) -> float:
        """Say what went wrong, unless that was said; returns how long to pause [s]."""
        problem = " ".join(str(error).split()) or type(error).__name__
        if problem != self.problem:
            self.problem = problem
            text = f"{self.about} cannot be done, and is tried again until it can: {problem}"
            self.tell(Event(Kind.TROUBLE, self.fleet, text, {"problem": problem}))
        self.pause_s = min(max(FIRST_PAUSE_S, 2 * self.pause_s), LONGEST_PAUSE_S)
        return self.pause_s

    def over(self) -> None:
        """Say that work goes on, if it did not."""
        if self.problem:
            self.tell(Event(Kind.RECOVERED, self.fleet, f"{self.about} can be done again"))
        self.problem, self.pause_s = "", 0.0
