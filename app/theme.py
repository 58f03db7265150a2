"""The page's look: Gradio's plainest theme with system fonts, and one style sheet. Nothing is fetched from anywhere."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

SANS = [
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Helvetica Neue",
    "Arial",
    "sans-serif",
]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
STYLE = Path(__file__).with_name("theme.css").read_text(encoding="utf-8")
THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.neutral,
    secondary_hue=gr.themes.colors.neutral,
    neutral_hue=gr.themes.colors.gray,
    spacing_size=gr.themes.sizes.spacing_sm,
    radius_size=gr.themes.sizes.radius_md,
    text_size=gr.themes.sizes.text_sm,
    font=SANS,
    font_mono=MONO,
).set(
    body_background_fill="var(--paper)",
    body_background_fill_dark="var(--paper)",
    background_fill_primary="var(--surface)",
    background_fill_primary_dark="var(--surface)",
    block_background_fill="var(--surface)",
    block_background_fill_dark="var(--surface)",
    block_label_background_fill="var(--surface)",
    block_label_background_fill_dark="var(--surface)",
    border_color_primary="var(--line)",
    border_color_primary_dark="var(--line)",
    block_border_color="var(--line)",
    block_border_color_dark="var(--line)",
    input_background_fill="var(--paper)",
    input_background_fill_dark="var(--paper)",
    body_text_color_subdued="var(--quiet)",
    body_text_color_subdued_dark="var(--quiet)",
    block_info_text_color="var(--quiet)",
    block_info_text_color_dark="var(--quiet)",
    input_placeholder_color="var(--faint)",
    input_placeholder_color_dark="var(--faint)",
    input_border_color="var(--line)",
    input_border_color_dark="var(--line)",
    checkbox_border_color="var(--line-strong)",
    checkbox_border_color_dark="var(--line-strong)",
    button_secondary_background_fill="var(--hover)",
    button_secondary_background_fill_dark="var(--hover)",
    button_secondary_background_fill_hover="var(--line)",
    button_secondary_background_fill_hover_dark="var(--line)",
    button_secondary_text_color="var(--ink)",
    button_secondary_text_color_dark="var(--ink)",
    button_primary_background_fill="var(--ink)",
    button_primary_background_fill_dark="var(--ink)",
    button_primary_background_fill_hover="var(--quiet)",
    button_primary_background_fill_hover_dark="var(--quiet)",
    button_primary_text_color="var(--surface)",
    button_primary_text_color_dark="var(--surface)",
)
