"""The page's looks: theme, style sheet and script, which Gradio's components do not bring themselves."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

# The mark of 0 on a slider's track, in hundredths of its length. A thumb of 16 pixels stays within the track.
_PLACES = "\n".join(f".zero-at-{n} {{ --zero: calc({n}% + {(50 - n) * 0.16:.2f}px); }}" for n in range(101))

CSS = Path(__file__).with_suffix(".css").read_text(encoding="utf-8") + _PLACES


HEAD = f"<script>{Path(__file__).with_name('script.js').read_text(encoding='utf-8')}</script>"


def theme() -> gr.themes.Default:
    """Gradio's looks, with texts that are dark enough to be read (WCAG AA), and fonts that are there already."""
    font = ["system-ui", "sans-serif"]  # Gradio's own would be fetched from a server of Google's.
    plain = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=font, font_mono=["monospace"])
    return plain.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300",
                     block_label_text_color="*neutral_600", block_label_text_color_dark="*neutral_200",
                     block_title_text_color="*neutral_700", block_title_text_color_dark="*neutral_200",
                     body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300",
                     input_placeholder_color="*neutral_500", input_placeholder_color_dark="*neutral_400",
                     color_accent="*primary_600", slider_color="*primary_600",
                     button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700")
