"""The style sheet of the tab Teach."""

from __future__ import annotations

CSS = """
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
