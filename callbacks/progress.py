"""Shows the progress of a run: a line after every epoch, and on a terminal a live bar."""

from __future__ import annotations

import time
from datetime import timedelta

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from hass_train.search.phases import Phase
from hass_train.training.module import search_state
from hass_train.training.steps import Steps

_SHOWN = (
    ("val/acc", "val acc", "{:.4f}"),
    ("hw/throughput_ips", "images/s", "{:,.0f}"),
    ("hw/speedup", "speed-up", "{:.2f}×"),
    ("sparsity/pair", "pair sparsity", "{:.3f}"),
    ("loss/lambda", "λ", "{:.2f}"),
)


class Progress(pl.Callback):
    """Prints phase, epoch, loss, accuracy, throughput, speed-up, pair sparsity, λ and the time left at the end of every
    epoch; on a terminal, a bar below these lines shows the step.

    Args:
        bar: whether to show the bar on a terminal.
    """

    def __init__(self, bar: bool = True) -> None:
        self.bar = bar
        # start of the present epoch, and seconds and number of finished ones; trials between epochs do not count
        self._began, self._spent, self._epochs = time.monotonic(), 0.0, 0
        self._live: tuple[Bar, TaskID] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began, self._spent, self._epochs = time.monotonic(), 0.0, 0
        console = Console(highlight=False, soft_wrap=True)
        if self.bar and trainer.is_global_zero and console.is_terminal:
            bar = Bar(
                TextColumn("[bold]{task.fields[phase]:<7}[/]"), TextColumn("epoch {task.fields[epoch]}"), BarColumn(30),
                MofNCompleteColumn(), TextColumn("steps"), _Left(), console=console, transient=True,
                refresh_per_second=4,
            )  # fmt: skip
            bar.start()
            self._live = bar, bar.add_task("", total=None, phase="", epoch="", left=None)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.monotonic()
        if self._live is not None:
            bar, task = self._live
            epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
            left = self._left(trainer, 0.0) if self._epochs else None
            bar.reset(task, total=Steps.of(trainer).count, phase=_phase(pl_module), epoch=epoch, left=left)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self._live is not None:
            bar, task = self._live
            steps = Steps.of(trainer)
            completed = steps.at(batch_idx) + steps.ends(batch_idx)
            done = (batch_idx + 1) / max(steps.batches, 1)
            bar.update(task, completed=completed, left=self._left(trainer, done))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        left = self._left(trainer, 1.0)
        self._spent, self._epochs = self._spent + time.monotonic() - self._began, self._epochs + 1
        state = search_state(pl_module)
        logged, searching = {**trainer.callback_metrics}, state.phase == Phase.SEARCH
        if state.val_acc is None:
            logged.pop("val/acc", None)  # of an earlier epoch
        parts = [f"loss {float(logged['loss/task']):.3f}"] if "loss/task" in logged else []
        for key, label, form in _SHOWN:
            own = key in logged and (not key.startswith(("hw/", "loss/lambda")) or searching)
            if own:
                parts.append(f"{label} {form.format(float(logged[key]))}")
        console = self._live[0].console if self._live else Console(highlight=False, soft_wrap=True)
        console.print(
            f"[dim]{epoch:>4}/{total}[/] [bold]{_phase(pl_module):<7}[/] {'  '.join(parts)}  [dim]{left:,.0f} s left[/]"
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._live is not None:
            self._live[0].stop()
            self._live = None

    def _left(self, trainer: pl.Trainer, done: float) -> float:
        """The seconds until the end of training, if the remaining epochs take as long as those before.

        Args:
            trainer: Lightning's trainer.
            done: fraction of the present epoch that is done.
        """
        spent = self._spent + (time.monotonic() - self._began if done else 0.0)
        remaining = (trainer.max_epochs or 0) - trainer.current_epoch - done
        return spent / max(self._epochs + done, 1e-9) * remaining


class _Left(ProgressColumn):
    """The column of the bar with the time left until the end of training."""

    def render(self, task: Task) -> Text:
        left = task.fields["left"]
        return Text("" if left is None else f"{timedelta(seconds=round(left))} left", style="dim")


def _phase(module: pl.LightningModule) -> Phase:
    return search_state(module).phase
