"""Our own line icons, one for each page, and the mark of the whole: drawn on 24 units, in the text's colour."""

from __future__ import annotations

PATHS = {
    "microphone": '<rect x="9" y="3" width="6" height="11" rx="3"/>'
                  '<path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3M9 21h6"/>',
    "files": '<path d="M14 3H7.5A1.5 1.5 0 0 0 6 4.5v15A1.5 1.5 0 0 0 7.5 21h9a1.5 1.5 0 0 0 1.5-1.5V7z"/>'
             '<path d="M14 3v4h4M9 12.5v3M12 11v6M15 12.5v3"/>',
    "links": '<path d="M10 14a4 4 0 0 0 5.7 0l3.1-3.1a4 4 0 0 0-5.7-5.7L12 6.3"/>'
             '<path d="M14 10a4 4 0 0 0-5.7 0l-3.1 3.1a4 4 0 0 0 5.7 5.7l1.1-1.1"/>',
    "compare": '<path d="M5 7.5h14M5 16.5h8"/><circle cx="19" cy="16.5" r="1.6"/><path d="M5 4.8v5.4M5 13.8v5.4"/>',
    "browser": '<rect x="3" y="4.5" width="18" height="15" rx="2"/><path d="M3 9h18M6 6.8h.01M8.5 6.8h.01"/>'
               '<path d="M9 13v3M12 11.7v5.6M15 13v3"/>',
    "train": '<path d="M4 4v16h16"/><path d="M7.5 8c2.5 5.5 5.5 7.6 11.5 8"/><circle cx="19" cy="16" r="1.3"/>',
}


def icon(name: str) -> str:
    """For beside a title that says the same, so that screen readers pass over it."""
    return (f'<svg class="icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" '
            f'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{PATHS[name]}</svg>')
