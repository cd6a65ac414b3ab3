// A picture by itself, and what fires on it.
import type { Context } from './context';
import { later } from './context';
import { button, h } from './dom';
import { picture } from './evidence';
import type { PictureHeat } from './format';
import { hasGaps, patchAt, patchControls, patchList } from './heat';
import { activeBars } from './bars';

/** A dialogue that closes by Esc, by its button, or by a click beside it. */
export function openDialogue(title: string, ...children: Node[]) {
  const dialogue = h(
    'dialog',
    { 'aria-label': title },
    h(
      'header',
      {},
      h('h2', {}, title),
      button('Close', () => dialogue.close(), { class: 'plain' }),
    ),
    ...children,
  );
  dialogue.addEventListener('close', () => dialogue.remove());
  dialogue.addEventListener('click', (event) => {
    if (event.target === dialogue) dialogue.close();
  });
  document.body.append(dialogue);
  dialogue.showModal();
  return dialogue;
}

export function openPicture(
  context: Context,
  id: number,
  heat: PictureHeat | null,
  scale: number,
) {
  const box = picture(context, id, heat);
  box.classList.remove('blurred');
  const active = later(context.sae.examples(), (examples) => {
    const found = examples.pictures.find(([picture]) => picture === id);
    if (!found) return null;
    return h(
      'div',
      {},
      h('h3', {}, 'Concepts that fire on it'),
      activeBars(context, found[1], () => dialogue.close()),
    );
  });
  const dialogue = openDialogue(
    `Picture ${id}`,
    h('div', { class: 'large' }, box),
    ...(heat ? patches(box, heat, scale) : []),
    active,
  );
}

/** What fires where on the large picture: the patch pointed at, and a list. */
function patches(box: HTMLElement, heat: PictureHeat, scale: number): Node[] {
  const prompt = 'Point at a patch to read it.';
  const pointed = h('output', { class: 'quiet numbers' }, prompt);
  box.addEventListener('pointermove', ({ clientX, clientY }) => {
    const { left, top, width, height } = box.getBoundingClientRect();
    const image = box.querySelector('img')!;
    // The picture fits inside its box, with a rim on two sides.
    const ratio = image.naturalWidth / (image.naturalHeight || 1) || 1;
    const [w, high] = [Math.min(width, height * ratio),
      Math.min(height, width / ratio)];
    const x = (clientX - left - (width - w) / 2) / w;
    const y = (clientY - top - (height - high) / 2) / high;
    pointed.textContent = patchAt(heat, scale, x, y);
  });
  box.addEventListener('pointerleave', () => (pointed.textContent = prompt));
  return [
    pointed,
    patchControls(scale, hasGaps(heat)),
    h('h3', {}, 'Strongest patches'),
    patchList(heat, scale),
  ];
}
