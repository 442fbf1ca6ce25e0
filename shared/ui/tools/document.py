"""The documentation of the tools and endpoints, made from the code that answers them.

    python -m shared.ui.tools.document            # writes docs/agents.md and the made parts of docs/api.md
    python -m shared.ui.tools.document --check    # exit code 1 where they are not what the code says

A running app gives the page for agents at /agents.md, with its own address in it.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.ui.tools.arguments import parameters
from shared.ui.tools.work import TOOLS, Tool

DOCS = Path(__file__).parents[3] / "docs"
ADDRESS = "http://127.0.0.1:7860"
PART = re.compile(r"(<!-- made by shared\.ui\.tools\.document: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
CLIENT = f'''```python
from gradio_client import Client, handle_file

client = Client("{ADDRESS}")
found = client.predict(audio=handle_file("speech.flac"), api_name="/transcribe")
print(found["language"], found["text"])
```
'''
MCP_CLIENT = f'''```python
import asyncio
from pathlib import Path

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    async with (streamable_http_client("{ADDRESS}/mcp") as (read, write, _),
                ClientSession(read, write) as session):
        await session.initialize()
        found = await session.call_tool("transcribe", {{"audio": str(Path("speech.flac").resolve())}})
        print(found.structuredContent["text"])


asyncio.run(main())
```
'''
UPLOAD = f'''```bash
curl -s -F files=@speech.flac {ADDRESS}/gradio_api/upload    # ["/…/speech.flac"]: the path to give as `audio`
```
'''
OPENAI = f'''```bash
curl -s {ADDRESS}/v1/audio/transcriptions -F model=whisper-1 -F file=@speech.flac
```
'''
AGENTS = f'''# How a program or an agent uses this app

A speech recogniser (Whisper, and a fine-tuned checkpoint beside it). Made from the code: the running app gives this
page at `{ADDRESS}/agents.md`.

## Over the Model Context Protocol

The address is `{ADDRESS}/mcp` (streamable HTTP). In Claude Code: `claude mcp add --transport http whisper
{ADDRESS}/mcp`. In a client that is set up with a file:

```json
{{"mcpServers": {{"whisper": {{"type": "http", "url": "{ADDRESS}/mcp"}}}}}}
```

{MCP_CLIENT}
Each answer has a short text for a reader and the same as structured values. What cannot be done is an answer with
`isError` and one sentence: what is wrong, what was got, the limit, what to do. A client that cancels a call or leaves
ends its work. One call that needs a model is worked on at a time; the others wait in the order in which they came.

## Over the app's own API

The same five as endpoints, with the same names and defaults; only what has no default must be given.

{CLIENT}
## Over OpenAI's API

{OPENAI}
## How a file is given

`audio` (and `archive`, `table`) is one of four things: an http(s) address; a data URL, up to about 23 MB of sound; what
an upload gave; or, where the app runs on your own machine, the full path of a file there.

{UPLOAD}
What was uploaded is deleted when it has been read.

## The tools

%s'''


def agents_page(address: str = ADDRESS) -> str:
    """The whole page for agents, with the app's address in it."""
    return (AGENTS % "\n".join(map(_section, TOOLS))).replace(ADDRESS, address)


def made_parts() -> dict[str, str]:
    """The parts of docs/api.md that are made, by name."""
    return {"tools": "\n".join(map(_section, TOOLS)), "client": CLIENT, "mcp": MCP_CLIENT, "upload": UPLOAD,
            "openai": OPENAI}


def pages() -> dict[Path, str]:
    """What the two files should hold."""
    parts, page = made_parts(), DOCS / "api.md"
    text = PART.sub(lambda found: f"{found[1]}\n{parts[found[2]]}\n{found[3]}", page.read_text(encoding="utf-8"))
    return {DOCS / "agents.md": agents_page(), page: text}


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shared.ui.tools.document",
                                     description="Write docs/agents.md and the made parts of docs/api.md.")
    parser.add_argument("--check", action="store_true",
                        help="write nothing; exit code 1 where a page is not up to date")
    check = parser.parse_args(arguments).check
    stale = {path: text for path, text in pages().items()
             if not path.exists() or path.read_text(encoding="utf-8") != text}
    for path, text in stale.items():
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {'is not what the code says' if check else 'written'}")
    return 1 if check and stale else 0


def _section(tool: Tool[Any]) -> str:
    fields = parameters(tool.takes)
    rows = "".join(f"| `{name}` | {_cell(field.description)} | {_default(field)} |\n" for name, field in fields.items())
    takes = f"| parameter | meaning | default |\n| --- | --- | --- |\n{rows}" if fields else "It takes nothing.\n"
    return f"### `{tool.name}`\n\n{tool.description}\n\n{takes}\nIt gives:\n\n{_gives(tool.gives)}"


def _gives(kind: type[BaseModel], indent: str = "") -> str:
    lines = []
    for name, field in kind.model_fields.items():
        inner = _model_of(field.annotation)
        about = field.description or (inner.__doc__ or "" if inner else "")
        lines.append(f"{indent}- `{name}`{f': {about}' if about else ''}\n")
        if inner:
            lines.append(_gives(inner, indent + "  "))
    return "".join(lines)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model in `list[Model]`, None for a plain value."""
    (inner,) = getattr(annotation, "__args__", (None,))[:1]
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**must be given**"
    value = field.default
    return "empty" if value == "" else f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.exit(main())
