"""Words are escaped, and numbers come with what they rest on."""

from absl.testing import absltest
from absl.testing import parameterized

from saejax import results
from saejax.report import markup
from saejax.report import study


class MarkupTest(parameterized.TestCase):
  def test_words_and_attributes_are_escaped(self):
    self.assertEqual(markup.text('a < b & "c"'), 'a &lt; b &amp; &quot;c&quot;')
    self.assertEqual(
      markup.tag('p', 'x', class_='"><script>'),
      '<p class="&quot;&gt;&lt;script&gt;">x</p>',
    )
    picture = markup.picture('data:,', '', '"><script>')
    self.assertNotIn('<script>', picture)

  @parameterized.parameters(
    (None, '—'), (0.4567, '0.46'), (0.01234, '0.0123'), (12, '12'),
    (12345, '12,345'), (1.0, '1'), (-0.5, '-0.50'),
  )  # fmt: skip
  def test_values_are_short(self, value, expected):
    self.assertEqual(markup.value({'value': value}), expected)

  def test_numbers_say_their_interval_and_n(self):
    entry = {'value': 0.5, 'low': 0.4, 'high': 0.625, 'n': 1200}
    found = markup.number(entry)
    self.assertIn('<b>0.50</b>', found)
    self.assertIn('95 % 0.40 to 0.62, n = 1,200', found)
    self.assertEqual(markup.number({'value': 2}), '<b>2</b>')

  def test_a_tiny_p_value_is_a_bound_and_no_tag(self):
    entry = {'value': 0, 'unit': 'p', 'n': None}
    self.assertEqual(markup.number(entry), '<b>&lt; 1e-300</b>')
    entry = results.p_entry(1 / 61, 60)
    self.assertEqual(
      markup.number(entry), '<b>≤ 0.016</b><small> (n = 60)</small>'
    )
    self.assertEqual(study.number(entry), '≤ 0.016 (n = 60)')

  def test_a_table_has_a_heading_for_each_row(self):
    found = markup.table(['', 'x'], [['a', '1'], ['b', '2']])
    self.assertIn('<thead><tr><th></th><th>x</th></tr></thead>', found)
    self.assertEqual(found.count('<th scope="row">'), 2)

  def test_without_a_picture_its_words_stand_in(self):
    found = markup.picture(None, 'under', 'a <name>')
    self.assertIn('a &lt;name&gt;', found)
    self.assertNotIn('<img', found)


if __name__ == '__main__':
  absltest.main()
