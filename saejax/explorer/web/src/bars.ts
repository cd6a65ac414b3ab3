// Concepts with the strength they have in something, as bars.
import type { Context } from './context';
import { button, h } from './dom';
import { conceptLink } from './marks';
import { digits } from './numbers';

export function activeBars(
  context: Context,
  active: [index: number, value: number][],
  chosen: () => void = () => {},
): HTMLElement {
  const most = Math.max(...active.map(([, value]) => value), 1e-9);
  const rows = active.map(([index, value]) => {
    const css = { '--share': `${Math.round((100 * value) / most)}%` };
    const link = conceptLink(context, index);
    link.addEventListener('click', chosen);
    return h('li', { css }, link, h('span', { class: 'value' }, digits(value)));
  });
  return h('ul', { class: 'bars' }, ...rows);
}

/** A choice of a few, as buttons of which one is pressed. */
export function segments<T extends string>(
  label: string,
  options: readonly (readonly [T, string])[],
  choose: (value: T) => void,
): { element: HTMLElement; set(value: T): void } {
  const buttons = options.map(([value, text]) =>
    button(text, () => choose(value), { 'data-value': value }),
  );
  return {
    element: h(
      'div',
      { class: 'segments', role: 'group', 'aria-label': label },
      ...buttons,
    ),
    set(value) {
      for (const b of buttons) {
        b.setAttribute('aria-pressed', String(b.dataset.value === value));
      }
    },
  };
}
