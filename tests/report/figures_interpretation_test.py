"""Chance is drawn where it was measured, of each kind of concept."""

from absl.testing import absltest

from saejax.report import figures_interpretation

SOURCES = ('sae', 'whitened')


def lines(entries) -> list[list[float]]:
  """Heights of what is drawn level, of each panel."""
  found = figures_interpretation.detection(entries, SOURCES)
  return [
    sorted(
      [
        float(segment[0][1])
        for held in ax.collections
        for segment in held.get_segments()
        if segment[0][0] < segment[1][0]
      ]
      + [
        float(line.get_ydata()[0])
        for line in ax.get_lines()
        if list(line.get_xdata()) == [0, 1]
      ]
    )
    for ax in found.drawing.axes
  ]


class DetectionTest(absltest.TestCase):
  def test_shuffled_levels_are_where_chance_is(self):
    at = lambda value: {'value': value, 'n': 9}
    own = {f'{s}/{m}': at(0.8) for s in SOURCES for m in ('auroc', 'hard')}
    self.assertEqual(lines(own), [[0.5], []])
    null = {'sae/hard/shuffled': at(0.4), 'whitened/hard/shuffled': at(0.3)}
    self.assertEqual(lines(own | null), [[0.5], [0.3, 0.4]])
    undefined = {'sae/auroc/shuffled': {'value': None, 'n': 0}}
    self.assertEqual(lines(own | undefined), [[0.5], []])


if __name__ == '__main__':
  absltest.main()
