from shared.tables.encoding import decoded
from shared.tables.reader import lines_of, read, read_file
from shared.tables.record import Limits, Record, fold

__all__ = ["Limits", "Record", "decoded", "fold", "lines_of", "read", "read_file"]
