/* What the page's components do not bring themselves. */

/* A double click on a slider sets it to 0, as Gradio's own button beside it does; on the picture it opens it whole. */
document.addEventListener('dblclick', event => {
  const slider = event.target.closest('.marked input[type=range]');
  slider?.closest('.marked').querySelector('.reset-button')?.click();
  if (event.target.closest('#whole')) document.querySelector('#full')?.click();
});

/* The picture before, as long as something is held: the mouse or a finger on the picture, a button, or the key b. */
const holding = on => {
  document.querySelector('#whole')?.classList.toggle('holding', on);
  document.querySelector('#full-dialog')?.classList.toggle('holding', on);
};
document.addEventListener('pointerdown', event => {
  if (event.button == 0 && event.target.closest('#whole, #hold, #full-dialog .hold')) holding(true);
});
for (const name of ['pointerup', 'pointercancel', 'blur']) addEventListener(name, () => holding(false));
document.addEventListener('contextmenu', event => event.target.closest('#whole') && event.preventDefault());
document.addEventListener('dragstart', event => event.target.closest('#whole') && event.preventDefault());
const holds = event => (event.key == ' ' || event.key == 'Enter') && event.target.closest('#hold, #full-dialog .hold')
  || event.key == 'b' && !event.ctrlKey && !event.metaKey && !event.altKey
    && !event.target.closest('input:not([type=range]):not([type=radio]):not([type=checkbox]), textarea, #teach');
document.addEventListener('keydown', event => {
  if (holds(event)) { holding(true); if (event.key == ' ') event.preventDefault(); }
});
document.addEventListener('keyup', event => holds(event) && holding(false));

/* The picture with all of its pixels. */
window.showFullSize = () => {
  const dialog = document.querySelector('#full-dialog');
  if (!dialog || dialog.open) return;
  dialog.showModal();
  dialog.querySelector('.zoom').onclick = () => dialog.classList.toggle('actual');
  dialog.querySelector('.stack').onclick = event => {
    if (!dialog.classList.toggle('actual')) return;
    const stack = dialog.querySelector('.stack'), image = dialog.querySelector('.after');
    stack.scrollLeft = event.offsetX / event.target.width * image.naturalWidth - stack.clientWidth / 2;
    stack.scrollTop = event.offsetY / event.target.height * image.naturalHeight - stack.clientHeight / 2;
  };
};

/* A number beyond a slider's ends is its end, before anything is drawn. */
document.addEventListener('input', event => {
  const box = event.target.closest?.('.slot input[type=number]');
  if (!box || box.value === '') return;
  const slider = box.closest('.slot').querySelector('input[type=range]');
  const value = Math.min(Math.max(Number(box.value), Number(slider.min)), Number(slider.max));
  if (value != Number(box.value)) box.value = value;
}, true);
