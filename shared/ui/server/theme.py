"""How every page looks: one theme, style sheets, one script, the icon. Nothing is fetched from another host."""

from __future__ import annotations

import os
from html import escape

import gradio as gr
from fastapi import APIRouter
from fastapi.responses import FileResponse

from shared.ui import STATIC

STYLES = [STATIC / "style.css", STATIC / "panel.css", STATIC / "compare.css", STATIC / "home.css"]
ICON, SOCIAL_CARD = STATIC / "icon.svg", STATIC / "social-card.png"
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
SUMMARY = "Speech to text with your own fine-tuned Whisper, and the proof that it is better, word for word."

# By the names of Gradio's theme variables: colours for light and for dark, what both have, and what has no dark form.
LIGHT = {
    "body_background_fill": "#fbfaf9", "background_fill_primary": "#ffffff", "background_fill_secondary": "#f5f4f2",
    "body_text_color": "*neutral_900", "body_text_color_subdued": "*neutral_600",
    "border_color_primary": "*neutral_200", "color_accent": "*primary_700", "color_accent_soft": "*primary_50",
    "border_color_accent": "*primary_600", "border_color_accent_subdued": "*primary_200",
    "link_text_color": "*primary_700", "link_text_color_hover": "*primary_800",
    "link_text_color_active": "*primary_800", "link_text_color_visited": "*primary_700",
    "block_background_fill": "*background_fill_primary", "block_label_text_color": "*neutral_800",
    "block_title_text_color": "*neutral_800", "block_info_text_color": "*neutral_600",
    "input_background_fill": "#ffffff", "input_border_color": "*neutral_300",
    "input_border_color_focus": "*primary_600", "input_placeholder_color": "*neutral_500",
    "button_primary_background_fill": "*primary_700", "button_primary_background_fill_hover": "*primary_800",
    "button_primary_border_color": "*primary_700", "button_primary_text_color": "#ffffff",
    "button_secondary_background_fill": "#ffffff", "button_secondary_background_fill_hover": "*neutral_100",
    "button_secondary_border_color": "*neutral_300", "button_secondary_text_color": "*neutral_800",
    "button_cancel_background_fill": "#ffffff", "button_cancel_background_fill_hover": "#fef2f2",
    "button_cancel_border_color": "#dc2626", "button_cancel_text_color": "#b91c1c",
    "checkbox_background_color_selected": "*primary_700", "checkbox_border_color": "*neutral_500",
    "checkbox_border_color_selected": "*primary_700", "slider_color": "*primary_700",
    "error_text_color": "#b91c1c",
}
DARK = {
    "body_background_fill": "#12100f", "background_fill_primary": "#1c1a18", "background_fill_secondary": "#262321",
    "body_text_color": "#f2efec", "body_text_color_subdued": "*neutral_400",
    "border_color_primary": "#3a3633", "color_accent_soft": "#134e4a",
    "border_color_accent": "*primary_400", "border_color_accent_subdued": "*primary_800",
    "link_text_color": "*primary_300", "link_text_color_hover": "*primary_200",
    "link_text_color_active": "*primary_200", "link_text_color_visited": "*primary_300",
    "block_background_fill": "*background_fill_primary", "block_label_text_color": "#e7e3df",
    "block_title_text_color": "#e7e3df", "block_info_text_color": "*neutral_400",
    "input_background_fill": "#1c1a18", "input_border_color": "#57514c",
    "input_border_color_focus": "*primary_400", "input_placeholder_color": "*neutral_400",
    "button_primary_background_fill": "*primary_400", "button_primary_background_fill_hover": "*primary_300",
    "button_primary_border_color": "*primary_400", "button_primary_text_color": "#042f2e",
    "button_secondary_background_fill": "#262321", "button_secondary_background_fill_hover": "#34302d",
    "button_secondary_border_color": "#57514c", "button_secondary_text_color": "#f2efec",
    "button_cancel_background_fill": "#1c1a18", "button_cancel_background_fill_hover": "#3b1717",
    "button_cancel_border_color": "#f87171", "button_cancel_text_color": "#fca5a5",
    "checkbox_background_color_selected": "*primary_500", "checkbox_border_color": "*neutral_400",
    "checkbox_border_color_selected": "*primary_400", "slider_color": "*primary_400",
    "error_text_color": "#fca5a5",
}
BOTH = {
    "block_title_background_fill": "transparent", "block_label_background_fill": "transparent",
    "block_border_width": "1px", "block_shadow": "none", "block_label_border_width": "0px",
    "button_primary_shadow": "none", "button_secondary_shadow": "none", "button_primary_shadow_hover": "none",
    "button_secondary_shadow_hover": "none", "input_border_width": "1px", "checkbox_border_width": "1px",
    "input_shadow": "none", "shadow_spread": "0px",
}
SAME = {"block_title_padding": "0", "block_title_text_weight": "600", "block_label_text_weight": "600",
        "block_radius": "12px", "input_radius": "9px", "container_radius": "12px", "button_large_radius": "10px",
        "button_medium_radius": "9px", "button_small_radius": "8px", "button_large_text_weight": "600",
        "block_title_text_size": "*text_sm", "block_label_text_size": "*text_sm", "layout_gap": "16px",
        "form_gap_width": "0px", "button_transition": "background-color .15s ease"}


def head(title: str) -> str:
    """What goes into each page's head: frame, script, and what a link to the app shows elsewhere."""
    host = os.environ.get("SPACE_HOST")
    own = f"https://{host}" if host else ""  # who shows the picture wants its whole address
    described = {"og:title": title, "og:description": SUMMARY, "og:type": "website",
                 "og:image": f"{own}/{SOCIAL_CARD.name}", "twitter:card": "summary_large_image"}
    tags = "".join(f'<meta property="{name}" content="{escape(text)}">' for name, text in described.items())
    return (f'<meta name="description" content="{escape(SUMMARY)}">{tags}'
            f"<style>{(STATIC / 'frame.css').read_text(encoding='utf-8')}</style>"
            f"<script>{(STATIC / 'panel.js').read_text(encoding='utf-8')}</script>"
            f"<script>{(STATIC / 'compare.js').read_text(encoding='utf-8')}</script>")


def pictures() -> APIRouter:
    """The route of the picture that stands for the app elsewhere."""
    router = APIRouter()
    router.add_api_route(f"/{SOCIAL_CARD.name}", lambda: FileResponse(SOCIAL_CARD), include_in_schema=False)
    return router


def theme() -> gr.themes.Base:
    """Warm greys and one accent, in the fonts the visitor's system has. Boxes only where something goes in."""
    own = gr.themes.Base(primary_hue="teal", secondary_hue="stone", neutral_hue="stone", radius_size="md",
                         font=list(SYSTEM_FONTS), font_mono=["ui-monospace", "monospace"])
    return own.set(**SAME, **LIGHT, **{f"{name}_dark": value for name, value in DARK.items()}, **BOTH,
                   **{f"{name}_dark": value for name, value in BOTH.items()})
