"""One row of a table, its cells checked as they are asked for, and how large a table may be."""

from __future__ import annotations

import ast
import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import UserError


@dataclass(frozen=True)
class Limits:
    """How large a table from a stranger may be; None: as large as it is.

    Attributes:
        rows, columns: of the table.
        cells: of one line, counted before it is parsed.
    """

    rows: int | None = None
    columns: int | None = None
    cells: int | None = None  # of one line, counted before it is parsed

    def check(self, name: str, n_rows: int, n_columns: int) -> None:
        """Refuse a table that is too large.

        Args:
            name: what the table is called in messages.
            n_rows, n_columns: seen so far.

        Raises:
            UserError: more than the limits allow.
        """
        if self.columns is not None and n_columns > self.columns:
            raise UserError("The table has too many columns", got=f"{name} with more than {self.columns}",
                            limit=self.columns, hint="leave the columns for the clip's file and its text")
        if self.rows is not None and n_rows > self.rows:
            raise UserError("The table has too many rows", got=f"{name} with more than {self.rows}", limit=self.rows,
                            hint="send it in parts")


@dataclass(frozen=True)
class Record:
    """One row of a table.

    Attributes:
        cells: by column as the table writes it, in its order; text, or in JSON any value.
        where: for messages, as in "metadata.csv, line 3".
    """

    cells: Mapping[str, Any]
    where: str

    def text(self, name: str | None) -> str:
        """A cell as text.

        Args:
            name: of the column; None or a column that is not there gives "".

        Returns:
            The text: null is empty, 7 and 7.0 are "7".

        Raises:
            UserError: the cell holds true or false, a list or a table.
        """
        value = self.cells.get(name) if name else None
        if value is None or value != value:  # null, and the NaN by which pandas marks an empty cell in JSON
            return ""
        if isinstance(value, bool | list | dict):
            raise UserError(f"“{name}” must be text", got=f"{str(value)[:60]} in {self.where}", hint="correct it")
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    def number(self, name: str | None) -> float | None:
        """A cell as a number.

        Args:
            name: of the column; None or a column that is not there gives None.

        Returns:
            A number of at least 0; None where the cell is empty.

        Raises:
            UserError: it is no such number.
        """
        value = self.cells.get(name) if name else None
        if value is None or value == "":
            return None
        try:
            found = float(value.strip().replace(",", ".") if isinstance(value, str) else value)
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if isinstance(value, bool) or not 0 <= found < math.inf:
            raise UserError(f"“{name}” must be a number of at least 0", got=f"{str(value)[:60]!r} in {self.where}",
                            hint="correct it")
        return found

    def file(self, name: str) -> str:
        """A cell as a file's name, also as `datasets` writes it: {"path": …}.

        Args:
            name: of the column.

        Returns:
            The name as written; whether there is such a file is not looked at.

        Raises:
            UserError: the cell names none.
        """
        value = self.cells.get(name)
        if isinstance(value, str) and value.lstrip().startswith("{"):  # as pandas writes such a cell
            with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                value = ast.literal_eval(value.strip())
        if isinstance(value, dict):
            value = value.get("path")
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise UserError("A row names no audio", got=f"{self.where}: “{name}” is {str(value)[:60] or 'empty'!r}",
                            hint="fill it in or remove the row")
        return value.strip()


def fold(name: str) -> str:
    """A column's name without case and without the difference between space, dash and underscore.

    Args:
        name: as the table writes it.

    Returns:
        The name to compare.

    >>> fold(" File-Name "), fold("file_name")
    ('file_name', 'file_name')
    """
    return re.sub(r"[\s_-]+", "_", name.strip().lower())
