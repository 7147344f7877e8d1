"""LotteryTicket: pretrain, prune, rewind and train again, in fits that follow each other and survive a kill."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint import read_masks
from ..either_lightning import pl, rank_zero_only
from ..files.safe_files import read_checkpoint, write_whole
from ..owner import MaskOwner
from ..settings import described, settings
from ..sparse_training import SparseTraining
from ..sparsity import KeepValues, Masks, Uniform
from ..sparsity.masks.replica import replica
from .iterative_pruning import IterativePruning
from .retraining import Beginning, RetrainingMethod, Solution, WeightRewinding
from .rewind import RewindPoint
from .stage import LotteryStage, MakeTrainer
from .ticket import Ticket, TicketOwner, check_same_network, ticket_checkpoint


@dataclass(frozen=True)
class _Fits:
    """The module, the data and the Trainers of all fits of a lottery."""

    module: pl.LightningModule
    data: Any
    make_trainer: MakeTrainer

    def data_of(self, number: int) -> Any:
        """Return the data of the fit ``number``, which are made for it if ``data`` is a function."""
        return self.data(number) if callable(self.data) else self.data


class LotteryTicket:
    """Find sparse networks inside a dense one and train them: plain Python over separate fits.

    With a pruning callback, the paper's way: one run that is pruned while it trains; the ticket is its final mask
    on the weights of an early step. With :class:`IterativePruning`, level by level: train, prune, rewind.

    Everything is kept in ``folder``::

        pretrain/start.ckpt, rewind.ckpt          the states after 0 and ``rewind_step`` steps
        pretrain/end.ckpt                         the pruned run, or the dense one to prune
        level-1/<retraining>/ticket.ckpt          a :class:`Ticket`
        level-1/<retraining>/run-0/end.ckpt       what it became

    A step of this whose file exists is not done again; one that was killed goes on from its ``last.ckpt``. So run
    the same program again after a kill: it ends with the same bits, given a module that is built alike (seeded) and
    a loader that can go on inside an epoch. Later you may ask for more ``retraining``, ``runs`` or levels. Other
    settings, as far as this class knows them, are refused: take another folder. What it does not know, it cannot
    compare: keep network, data and Trainer the same.

    Under DDP all ranks run the program and must see ``folder``; rank 0 writes.

    Args:
        folder: a folder of this lottery alone, on a disk that all ranks see.
        pruning: a callback that ends a run with a mask, such as :class:`GradualPruning`; or IterativePruning.
        rewind_step: optimizer steps after which the weights to go back to are kept; 0 is the initialization.
        retraining: how to train what is left; several are trained side by side from the same masks, and the first
            is what the next level prunes. Controls, :class:`RandomReinit` and :class:`ShuffledMask`, are among them.
        runs: trainings of each ticket, with different random numbers; the first is what the next level prunes.
        save_every: optimizer steps between two saves of a fit on its way.
        seed: the seed of all random numbers, with the level and the number of the run.

    Raises:
        ValueError: an argument is outside its range, or two retrainings have one name.

    Reference:
        Evci et al. 2022, section 4; Frankle and Carbin 2019; Renda et al. 2020.

    Example:
        >>> lottery = LotteryTicket("runs/lottery", GradualPruning(0.95), runs=5)  # doctest: +SKIP
        >>> for ticket in lottery.run(module, data, make_trainer):  # doctest: +SKIP
        ...     print(ticket.sparsity, ticket.trained)
    """

    def __init__(
        self,
        folder: str | Path,
        pruning: MaskOwner | IterativePruning,
        *,
        rewind_step: int = 0,
        retraining: Sequence[RetrainingMethod] = (WeightRewinding(),),
        runs: int = 1,
        save_every: int = 1000,
        seed: int = 0,
    ) -> None:
        for name, value, least in (("rewind_step", rewind_step, 0), ("runs", runs, 1), ("save_every", save_every, 1)):
            if value < least:
                raise ValueError(f"LotteryTicket.{name} is {value}; it is {least} or more")
        names = [option.name for option in retraining]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"LotteryTicket.retraining is {names}; give one or more, each with a name of its own")
        self.folder = Path(folder)
        self.pruning = pruning
        self.rewind_step = rewind_step
        self.retraining = tuple(retraining)
        self.runs = runs
        self.save_every = save_every
        self.seed = seed

    def run(
        self,
        module: pl.LightningModule,
        data: pl.LightningDataModule | Callable[[int], pl.LightningDataModule] | Any,
        make_trainer: MakeTrainer,
    ) -> Iterator[Ticket]:
        """Yield every ticket once all its training runs are done: level by level, in the order of ``retraining``.

        Args:
            module: the dense network as initialised; it is copied, not changed.
            data: a datamodule or loader for all fits; or a function that gives one for the number of a fit, 0 for
                the one that is pruned and 1, 2, ... for the runs of each ticket, so that each has a data order of its
                own. Without that, runs differ by torch's global random numbers alone.
            make_trainer: ``make_trainer(callbacks, folder)`` gives a new Trainer, with checkpointing enabled, that
                has these callbacks and any of your own, but no other owner of masks.

        Raises:
            ValueError: a file is damaged, of other settings or of another network; or ``make_trainer`` is not as above.
        """
        fits = _Fits(replica(module), data, make_trainer)
        solution = self._pretrain(fits)
        for level in range(1, self._levels + 1):
            next_solution = None
            for option in self.retraining:
                ticket = self._ticket(fits, level, option, solution)
                stages = [self._train(fits, ticket, run) for run in range(self.runs)]
                next_solution = next_solution or stages[0]
                yield ticket
            solution = next_solution or solution

    @property
    def stages(self) -> list[str]:
        """The names of all fits in their order: folders that hold ``end.ckpt`` once they are done."""
        levels = range(1, self._levels + 1)
        options = [option.name for option in self.retraining]
        runs = [f"level-{n}/{option}/run-{run}" for n in levels for option in options for run in range(self.runs)]
        return ["pretrain", *runs]

    @property
    def _levels(self) -> int:
        return self.pruning.levels if isinstance(self.pruning, IterativePruning) else 1

    def _stage(self, name: str) -> LotteryStage:
        pruning = self.pruning
        if isinstance(pruning, IterativePruning):
            about = described(dataclasses.replace(pruning, levels=1))  # more levels may be asked for later
        else:
            about = settings(pruning)
        about = f"{about}, rewind_step={self.rewind_step}, seed={self.seed}"
        return LotteryStage(self.folder / name, f"{name} of a lottery with {about}", self.save_every)

    def _pretrain(self, fits: _Fits) -> LotteryStage:
        """Fit the network that is pruned while it trains, or the dense one to prune."""
        stage = self._stage("pretrain")
        if isinstance(self.pruning, IterativePruning):
            owner: MaskOwner = SparseTraining(
                0.0,
                distribution=Uniform(),
                initialization=KeepValues(),
                include=self.pruning.include,
                exclude=self.pruning.exclude,
            )
        else:
            owner = copy.deepcopy(self.pruning)
            owner.masks, owner.missing = Masks({}), ""  # the callback may have been in another fit
        points = [RewindPoint(0, path=stage.folder / "start.ckpt")]
        if self.rewind_step:
            points.append(RewindPoint(self.rewind_step, path=stage.folder / "rewind.ckpt"))
        stage.fit(
            replica(fits.module),
            lambda: fits.data_of(0),
            fits.make_trainer,
            [owner, *points],
            seed=self._seed(0, 0),
        )
        return stage

    def _ticket(self, fits: _Fits, level: int, option: RetrainingMethod, solution: LotteryStage) -> Ticket:
        """Return the ticket of a level, from its file if there is one. All ranks compute it, and rank 0 writes it."""
        stage = self._stage(f"level-{level}/{option.name}")
        path = stage.folder / "ticket.ckpt"
        if path.is_file():
            content = stage.read(path)  # refuses the file of another lottery
        else:
            content = ticket_checkpoint(
                self._beginning(fits, level, option, solution), level, option.name, fits.module, stage
            )
            if rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # Lightning takes it from the environment
                write_whole(content, path)
        return Ticket.from_checkpoint(content, path)

    def _beginning(self, fits: _Fits, level: int, option: RetrainingMethod, solution: LotteryStage) -> Beginning:
        pretrain = self.folder / "pretrain"
        start = read_checkpoint(pretrain / "start.ckpt")
        check_same_network(fits.module, start["state_dict"], f"the run in {str(pretrain)!r}")
        end = solution.read(solution.end)
        masks = read_masks(solution.end)
        if isinstance(self.pruning, IterativePruning):
            masks = self.pruning(masks, end["state_dict"])
        end_of_pruning = Solution(
            masks=masks,
            end=end,
            rewound=read_checkpoint(pretrain / "rewind.ckpt") if self.rewind_step else start,
            start=start,
            learning_rates=solution.learning_rates(end),
            trainable=[name for name, parameter in fits.module.named_parameters() if parameter.requires_grad],
        )
        return option(end_of_pruning, self._seed(level, 0))

    def _train(self, fits: _Fits, ticket: Ticket, run: int) -> LotteryStage:
        """Train a ticket once."""
        stage = self._stage(f"level-{ticket.level}/{ticket.retraining}/run-{run}")
        module = replica(fits.module)
        ticket.apply(module)
        stage.fit(
            module,
            lambda: fits.data_of(1 + run),
            fits.make_trainer,
            [TicketOwner(ticket)],
            seed=self._seed(ticket.level, 1 + run),
            start=ticket.path if ticket.resumes else None,
        )
        return stage

    def _seed(self, level: int, number: int) -> int:
        """Return the seed of one fit, which is the same after every restart."""
        counters = f"{self.seed},{level},{number}".encode()
        return int.from_bytes(hashlib.blake2b(counters, digest_size=4).digest(), "big")
