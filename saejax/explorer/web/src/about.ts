// Where all this comes from.
import type { Context, View } from './context';
import { fill, h } from './dom';
import { count, digits } from './numbers';

function facts(entries: [string, unknown][]): HTMLElement {
  const known = entries.filter(([, value]) => value !== undefined
    && value !== null && value !== '');
  return h(
    'dl',
    { class: 'facts' },
    ...known.map(([name, value]) =>
      h('div', {}, h('dt', {}, name), h('dd', {}, said(value))),
    ),
  );
}

function said(value: unknown): string {
  if (typeof value === 'number') return digits(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

export function createAbout(context: Context): View {
  const { sae, site } = context;
  const { card } = site.index;
  const { meta } = sae;
  const classes = meta.classes.map((name, kind) => {
    const n = sae.kind.reduce((sum, k) => sum + Number(k === kind), 0);
    return `${count(n)} ${name}`;
  });
  const columns = [...meta.columns, ...meta.edge_columns];
  const element = h('article', { class: 'about' });
  return {
    element,
    update() {
      if (element.childElementCount) return;
      fill(
        element,
        h('h2', {}, 'About'),
        h('h3', {}, meta.title),
        facts([
          ['Model', meta.model],
          ['Dictionary', `${meta.arch}, ${count(meta.latents)} latents`],
          ['Active concepts a row', meta.k],
          ['Concepts shown', `${count(sae.n)} (${classes.join(', ')})`],
          ['Bridges', count(sae.m)],
          ['Data', meta.dataset],
          ['Split', meta.split],
          ['Rows', meta.reads === 'tokens'
            ? `${count(meta.rows.image)} tokens of images, ` +
              `${count(meta.rows.text)} of texts`
            : `${count(meta.rows.image)} images, ` +
              `${count(meta.rows.text)} texts`],
          ['What a row is', meta.row],
          ['Heat-maps', meta.heat && Object.entries(meta.heat)
            .map(([side, { cells }]) => `${side}: ${cells}`).join(' ')],
          ['Image concepts', `modality score from ${digits(meta.cuts.image)}`],
          ['Text concepts', `modality score to ${digits(meta.cuts.text)}`],
          ['Examples', meta.sampling],
        ]),
        h('h3', {}, 'Data card'),
        facts([
          ['Data set', card.dataset],
          ['Licence', card.licence],
          ['Pictures from', card.pictures_from],
          ['Citation', card.citation],
          ['Made with', card.made_with],
          ['Commit', card.commit],
          ...Object.entries(meta.provenance),
        ]),
        card.notes.length
          ? h('ul', {}, ...card.notes.map((note) => h('li', {}, note))) : null,
        h('h3', {}, 'Who names concepts'),
        facts(sae.sources.map((source) => [source.name, source.how])),
        h('h3', {}, 'Definitions'),
        facts(columns.map((c) => [c.label, c.definition])),
        h('h3', {}, 'Terms of this page'),
        h('p', {}, h('a', { href: 'LICENSES.txt' }, 'LICENSES.txt')),
      );
    },
  };
}
