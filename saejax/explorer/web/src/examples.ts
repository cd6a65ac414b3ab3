// Query by example: choose a picture or a caption, see what fires on it.
import { activeBars } from './bars';
import type { Context, View } from './context';
import { later } from './context';
import { button, fill, h, tidy } from './dom';
import { picture } from './evidence';
import type { Examples } from './format';
import type { State } from './state';

/** The concepts that fire on the picture or text of a link. */
export function examplePanel(context: Context, state: State) {
  const { picture: pictureId, text: textId } = state;
  const isPicture = pictureId !== null;
  const id = pictureId ?? textId;
  if (id === null) return null;
  return h(
    'div',
    { class: 'example' },
    h(
      'header',
      {},
      h('h2', {}, isPicture ? `Picture ${id}` : `Text ${id}`),
      button('Clear', () => context.go({ picture: null, text: null }), {
        class: 'plain',
      }),
    ),
    isPicture
      ? h('div', { class: 'large' }, picture(context, id))
      : later(context.site.text(id), (t) => tidy(t, '(an empty text)', 600), {
          class: 'said',
        }),
    h('h3', {}, 'Concepts that fire on it'),
    later(context.sae.examples(), (examples) => {
      const among = isPicture ? examples.pictures : examples.texts;
      const found = among.find(([own]) => own === id);
      return found
        ? activeBars(context, found[1])
        : h('p', { class: 'quiet' }, 'It is not among those that were kept.');
    }),
  );
}

function choices(context: Context, examples: Examples): HTMLElement {
  const pictures = examples.pictures.map(([id]) =>
    button(
      picture(context, id),
      () => context.go({ picture: id, text: null, c: null }, 'push'),
      { class: 'tile', 'aria-label': `What fires on picture ${id}` },
    ),
  );
  const texts = examples.texts.map(([id]) => {
    const choose = button(
      '', () => context.go({ text: id, picture: null, c: null }, 'push'),
      { class: 'concept-link' },
    );
    context.site.text(id).then(
      (t) => (choose.textContent = tidy(t, '(an empty text)', 110)),
      context.fail,
    );
    return h('li', {}, choose);
  });
  return h(
    'div',
    { class: 'choices' },
    pictures.length ? h('h3', {}, 'Pictures') : null,
    h('div', { class: 'gallery' }, ...pictures),
    texts.length ? h('h3', {}, 'Texts') : null,
    h('ul', { class: 'found' }, ...texts),
  );
}

export function createExamples(context: Context): View {
  const element = h('article', { class: 'examples' });
  return {
    element,
    update() {
      if (element.childElementCount) return;
      fill(
        element,
        h('h2', {}, 'Start from an example'),
        h(
          'p',
          { class: 'quiet' },
          'Choose a picture or a text to see the concepts that fire on it.',
        ),
        later(context.sae.examples(), (examples) =>
          choices(context, examples)),
      );
    },
  };
}
