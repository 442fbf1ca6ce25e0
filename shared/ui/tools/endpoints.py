"""The five tools as endpoints of the app's own API, for `gradio_client`: one object in, by names, and one out."""

from __future__ import annotations

import inspect
from typing import Any

import gradio as gr
from gradio.components.api_component import Api

from shared.errors import Cancelled, UserError
from shared.serving import Serving
from shared.ui.server.jobs import Asker
from shared.ui.tools.arguments import checked, parameters, schema
from shared.ui.tools.files import Files
from shared.ui.tools.sentences import sentence
from shared.ui.tools.work import TOOLS, Caller, Tool, called


def endpoints(serving: Serving, own_files: bool) -> None:
    """Add them to the Blocks that is open. own_files: whether paths of this machine are read."""
    files = Files(serving.limits, own_files)
    for tool in TOOLS:
        _add(tool, serving, files)


def _add(tool: Tool[Any], serving: Serving, files: Files) -> None:
    names = list(parameters(tool.takes))

    async def run(*given: Any) -> dict[str, Any]:
        *values, request, bar = given
        named = {name: _path(value) for name, value in zip(names, values, strict=True)}
        try:
            asked = checked(tool.takes, named)
            return (await called(tool, asked, serving, files, Caller(Asker.of(request), bar))).model_dump()
        except UserError as error:
            raise gr.Error(sentence(error, named), print_exception=False) from None
        except Cancelled:
            raise gr.Error("Stopped.", print_exception=False) from None

    run.__signature__ = _signature(tool)  # type: ignore[attr-defined]  # Gradio reads names and defaults from here
    run.__annotations__ = {"request": gr.Request}
    gr.on([], run, _inputs(tool), _output(tool), api_name=tool.name, api_description=tool.description,
          preprocess=False, postprocess=False, queue=tool.lane is not None)


def _path(value: Any) -> Any:
    """A file that `gradio_client.handle_file` uploaded comes as an object with its path."""
    return value.get("path") if isinstance(value, dict) else value


def _signature(tool: Tool[Any]) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = [inspect.Parameter(name, kind, default=inspect.Parameter.empty if field.is_required() else field.default)
           for name, field in parameters(tool.takes).items()]
    return inspect.Signature([*own, inspect.Parameter("request", kind, default=None),
                              inspect.Parameter("bar", kind, default=gr.Progress())])


def _field(value: Any, described: dict[str, Any], name: str) -> Api:
    """What `gr.api` makes of a parameter: a component that no page shows. Gradio fetches no address that is in it."""
    made = Api(value, described, name)
    move = made.async_move_resource_to_block_cache

    async def move_unless_address(path: Any) -> Any:
        return path if str(path).lower().startswith(("http://", "https://")) else await move(path)

    made.async_move_resource_to_block_cache = move_unless_address
    return made


def _inputs(tool: Tool[Any]) -> list[Api]:
    """With names and descriptions."""
    fields = parameters(tool.takes)
    return [_field(None if fields[name].is_required() else fields[name].default,
                {**described, "additional_description": described["description"]}, name)
            for name, described in schema(tool.takes)["properties"].items()]


def _output(tool: Tool[Any]) -> Api:
    return _field(None, {"type": "object", "additional_description": tool.gives.__doc__ or ""}, "result")
