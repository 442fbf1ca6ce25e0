"""Which of the two configured checkpoints answers, and what is said where it is not the fine-tuned one."""

from __future__ import annotations

from collections.abc import Callable

from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.languages import language_name
from shared.options import Options


def refusal(tuned: Transcriber, options: Options) -> str | None:
    """Whether the fine-tuned checkpoint should answer.

    Args:
        tuned: the fine-tuned one.
        options: what is asked; the language is a code.

    Returns:
        Why it should not, as a sentence; None if it should.
    """
    if tuned.languages is not None and options.language not in tuned.languages:
        spoken = language_name(options.language or "")
        return f"{tuned_for(tuned)}; this is {spoken}, so the base model answered."
    return task_refusal(tuned, options)


def task_refusal(tuned: Transcriber, options: Options) -> str | None:
    """Why the fine-tuned checkpoint should not do this task, None if it should."""
    if options.task == tuned.facts.task:
        return None
    done = "translated" if options.task == "translate" else "transcribed"
    return f"The fine-tuned model was tuned to {tuned.facts.task}, so the base model {done}."


def tuned_for(tuned: Transcriber) -> str:
    """The languages of the fine-tuned checkpoint, as the beginning of a sentence."""
    served = ", ".join(language_name(code) for code in tuned.languages or ())
    return f"The fine-tuned model was tuned for {served}"


def chooser(base: Transcriber, tuned: Transcriber, opens: Callable[[Transcriber], bool] | None = None
            ) -> Callable[[str], tuple[Transcriber, str]]:
    """From a language that the base detected to the checkpoint that serves it, and the language to ask it for.

    opens: whether the weights of the fine-tuned one can be read, asked when they are wanted; None where they are there.
    """

    def choose(detected: str) -> tuple[Transcriber, str]:
        asked = tuned.facts.tuned_for(detected)
        serves = tuned.languages is None or asked in tuned.languages
        return (tuned, asked) if serves and (opens is None or opens(tuned)) else (base, detected)

    return choose


def not_available(fine_tuned: Checkpoint | str, error: UserError) -> str:
    """What is said where the fine-tuned checkpoint cannot be had."""
    return f"The fine-tuned model {fine_tuned} is not available, so the base model answers. {error}"
