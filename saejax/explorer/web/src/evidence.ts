// Examples of a concept: pictures and captions, with where it fires in them.
import type { Context } from './context';
import { later } from './context';
import { button, fill, h, tidy } from './dom';
import type { Band, Concept, Example, PictureHeat, TextHeat } from './format';
import {
  hasGaps, overlay, patchControls, patchWords, scaleOf, walkWords, wordLegend,
  words,
} from './heat';
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
  if (heat) box.append(...overlay(image, heat));
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
  scale = 0,
): HTMLElement {
  const box = picture(context, id, heat);
  const sensitive = context.site.sensitive.has(id);
  const where = heat ? `, ${patchWords(heat, scale)}` : '';
  const fires = activation === null ? ''
    : `, activation ${digits(activation)}${where}`;
  const open = button(
    box,
    () => reveal(box, () => openPicture(context, id, heat, scale)),
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

function caption(
  context: Context,
  [id, activation, heat]: Example<TextHeat>,
  most: number,
  scale: number,
): HTMLElement {
  const text = heat
    ? words(heat, scale)
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
  const scale = scaleOf(concept, 'images');
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
            tile(context, id, activation, heat, scale),
          ),
        ),
      ),
    );
  return rows.length ? h('div', {}, heatNote(context, concept), ...rows) : null;
}

function heatNote(context: Context, concept: Concept): HTMLElement {
  const heats = Object.values(concept.images).flat().map(([, , heat]) => heat);
  if (heats.some((heat) => heat)) {
    return patchControls(scaleOf(concept, 'images'), heats.some(hasGaps));
  }
  return h(
    'p',
    { class: 'quiet' },
    context.sae.meta.reads === 'pooled'
      ? 'No map of patches: this dictionary reads the pooled embedding of ' +
          'a whole picture.'
      : 'No map of patches was kept for these pictures.',
  );
}

/** Captions of each band. */
export function captionBands(context: Context, concept: Concept) {
  const most = Math.max(
    0,
    ...Object.values(concept.texts).flat().map(([, activation]) => activation),
  );
  const scale = scaleOf(concept, 'texts');
  const heats = Object.values(concept.texts).flat().map(([, , heat]) => heat);
  const legend = heats.some((heat) => heat)
    ? wordLegend(scale, heats.some(hasGaps)) : null;
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
            caption(context, example, most, scale),
          ),
        ),
      ),
    );
  return rows.length ? walkWords(h('div', {}, legend, ...rows)) : null;
}
