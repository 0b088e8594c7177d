"""How often a fault was tried, and what became of it: a row of the table in docs/reliability.md."""

from dataclasses import dataclass, field

# those of this process, the newest last: an interrupted one is kept as far as it came
BEGUN: list["Tally"] = []


@dataclass
class Tally:
    """A fault: how often it was tried, what finished work was lost, what was wrong afterwards (or left), and
    how often the same command went on to the end.
    """

    fault: str
    tried: int = 0
    lost: int = 0
    wrong: int = 0
    recovered: int = 0
    figure: str = ""
    why: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        BEGUN.append(self)

    def count(self, *, lost: list[str], wrong: list[str], recovered: bool) -> None:
        """Count one try."""
        self.tried += 1
        self.lost += bool(lost)
        self.wrong += bool(wrong)
        self.recovered += recovered and not lost and not wrong
        self.why += [*(f"lost: {each}" for each in lost), *(f"wrong: {each}" for each in wrong)]
        counts = f"{self.tried} tried, {self.lost} lost, {self.wrong} wrong"
        print(f"{self.fault}: {counts}", *lost, *wrong, flush=True)

    def check(self) -> None:
        """Fail unless nothing was lost or wrong, and everything recovered."""
        assert self.tried, f"{self.fault}: nothing was tried"
        assert (self.lost, self.wrong, self.recovered) == (0, 0, self.tried), (self.fault, self.why)
