// A picture by itself, and what fires on it.
import type { Context } from './context';
import { later } from './context';
import { button, h } from './dom';
import { picture } from './evidence';
import type { PictureHeat } from './format';
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
    active,
  );
}
