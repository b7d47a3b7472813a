"""The page's style sheet and scripts: what Gradio's components do not bring themselves."""

from __future__ import annotations

# Marks on a slider's track, in hundredths of its length. A thumb of 16 pixels stays within the track.
_PLACES = "\n".join(f".safe-from-{n} {{ --from: {n}%; }} .safe-to-{n} {{ --to: {n}%; }} "
                    f".zero-at-{n} {{ --zero: calc({n}% + {(50 - n) * 0.16:.2f}px); }}" for n in range(101))

CSS = """
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
""" + _PLACES

# A double click on a slider sets it to 0, as Gradio's own button beside it does.
HEAD = """<script>
document.addEventListener('dblclick', event => {
  const slider = event.target.closest('.marked input[type=range]');
  slider?.closest('.marked').querySelector('.reset-button')?.click();
});
</script>"""
