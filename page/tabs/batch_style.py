"""The style sheet of the tab Batch."""

from __future__ import annotations

# Gradio puts its own prefix behind every comma, also within :is() and :has(): there must be none.
CSS = """
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
