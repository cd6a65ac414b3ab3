"""What a study refuses before any work; a small one from end to end."""

import os
import re
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import scipy.stats

from saejax import errors
from saejax import results
from saejax.pipeline import paper1
from saejax.report import claims
from saejax.report import paper1 as report
from tests import meshes
from tests.pipeline import written

REPORTS = (report.HTML, report.MARKDOWN)
SMALL = paper1.Paper1Config(
  models=('clip-scenes',), dataset='scenes:n=1200,splits=0.5/0.25/0.25',
  latents=48, k=4, steps=120, l0s=(4,), methods=('batch_topk', 'pca'),
  draws=20, diets=('1/3', '1/2'), counter_worlds=True,
)  # fmt: skip


class CheckTest(parameterized.TestCase):
  def test_the_defaults_are_fit(self):
    paper1.check(paper1.Paper1Config(models=('clip-scenes', 'a/b'), latents=64))

  @parameterized.parameters(
    ({'models': ()}, 'one model or more'),
    ({'models': ('a', 'a')}, 'each once'),
    ({'models': ('a/b', 'a--b')}, 'each once'),  # One folder for both.
    ({'models': ('clip-scenes', 'nothing')}, 'There is no model nothing'),
    ({'seeds': (3,)}, 'two or more different'),
    ({'seeds': (3, 3)}, 'two or more different'),
    ({'dataset': 'coko:'}, 'names no kind of data set'),
    ({'methods': ('magic',)}, "'magic' is unknown"),
    ({'arch': 'magic'}, '--arch=magic is unknown'),
    ({'diets': ('1/2',)}, '--diets=1/2: name two shares or more'),
    ({'diets': ('1/2', '3')}, "'3' is no share of images"),
    ({'counter_worlds': True, 'dataset': 'scenes:captions=full'},
     'must be scenes:… with captions=partial'),
    ({'steps': 5, 'epochs': 1.0}, '--steps or --epochs, not both'),
  )  # fmt: skip
  def test_a_mistake_is_told_and_leaves_nothing(self, given, message):
    config = paper1.Paper1Config(**({'models': ('clip-scenes',)} | given))
    with tempfile.TemporaryDirectory() as folder:
      out = os.path.join(folder, 'out')
      with self.assertRaisesRegex(errors.UserError, message):
        paper1.study(config, out)
      self.assertFalse(os.path.exists(out))


class StudyTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.enterClassContext(meshes.one_device())
    cls.out = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.said = []
    cls.page = paper1.study(SMALL, cls.out, cls.said.append)

  def read(self, name: str) -> str:
    with open(os.path.join(self.out, name), encoding='utf-8') as f:
      return f.read()

  def test_nothing_is_done_twice_but_what_is_not_there(self):
    before = written.times(self.out, REPORTS)
    text = self.read(report.MARKDOWN)
    said = []
    paper1.study(SMALL, self.out, said.append)
    self.assertEqual(written.times(self.out, REPORTS), before)
    self.assertEqual(self.read(report.MARKDOWN), text)
    self.assertFalse([line for line in said if '…' in line], said)
    # A stage that is deleted is done again, alone, and to the same words.
    gone = os.path.join(self.out, 'clip-scenes', 'none', 'stability')
    shutil.rmtree(gone)
    paper1.study(SMALL, self.out, said.append)
    after = written.times(self.out, REPORTS)
    self.assertEqual(after.keys(), before.keys())
    changed = {path for path in after if after[path] != before[path]}
    self.assertNotEmpty(changed)
    self.assertTrue(all(path.startswith(gone) for path in changed), changed)
    self.assertEqual(self.read(report.MARKDOWN), text)

  def test_every_claim_is_told_with_numbers_bounds_nulls_and_a_verdict(self):
    verdict = f'({claims.HOLDS}|{claims.FAILS}|{claims.OPEN})'
    text = self.read(report.MARKDOWN)
    parts = re.split(r'^## ', text, flags=re.MULTILINE)[1:]
    told = [part for part in parts if part.startswith('Claim')]
    self.assertLen(told, len(claims.CLAIMS))
    for part in told:
      rows = [r for r in part.splitlines() if r.startswith('| clip-scenes')]
      self.assertNotEmpty(rows, part)
      for row in rows:
        self.assertRegex(
          row, rf'^\| clip-scenes \| (none|modality) \| {verdict}'
        )
        _, _, _, _, measured, null, _ = row.replace('\\|', '/').split('|')
        self.assertRegex(measured, r'\(-?[\d.e-]+ to -?[\d.e-]+, .*n = ')
        self.assertRegex(null, r'\d.*n = \d')
    page = self.read(report.HTML)
    for word in (claims.HOLDS, claims.FAILS):
      self.assertIn(f'<b class="{word}">{word}</b>', page)

  def test_figures_that_it_shows_are_there(self):
    shown = re.findall(r'<img src="([^"]+)"', self.read(report.HTML))
    linked = re.findall(r'^!\[.*\]\((.*)\)', self.read(report.MARKDOWN), re.M)
    self.assertEqual(shown, linked)
    names = {os.path.basename(path) for path in shown}
    for name in ('pareto', 'stability', 'diets', 'modality', 'bridges'):
      self.assertIn(f'{name}.svg', names)
    for path in shown:
      self.assertTrue(os.path.isfile(os.path.join(self.out, path)), path)

  def test_where_captions_tell_of_other_pictures_bridges_fail_and_only_they(
    self,
  ):
    _, _, section = self.read(report.MARKDOWN).partition(
      f'## {report.COUNTER_WORLDS}'
    )
    rows = [r for r in section.splitlines() if r.startswith('| ')]
    self.assertEqual(rows[0], '| Claim | partial | full | unrelated |')
    cells = rows[-1].replace('\\|', '/').strip('|').split('|')[1:]
    verdicts = [cell.partition(';')[0].strip() for cell in cells]
    self.assertEqual(verdicts[-1], claims.FAILS)
    found = {
      world: results.read(os.path.join(self.out, folder, 'none', 'analysis'))
      for world, folder in (
        ('partial', 'clip-scenes'), ('full', 'worlds/full'),
        ('unrelated', 'worlds/unrelated'),
      )
    }  # fmt: skip
    real = {w: e['bridges/replicated_cross']['value'] for w, e in found.items()}
    self.assertGreater(real['partial'], real['unrelated'])
    # So few rows need not show the five bridges that settle the claim.
    twin = found['partial']['surrogate/bridges/replicated_cross']['value']
    n = real['partial'] + twin
    settled = scipy.stats.binomtest(real['partial'], n, alternative='greater')
    holds = settled.pvalue < 0.05
    self.assertEqual(verdicts[0], claims.HOLDS if holds else claims.OPEN)
    added = {world: e['bridges/excess'] for world, e in found.items()}
    self.assertGreater(added['full']['low'], added['partial']['high'])
    self.assertGreater(added['partial']['low'], added['unrelated']['high'])
    self.assertLess(added['unrelated']['low'], 0.02)
    at_unrelated = found['unrelated']['bridges/replicated_cross']
    self.assertEqual(at_unrelated['value'], 0)


if __name__ == '__main__':
  absltest.main()
