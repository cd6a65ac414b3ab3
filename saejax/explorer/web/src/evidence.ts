// Examples of a concept: pictures and captions, with where it fires in them.
import type { Context } from './context';
import { later } from './context';
import { button, fill, h, tidy } from './dom';
import type { Band, Concept, Example, PictureHeat, TextHeat } from './format';
import { digits } from './numbers';
import { openPicture } from './picture';

const BANDS: Record<string, string> = {
  top: 'Strongest',
  q99: '99th percentile',
  q90: '90th percentile',
  q50: 'Median',
  near: 'Just above the threshold',
  none: 'Where it does not fire',
};

/** Darkness over what does not fire, as strong as --veil says. */
export function veil(heat: PictureHeat): HTMLCanvasElement {
  const canvas = h('canvas', {
    class: 'veil', width: heat.w, height: heat.h, 'aria-hidden': 'true',
  });
  const pen = canvas.getContext('2d')!;
  const image = pen.createImageData(heat.w, heat.h);
  heat.q.forEach((q, i) => (image.data[4 * i + 3] = 255 - q));
  pen.putImageData(image, 0, 0);
  return canvas;
}

/** A picture that is blurred until asked for, if it is sensitive. */
export function picture(
  context: Context,
  id: number,
  heat: PictureHeat | null = null,
): HTMLElement {
  const box = h('span', { class: 'picture' });
  const image = h('img', { alt: `Picture ${id}`, draggable: 'false' });
  context.site.picture(id).then(
    (address) => (image.src = address),
    () => fill(box, h('span', { class: 'lost' }, `picture ${id} is damaged`)),
  );
  box.append(image);
  if (heat) box.append(veil(heat));
  if (context.site.sensitive.has(id)) {
    box.classList.add('blurred');
    image.alt = `Picture ${id}, marked as sensitive`;
  }
  return box;
}

/** Asks before a sensitive picture is seen; then does what was meant. */
function reveal(box: HTMLElement, then: () => void) {
  if (box.classList.contains('blurred')) {
    box.classList.remove('blurred');
    box.closest('button')?.removeAttribute('aria-describedby');
  } else then();
}

export function tile(
  context: Context,
  id: number,
  activation: number | null,
  heat: PictureHeat | null = null,
): HTMLElement {
  const box = picture(context, id, heat);
  const sensitive = context.site.sensitive.has(id);
  const fires = activation === null ? '' : `, activation ${digits(activation)}`;
  const open = button(
    box,
    () => reveal(box, () => openPicture(context, id, heat)),
    {
      class: 'tile',
      'aria-label': sensitive
        ? `Sensitive picture ${id}${fires}; shows at the first press`
        : `Picture ${id}${fires}`,
    },
  );
  const said = activation === null ? null :
    h('figcaption', {}, digits(activation));
  return h('figure', {}, open, said);
}

function words(heat: TextHeat): HTMLElement {
  const line = h('span', {});
  heat.tokens.forEach((token, i) => {
    const share = (heat.q[i] ?? 0) / 255;
    const css = { '--heat': `${Math.round(100 * share)}%` };
    line.append(h('span', { class: 'word', css }, token), ' ');
  });
  return line;
}

function caption(
  context: Context,
  [id, activation, heat]: Example<TextHeat>,
  most: number,
): HTMLElement {
  const text = heat
    ? words(heat)
    : later(context.site.text(id), (t) => tidy(t, '(an empty text)', 260), {
        class: 'said',
      });
  const css = {
    '--share': `${Math.round(100 * Math.min(1, activation / (most || 1)))}%`,
  };
  return h(
    'li',
    { class: 'caption', css },
    h('span', { class: 'activation' }, digits(activation)),
    text,
  );
}

function bandTitle(band: Band): HTMLElement {
  const name = BANDS[band.name] ?? band.name;
  return h('h4', { title: band.rule ?? false }, name);
}

/** Pictures of each band, the strongest first and largest. */
export function pictureBands(context: Context, concept: Concept) {
  const rows = context.sae.meta.bands
    .filter((band) => concept.images[band.name]?.length)
    .map((band) =>
      h(
        'div',
        { class: `band ${band.name}` },
        bandTitle(band),
        h(
          'div',
          { class: 'strip' },
          ...concept.images[band.name].map(([id, activation, heat]) =>
            tile(context, id, activation, heat),
          ),
        ),
      ),
    );
  return rows.length ? h('div', {}, heatNote(context, concept), ...rows) : null;
}

function heatNote(context: Context, concept: Concept): HTMLElement {
  const mapped = Object.values(concept.images).some((examples) =>
    examples.some(([, , heat]) => heat),
  );
  if (!mapped) {
    return h(
      'p',
      { class: 'quiet' },
      context.sae.meta.reads === 'pooled'
        ? 'No map of patches: this dictionary reads the pooled embedding of ' +
            'a whole picture.'
        : 'No map of patches was kept for these pictures.',
    );
  }
  const slider = h('input', {
    type: 'range', min: 0, max: 100, value: 60,
    on: {
      input: () =>
        slider.closest('section')!.style
          .setProperty('--veil', `${slider.value}%`),
    },
  });
  return h(
    'label',
    { class: 'veil-strength' },
    'Darken what does not fire ',
    slider,
  );
}

/** Captions of each band. */
export function captionBands(context: Context, concept: Concept) {
  const most = Math.max(
    0,
    ...Object.values(concept.texts).flat().map(([, activation]) => activation),
  );
  const rows = context.sae.meta.bands
    .filter((band) => concept.texts[band.name]?.length)
    .map((band) =>
      h(
        'div',
        { class: 'band' },
        bandTitle(band),
        h(
          'ul',
          { class: 'captions' },
          ...concept.texts[band.name].map((example) =>
            caption(context, example, most),
          ),
        ),
      ),
    );
  return rows.length ? h('div', {}, ...rows) : null;
}
