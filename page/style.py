"""The page's looks: theme, style sheets and scripts, which Gradio's components do not bring themselves."""

from __future__ import annotations

import gradio as gr

# Marks on a slider's track, in hundredths of its length. A thumb of 16 pixels stays within the track.
_PLACES = "\n".join(f".safe-from-{n} {{ --from: {n}%; }} .safe-to-{n} {{ --to: {n}%; }} "
                    f".zero-at-{n} {{ --zero: calc({n}% + {(50 - n) * 0.16:.2f}px); }}" for n in range(101))

_PAGE = """
.gradio-container { width: 100%; max-width: 1280px !important; margin: auto; overflow: visible !important; }
.gradio-container .tabitem { overflow: visible; }
#intro h1 { margin-bottom: 0; } #intro p { margin-top: .2em; }
#privacy { opacity: .85; font-size: .85em; } #foot { align-items: center; }
.problem { border-left: 4px solid #dc2626; border-radius: 6px; padding: .6em .9em;
  background: #fef2f2; color: #7f1d1d; }
.dark .problem { background: #450a0a; color: #fecaca; }
.notice:not(:has(.problem)), .hidden-link { display: none !important; }
.notice { position: sticky; top: 0; z-index: 6; }
.running { display: flex; flex-direction: column; gap: .4em; }
.running progress { width: 100%; height: 8px; appearance: none; border: 0; border-radius: 4px; overflow: hidden;
  background: var(--border-color-primary); color: #6366f1; }
.running progress::-webkit-progress-bar { background: var(--border-color-primary); }
.running progress::-webkit-progress-value { background: #6366f1; transition: width .3s; }
.running progress::-moz-progress-bar { background: #6366f1; }
.running progress:not([value]) { animation: breathe 1.2s ease-in-out infinite alternate; }
@keyframes breathe { to { opacity: .35; } }
@media (prefers-reduced-motion: reduce) { .running progress { animation: none !important; } }
.course { display: flex; gap: 1em; align-items: center; justify-content: space-between; flex-wrap: wrap; }
.curve { width: 160px; height: 32px; flex: none; } .curve polyline { fill: none; stroke: #6366f1; stroke-width: 1.5; }
.numbers { margin: 0; font-size: .9em; }
.warnings { margin: .4em 0 0; padding: .3em .9em .3em 1.9em; list-style: disc; font-size: .9em;
  border-left: 4px solid #d97706; border-radius: 6px; background: #fffbeb; color: #78350f; }
.dark .warnings { background: #451a03; color: #fde68a; }
#examples-words { font-size: .9em; margin-bottom: -10px; }
#examples .caption-label { display: none; }  /* Covers the picture; is its alternative text. */
#examples .grid-container { grid-template-columns: repeat(6, 1fr) !important; gap: 6px; padding: 0; height: 100%; }
#examples, #examples .grid-wrap { height: auto !important; }
#examples .grid-wrap { padding: 0; overflow: hidden; } #examples .gallery-item { min-width: 0; }
#examples .thumbnail-lg { aspect-ratio: 1; width: 100%; height: auto; }
/* The picture stays in sight while sliders further down are moved. */
#status { scroll-margin-bottom: 40px; }
#right-side { position: sticky; top: 8px; } #right-side:has(.fullscreen) { z-index: 1000; }  /* Over the tabs. */
/* Gradio would give both pictures a height of its own, and show them at two places where the component is lower. */
#result .slider-wrap, #result .wrap:has(> .content), #result .content { height: 100% !important;
  max-height: 100% !important; }
#result .content { position: relative; }
#result .content img { position: absolute; top: 0; left: 0; width: 100%; height: 100% !important;
  max-height: 100% !important; object-fit: contain; }
#toolbar { flex-wrap: wrap; }
#edit { isolation: isolate; }  /* Labels would lie over the picture that stays in sight above them. */
.slot { gap: 8px; }
/* What is safe, where 0 is, and what lies beyond say more than a bar from the left end. */
.marked { --beyond: #f59e0b; --safe: var(--neutral-300); --track:
  linear-gradient(to right, transparent calc(var(--zero) - 2px), #4f46e5 0, #4f46e5 calc(var(--zero) + 2px),
    transparent 0),
  linear-gradient(to right, var(--beyond) var(--from), var(--safe) var(--from), var(--safe) var(--to),
    var(--beyond) var(--to)); }
.dark .marked { --beyond: #b45309; --safe: var(--neutral-600); }
.dark .marked { --track:
  linear-gradient(to right, transparent calc(var(--zero) - 2px), #a5b4fc 0, #a5b4fc calc(var(--zero) + 2px),
    transparent 0),
  linear-gradient(to right, var(--beyond) var(--from), var(--safe) var(--from), var(--safe) var(--to),
    var(--beyond) var(--to)); }
.marked input[type=range]::-webkit-slider-runnable-track { background: var(--track) !important; }
.slot input[type=range]::-webkit-slider-thumb { border: 2px solid #4f46e5 !important; box-sizing: border-box; }
.slot input[type=range]::-moz-range-thumb { border: 2px solid #4f46e5 !important; box-sizing: border-box; }
.marked input[type=range]::-moz-range-track { background: var(--track) !important; }
.marked input[type=range]::-moz-range-progress { background: none !important; }
table.effect { width: 100%; border-collapse: collapse; font-size: .88em; margin-top: .4em; }
table.effect th { font-weight: 500; text-align: left; }
table.effect, table.effect tr, table.effect td, table.effect th { border: 0 !important; }
table.effect td, table.effect th { padding: 2px 8px 2px 6px !important; white-space: nowrap; }
table.effect td { width: 28%; }
table.effect .bar { display: inline-block; width: calc(100% - 3.4em); min-width: 30px; height: 6px; margin-left: .5em;
  border-radius: 3px; background: var(--border-color-primary); overflow: hidden; vertical-align: middle; }
table.effect .bar span { display: block; height: 100%; background: #64748b; }
table.effect .asked .bar span { background: #6366f1; } table.effect .unwanted .bar span { background: #d97706; }
table.effect .asked th { font-weight: 700; }
table.effect .unwanted { background: #fffbeb; color: #78350f; } .dark table.effect .unwanted { background: #451a03;
  color: #fde68a; }
table.card td { width: auto !important; white-space: normal !important; vertical-align: top; }
.dark button[role=tab][aria-selected=true] { color: #a5b4fc; }
.empty { min-height: 300px; display: flex; align-items: center; justify-content: center; text-align: center;
  border: 1px dashed var(--border-color-primary); border-radius: 8px; padding: 1em; }
:focus-visible { outline: 2px solid #6366f1; outline-offset: 2px; }
@media (max-width: 700px) {
  .empty:not([role]) { display: none !important; } #foot { flex-direction: column; }
  /* The picture first and always in sight, then the sliders, then what is done with the picture. */
  #edit-columns { flex-direction: column; } #edit-columns:has(#edit) > * { display: contents; }
  #edit-columns:has(#edit) #result-area { order: 1; position: sticky; top: 0; z-index: 5;
    background: var(--body-background-fill); }
  #edit { order: 2; } #tools { order: 3; } #outputs { order: 4; } #edit-columns:has(#edit) #status { order: 5; }
  table.card { display: block; overflow-x: auto; }
}
"""

# Gradio puts its own prefix behind every comma, also within :is() and :has(): there must be none.
_BATCH = """
#batch { gap: 14px; --batch-quiet: #475569; }
.dark #batch { --batch-quiet: #cbd5e1; }
#batch-link, #batch-notice:not(:has(.problem)), #batch-status:not(:has(div.running)):not(:has(p)),
#batch-chosen:not(:has(p)) { display: none; }
#batch-intro { max-width: 78ch; }
#batch .html-container { padding: 0; }
#batch-chosen .batch-chosen, #batch-edit .batch-edit, #batch-status .batch-outcome { margin: 0;
  overflow-wrap: anywhere; }
#batch-edit .batch-edit { padding: 10px 14px; border-radius: 6px; background: var(--background-fill-secondary);
  border: 1px solid var(--border-color-primary); }
#batch-status { scroll-margin-bottom: 40px; min-height: 62px; }
#batch-status .running span { font-variant-numeric: tabular-nums; }
#batch-status .batch-now { font-size: .9em; color: var(--batch-quiet); white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
#batch-table .html-container { max-height: max(75vh, 480px); overflow: auto; border-radius: 6px;
  border: 1px solid var(--border-color-primary); }
#batch-table .html-container:has(.batch-empty) { border-style: dashed; }
#batch-table .batch-empty { min-height: 150px; display: flex; align-items: center; justify-content: center;
  text-align: center; padding: 16px; color: var(--batch-quiet); }
#batch-table table { width: 100%; border-collapse: collapse; table-layout: fixed; margin: 0; font-size: .95em; }
#batch-table caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
#batch-table table, #batch-table thead, #batch-table tbody, #batch-table tr, #batch-table th, #batch-table td {
  border: 0; }
#batch-table thead th { position: sticky; top: 0; z-index: 1; background: var(--background-fill-secondary);
  text-align: left; font-weight: 600; padding: 8px 12px; }
#batch-table th:nth-child(1) { width: 30%; }
#batch-table th:nth-child(2), #batch-table th:nth-child(3) { width: 96px; }
#batch-table tbody th, #batch-table td { padding: 6px 12px; text-align: left; vertical-align: middle; font-weight: 400;
  border-top: 1px solid var(--border-color-primary); overflow-wrap: anywhere; }
#batch-table tbody tr { background: var(--background-fill-primary); }
#batch-table small { display: block; font-size: .87em; color: var(--batch-quiet); }
#batch-table .batch-failed + small { color: var(--body-text-color); }
#batch-table img, #batch-table td i { display: block; width: 72px; height: 72px; object-fit: cover; margin: 0;
  border-radius: 6px; background: var(--background-fill-secondary); }
#batch-table td i { border: 1px dashed var(--border-color-primary); background: none; }
#batch-table .batch-state b { font-weight: 600; }
#batch-table .batch-waiting, #batch-table .batch-cancelled { color: var(--batch-quiet); }
#batch-table .batch-done { color: #15803d; } .dark #batch-table .batch-done { color: #86efac; }
#batch-table .batch-failed { color: #b91c1c; } .dark #batch-table .batch-failed { color: #fca5a5; }
#batch-table .batch-busy { color: #4338ca; }
.dark #batch-table .batch-busy { color: #a5b4fc; }
#batch-table .batch-busy::before { content: ""; display: inline-block;
  width: .6em; height: .6em; margin-right: .45em; border-radius: 50%; background: currentColor;
  animation: batch-pulse 1.1s ease-in-out infinite alternate; }
@keyframes batch-pulse { to { opacity: .25; } }
@media (prefers-reduced-motion: reduce) { #batch-table b::before { animation: none !important; } }
#batch-table details { font-size: .87em; } #batch-table summary { cursor: pointer; }
#batch-table details ul { margin: .2em 0 0; padding-left: 1.3em; list-style: disc; }
@media (max-width: 640px) {
  #batch-table .html-container { max-height: none !important; }
  #batch-table thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  #batch-table table, #batch-table tbody { display: block !important; }
  #batch-table tbody tr { display: grid !important; grid-template: "name name name" auto "before after state" auto
    / 72px 72px 1fr; gap: 4px 10px; padding: 10px; border-top: 1px solid var(--border-color-primary) !important; }
  #batch-table tbody tr:first-child { border-top: 0 !important; }
  #batch-table tbody th { grid-area: name; font-weight: 600 !important; }
  #batch-table tbody th, #batch-table td { padding: 0 !important; border: 0 !important; width: auto !important; }
  #batch-table .batch-before { grid-area: before; } #batch-table .batch-after { grid-area: after; }
  #batch-table .batch-state { grid-area: state; }
}
"""

_TEACH = """
#teach { --block-info-text-color: var(--neutral-500); } .dark #teach { --block-info-text-color: var(--neutral-400); }
#teach .html-container, #teach .prose { padding: 0; }
#teach-notice:not(:has(.problem)), #teach-link { display: none; }
#teach .problem { border-left: 4px solid #dc2626; border-radius: 6px; padding: .6em .9em; background: #fef2f2;
  color: #7f1d1d; }
.dark #teach .problem { background: #450a0a; color: #fecaca; }
#teach-intro p { max-width: 62em; }
#teach-start { align-items: stretch; } #teach-begin { align-self: stretch; }
#teach-lesson { align-items: flex-start; }
#teach-picture { width: 100%; max-width: 384px; margin: 0 auto; aspect-ratio: 1; }
#teach-picture img { width: 100%; height: 100%; object-fit: contain; }
#teach-classes { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: .6em; }
#teach-classes button { min-height: 52px; font-size: 1.05em; overflow-wrap: anywhere; }
#teach button:focus-visible, #teach input:focus-visible { outline: 3px solid #6366f1; outline-offset: 2px; }
#teach-question p { font-size: 1.15em; margin: 0; }
#teach-keys { font-size: .85em; opacity: .85; }
#teach-keys kbd { border: 1px solid var(--border-color-primary); border-radius: 4px; padding: 0 .35em; }
#teach .counts { display: grid; grid-template-columns: max-content 1fr max-content; gap: .35em .8em; margin: 0;
  align-items: center; }
#teach .counts .name { max-width: 12em; overflow-wrap: anywhere; }
#teach .counts progress { width: 100%; height: 10px; appearance: none; border: 0; border-radius: 5px; overflow: hidden;
  background: var(--border-color-primary); }
#teach .counts progress::-webkit-progress-bar { background: var(--border-color-primary); }
#teach .counts progress::-webkit-progress-value { background: #6366f1; }
#teach .counts progress::-moz-progress-bar { background: #6366f1; }
#teach .counts .number { font-variant-numeric: tabular-nums; text-align: right; }
#teach .why { margin: .7em 0 0; min-height: 3em; font-size: .92em; }
#teach .good { border-left: 4px solid #16a34a; border-radius: 6px; padding: .6em .9em; background: #f0fdf4;
  color: #14532d; margin: 0; }
.dark #teach .good { background: #052e16; color: #bbf7d0; }
#teach .weak { border-left: 4px solid #d97706; border-radius: 6px; padding: .6em .9em; background: #fffbeb;
  color: #78350f; margin: 0; }
.dark #teach .weak { background: #451a03; color: #fde68a; }
#teach-strip { border: 0; padding: 0; } #teach-strip .image-frame { width: 100%; }
#teach-strip img { width: 100%; height: auto; object-fit: contain; }
#teach-strip-column { gap: .3em; }
#teach .ends { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; text-align: center; font-size: .85em;
  overflow-wrap: anywhere; }
@media (max-width: 640px) { #teach-picture { max-width: 300px; } #teach .why { min-height: 4.5em; }
  #teach-keys { display: none; } }
"""

CSS = _PAGE + _PLACES + _BATCH + _TEACH


# A double click on a slider sets it to 0, as Gradio's own button beside it does.
HEAD = """<script>
document.addEventListener('dblclick', event => {
  const slider = event.target.closest('.marked input[type=range]');
  slider?.closest('.marked').querySelector('.reset-button')?.click();
});
</script>"""


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
