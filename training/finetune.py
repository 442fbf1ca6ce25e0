"""python -m training.finetune CONFIG [key=value ...]: a data set and a base checkpoint in, a run's folder out.

Leaves in runs/<name>/: config.yaml, run.json, checkpoint-N/ (complete ones only count), model/ (the best by WER,
complete, merged), adapter/ (LoRA only), history.json; while it goes on, progress.json and curves.svg. Started again, it
goes on where it was. Trainer does the stepping; this module says what is fed, what is measured and what is kept.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers
from transformers import (
    EarlyStoppingCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    set_seed,
)

from shared.checkpoint import Checkpoint, files
from shared.checkpoint.adapter import merge_adapter
from shared.errors import UserError
from shared.system.command import reported
from shared.system.hardware import has_bfloat16
from training import config as settings
from training import preflight
from training.batch_fit import ReleaseFreeMemory, peak_mb
from training.config import COMPLETE, PICTURE, Config
from training.curves import curves
from training.data import Clips, Collator, languages_of, open_sets, open_split
from training.model import complete, is_multilingual, load_base, plain, token_loss, trainable
from training.progress import Progress
from training.schedule import LengthGrouped, mixed
from training.validation import Validation, facts_of

OPTIMIZERS = {"adamw": "adamw_torch", "adagrad": "adagrad", "adafactor": "adafactor", "adamw-8bit": "adamw_8bit"}


class Trainer(Seq2SeqTrainer):
    """Seq2SeqTrainer with our sampler, our loss per token, short contexts in evaluation, and whole checkpoints."""

    def __init__(self, *, run: dict[str, Any], config: Config, shares: np.ndarray | None,
                 collators: tuple[Collator, ...], validation: Callable[[int, int], Validation], **given: Any) -> None:
        super().__init__(data_collator=collators[0], compute_loss_func=token_loss, **given)
        self.run, self.config, self.shares, self.collators = run, config, shares, collators
        self.validation = validation(self.accelerator.process_index, self.accelerator.num_processes)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGrouped:
        return LengthGrouped(self.train_dataset.durations, self.args.per_device_train_batch_size, self.config.seed,
                             shares=self.shares, join=self.config.extra.join)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        self.data_collator = self.collators[1]
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = self.collators[0]

    def evaluation_loop(self, dataloader: Any, description: str, prediction_loss_only: bool | None = None,
                        ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval") -> Any:
        """The loss as Trainer has it; WER and CER as serving has them."""
        output = super().evaluation_loop(dataloader, description, True, ignore_keys, metric_key_prefix)
        self._check_finite(output.metrics[f"{metric_key_prefix}_loss"], "validation loss")
        rates = self.validation.rates(self.model, lambda counts: self.accelerator.reduce(
            counts.to(self.args.device), reduction="sum"))
        output.metrics.update({f"{metric_key_prefix}_{name}": rate for name, rate in rates.items()})
        return output

    def training_step(self, *args: Any, **given: Any) -> torch.Tensor:
        """A loss that is no number stops the run; transformers leaves it out of its log and goes on."""
        loss = super().training_step(*args, **given)
        self._check_finite(float(loss), "loss")
        return loss

    def _check_finite(self, loss: float, name: str) -> None:
        if math.isfinite(loss):
            return
        steps, last = self.config.steps, _last_complete(Path(self.args.output_dir))
        kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        raise UserError(f"The {name} is not a number any more", got=f"{loss} after step {self.state.global_step}, with "
                        f"learning rate {steps.learning_rate:g} and precision {steps.precision}",
                        hint=f"{kept}; begin a run of another name with a lower steps.learning_rate"
                        f"{'' if steps.precision == 'float32' else ', or with steps.precision=float32'}")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Nothing old is deleted before the new one is whole, so a kill at any moment leaves one to go on from."""
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            self._finish_checkpoint()
        self.accelerator.wait_for_everyone()

    def _finish_checkpoint(self) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        complete(folder, self.model, self.processing_class, self.run | {"step": self.state.global_step})
        (folder / COMPLETE).touch()
        kept = {folder.name, Path(self.state.best_model_checkpoint or folder).name}
        for other in Path(self.args.output_dir).glob("checkpoint-*"):
            if other.name not in kept:
                (other / COMPLETE).unlink(missing_ok=True)
                shutil.rmtree(other)


def train(config: Config, *, say: Callable[[str], None] = print) -> Path:
    """Do the run, or what is left of it, and return its folder. Under torchrun every process calls this.

    Raises UserError; among others if the folder holds a run with other settings.
    """
    set_seed(config.seed)
    folder = config.folder
    if (folder / "model" / COMPLETE).is_file():
        settings.same_run(config, settings.of_run(folder))
        say(f"{folder} is done already")
        return folder
    _check_possible(config)
    config, begun = _begun(config)
    config = settings.with_precision(config, fastest_precision())
    trainer = _prepared(config, say, measured=not begun)
    with trainer.args.main_process_first(local=False):
        last = _last_complete(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if trainer.args.should_save:
            settings.save(trainer.config, folder / "config.yaml")
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=last)
    best = next((entry for entry in trainer.state.log_history
                 if entry["step"] == trainer.state.best_global_step and "eval_wer" in entry), None)
    if best is None:  # fewer steps than between two evaluations: what there is is the best
        best = trainer.evaluate() | {"step": trainer.state.global_step}
    trainer.run |= {"seconds": round(time.perf_counter() - started, 1), "step": best["step"],
                    "validation_wer": best["eval_wer"], "peak_mb": peak_mb()}
    if trainer.args.should_save:
        _keep_best(trainer, folder)
    return folder


def _begun(config: Config) -> tuple[Config, bool]:
    """The config with the batch size a begun run was fitted to, and whether there is a checkpoint to go on from."""
    if not list(config.folder.glob(f"checkpoint-*/{COMPLETE}")):
        return config, False
    same = settings.same_run(config, settings.of_run(config.folder))
    # The weights are float32 in any precision, so what is left may be done in another than what was begun.
    return replace(same, steps=replace(same.steps, precision=config.steps.precision)), True


def fastest_precision() -> settings.Precision:
    """Of products, on this machine's GPU or else its processor: bfloat16 where that has it in hardware."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if has_bfloat16() else "float32"


def _check_possible(config: Config) -> None:
    """Raises UserError for what this machine cannot do, before the preflight reads all clips."""
    if config.steps.precision == "fp16" and not torch.cuda.is_available():
        raise UserError("fp16 needs a GPU", got="steps.precision=fp16 on a CPU",
                        hint="use steps.precision=bf16 or float32")
    if config.steps.optimizer == "adamw-8bit" and find_spec("bitsandbytes") is None:
        raise UserError("adamw-8bit needs the package bitsandbytes", got="it is not installed",
                        hint="pip install bitsandbytes, or use steps.optimizer=adamw")


def _prepared(config: Config, say: Callable[[str], None], *, measured: bool) -> Trainer:
    """The trainer with everything checked; a run that goes on keeps the batch size it began with."""
    sources = preflight.apart(config, [open_split(source, "train") for source in config.data], say)
    train_rows = datasets.concatenate_datasets(sources)
    validation = open_sets(config, "validation", config.eval_clips)
    languages = languages_of(config, train_rows)
    base, model, processor = load_base(config, languages)
    config = settings.with_rate(config, model.config.d_model)
    multilingual = is_multilingual(model)
    tests = [open_split(source, "test") for source in config.data if source.files("test")]
    preflight.check_data(config, processor.tokenizer, train_rows, validation, tests, multilingual, say)
    model = trainable(model, config, base)
    clips = Clips(train_rows, config, training=True)
    collators = tuple(Collator(config, processor.tokenizer, plain(model).config.num_mel_bins, multilingual, training)
                      for training in (True, False))
    if measured:
        config = preflight.measure(config, model, clips, collators[0], say)
    evaluated = Clips(validation, config, training=False)
    run = describe(config, base, languages) | {"multilingual": multilingual}
    folder = _serving_files(config, base, plain(model), processor, run)
    return Trainer(
        run=run, config=config, model=model, args=_arguments(config),
        shares=mixed([len(rows) for rows in sources], [source.weight for source in config.data]),
        train_dataset=clips, eval_dataset=evaluated, collators=collators, processing_class=processor,
        validation=partial(Validation, config, folder, evaluated, say),
        callbacks=_callbacks(config),
    )


def _callbacks(config: Config) -> list[TrainerCallback]:
    patience = [EarlyStoppingCallback(config.steps.patience)] if config.steps.patience else []
    return [ReleaseFreeMemory(), Progress(config.folder), *patience]


def _arguments(config: Config) -> Seq2SeqTrainingArguments:
    steps = config.steps
    return Seq2SeqTrainingArguments(
        output_dir=str(config.folder), max_steps=steps.max_steps, seed=config.seed, data_seed=config.seed,
        per_device_train_batch_size=steps.batch_size, per_device_eval_batch_size=steps.batch_size,
        gradient_accumulation_steps=steps.accumulation, learning_rate=steps.learning_rate, warmup_steps=steps.warmup,
        lr_scheduler_type=steps.schedule, optim=OPTIMIZERS[steps.optimizer], weight_decay=steps.weight_decay,
        max_grad_norm=steps.max_grad_norm, bf16=steps.precision == "bf16", fp16=steps.precision == "fp16",
        gradient_checkpointing=steps.gradient_checkpointing, eval_strategy="steps", eval_steps=steps.eval_steps,
        save_strategy="steps", save_steps=steps.eval_steps, logging_steps=min(10, steps.eval_steps),
        load_best_model_at_end=True, metric_for_best_model="rank", greater_is_better=False,
        remove_unused_columns=False, label_names=["labels"], dataloader_num_workers=steps.loader_workers,
        use_cpu=not torch.cuda.is_available(), report_to=["tensorboard"] if find_spec("tensorboard") else [],
    )


def describe(config: Config, base: Checkpoint, languages: Sequence[str]) -> dict[str, Any]:
    """What run.json says: enough to know what the checkpoint is for and to repeat it.

    finetuned_languages: of the speech, the main one first. language: whose token is forced, null where there are
    several.
    """
    facts = facts_of(config, languages)
    return {
        "name": config.name, "base": base.model_id, "base_revision": base.revision,
        "finetuned_languages": list(languages), "finetuned_task": config.task, "text_language": config.text_language,
        "language_tokens": config.language_tokens, "added_tokens": config.added_tokens,
        "language": config.token_of(languages[0]) if len(languages) == 1 else None, "task": config.task,
        "short_context": facts.short_context, "timestamps": facts.timestamps,
        "method": config.method.kind, "config": settings.plain(config), "seed": config.seed,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                     "python": sys.version.split()[0]},
    }


def _serving_files(config: Config, base: Checkpoint, model: WhisperForConditionalGeneration,
                   processor: WhisperProcessor, run: dict[str, Any]) -> Path:
    """A folder whose tokenizer and configuration are those of the model under training; it need hold no weights."""
    if not config.language_tokens:
        return files(base, "transformers")[1]
    folder = config.folder / "start"
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    complete(folder, model, processor, run)
    return folder


def _last_complete(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; what a kill left unfinished is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    for path in found:
        if not (path / COMPLETE).is_file():
            shutil.rmtree(path)
    whole = [path for path in found if path.is_dir()]
    return str(whole[-1]) if whole else None


def _keep_best(trainer: Trainer, folder: Path) -> None:
    """Trainer has loaded the best checkpoint; write it as model/, and its adapter as adapter/."""
    target = folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    if trainer.config.method.kind == "lora":
        adapter = folder / "adapter"
        trainer.model.save_pretrained(adapter, save_embedding_layers=False)  # peft adds a resized one, whole
        complete(adapter, trainer.model, trainer.processing_class, trainer.run)
        generation = plain(trainer.model).generation_config
        let_go(trainer)  # merging opens the base again, and there is room for one model
        _, base_folder = files(Checkpoint.parse(trainer.config.base), "transformers")
        merge_adapter(base_folder, adapter, target)
        trainer.processing_class.save_pretrained(target)
        generation.save_pretrained(target)
    else:
        inner = plain(trainer.model)
        inner.save_pretrained(target)
        complete(target, inner, trainer.processing_class, trainer.run)
    (folder / "run.json").write_text(json.dumps(trainer.run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "history.json").write_text(json.dumps(trainer.state.log_history, indent=1) + "\n", encoding="utf-8")
    (folder / PICTURE).write_text(curves(trainer.state.log_history), encoding="utf-8")
    (target / COMPLETE).touch()


def let_go(trainer: Trainer) -> None:
    """Give back the memory of the model, the optimiser and the engine's copy; the trainer trains no more after it."""
    trainer.accelerator.free_memory()
    for name in ("model", "optimizer", "lr_scheduler"):
        setattr(trainer, name, None)
        setattr(trainer.callback_handler, name, None)
    trainer.model_wrapped = None
    gc.collect()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.finetune", description="Fine-tune a Whisper checkpoint.")
    parser.add_argument("config", help="a YAML file, for example training/configs/italian-lora.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example steps.max_steps=20")
    given = parser.parse_args(arguments)
    return reported("training.finetune", lambda: print(train(settings.load(given.config, given.overrides))))


if __name__ == "__main__":
    sys.exit(main())
