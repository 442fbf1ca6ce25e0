"""How every page looks: one theme, style sheets, one script. Nothing is fetched from another host."""

from __future__ import annotations

import gradio as gr

from shared.ui import STATIC

STYLES = [STATIC / "style.css", STATIC / "compare.css"]
HEAD = (f"<style>{(STATIC / 'frame.css').read_text(encoding='utf-8')}</style>"
        f"<script>{(STATIC / 'panel.js').read_text(encoding='utf-8')}</script>")
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")


def theme() -> gr.themes.Base:
    """Quiet greys and one accent, in the fonts the visitor's system has."""
    soft = gr.themes.Soft(primary_hue="indigo", secondary_hue="slate", neutral_hue="slate", radius_size="md",
                          font=list(SYSTEM_FONTS), font_mono=["ui-monospace", "monospace"])
    return soft.set(
        block_title_background_fill="transparent", block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color", block_title_text_color_dark="*body_text_color",
        block_title_padding="0", block_title_text_weight="500", block_label_text_weight="500",
        block_label_background_fill="transparent", block_label_background_fill_dark="transparent",
        block_label_text_color="*body_text_color", block_label_text_color_dark="*body_text_color",
        block_border_width="1px", block_border_width_dark="1px", block_shadow="none",
        checkbox_border_width="1px", checkbox_border_color="*neutral_400", checkbox_border_color_dark="*neutral_500",
        body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400")
