// A walk through links, told stop by stop.
import type { Context } from './context';
import { button, fill, h } from './dom';
import { parseHash } from './state';
import type { State } from './state';

export function goToStop(context: Context, at: number) {
  const { index } = context.site;
  const stop = index.tour[at];
  if (!stop) return;
  const { theme } = context.store.get();
  context.go({ ...parseHash(stop.hash, index.default), tour: at, theme },
    'push');
}

export function createTour(context: Context) {
  const stops = context.site.index.tour;
  const element = h('aside', {
    class: 'tour', 'aria-label': 'Guided tour', hidden: true,
  });
  let shown: number | null = null;
  return {
    element,
    update({ tour }: State) {
      if (tour === shown) return;
      shown = tour;
      const stop = tour === null ? undefined : stops[tour];
      element.hidden = !stop;
      if (!stop || tour === null) return;
      const last = tour === stops.length - 1;
      fill(
        element,
        h('p', { class: 'kicker' }, `Tour, ${tour + 1} of ${stops.length}`),
        h('h2', {}, stop.title),
        h('p', {}, stop.text),
        h(
          'div',
          { class: 'buttons' },
          tour ? button('Back', () => goToStop(context, tour - 1),
            { class: 'plain' }) : null,
          last ? null : button('Next', () => goToStop(context, tour + 1)),
          button(last ? 'Done' : 'Leave', () => context.go({ tour: null }), {
            class: 'plain',
          }),
        ),
      );
      context.say(`${stop.title}. ${stop.text}`);
    },
  };
}
