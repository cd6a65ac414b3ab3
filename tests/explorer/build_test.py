"""Sites of an analysis whose every concept is known."""

import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import threading
import urllib.error
import urllib.request

from absl.testing import absltest
import numpy as np
import pyarrow.parquet as pq

from saejax import errors
from saejax import results
from saejax.explorer import build
from saejax.explorer import load
from saejax.explorer import parquet
from saejax.explorer import rows
from saejax.explorer import schema
from saejax.explorer import serving
from saejax.explorer import single_file
from saejax.explorer import sources
from saejax.pipeline import naming
from saejax.pipeline import stability_folder
from saejax.store import files
from saejax.store import manifest
from tests.explorer import analysed
from tests.explorer import site_test
from tests.explorer import synthetic

FACTORS, IMAGE, S = analysed.FACTORS, analysed.IMAGE, analysed.S
SHOWN = ('top', 'q99', 'q90', 'q50', 'near')


def quiet(said: str) -> None:
  del said


def edit_manifest(path: str, **about) -> None:
  file = os.path.join(path, 'manifest.json')
  found = manifest.read_json(file)
  found['about'] |= about
  manifest.write_json(file, found)


class BuildTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.analysis, cls.data = analysed.write(cls.folder)
    names = [
      {'concept': i, 'source': 'captions' if i % 3 else 'vocabulary', 'names': {
          'captions': {'label': f'<b>name {i}</b>', 'score': 0.9, 'null': 0.5},
          'vocabulary': {'label': f'word {i}', 'score': 0.8, 'null': 0.5},
      }}
      for i in range(0, S, 2)
    ]  # fmt: skip
    os.makedirs(cls.path('names'))
    manifest.write_json(
      cls.path('names', naming.NAMES),
      {'sources': ['captions', 'vocabulary'], 'concepts': names},
    )
    os.makedirs(cls.path('stability'))
    cls.stable_S = np.linspace(0.1, 0.9, S)
    cls.stable_S[3] = np.nan
    files.write_arrays(
      cls.path('stability', stability_folder.MATCHED),
      {'run': cls.stable_S, 'other': np.zeros(S)},
    )
    cls.config = cls.make_config()
    cls.out = build.write(cls.config, cls.path('site'), quiet)
    cls.site = load.load(cls.out)
    cls.d = cls.site.dictionaries['analysis']

  @classmethod
  def path(cls, *parts: str) -> str:
    return os.path.join(cls.folder, *parts)

  @classmethod
  def make_config(cls, **changed):
    fields = {
      'analysis': (cls.analysis,),
      'names': (cls.path('names'),),
      'stability': (cls.path('stability'),),
      'static': synthetic.STATIC,
    }
    return build.SiteConfig(**fields | changed)

  def refuse(self, message: str, **changed):
    out = os.path.join(self.create_tempdir().full_path, 'out')
    with self.assertRaisesRegex(errors.UserError, message):
      build.write(self.make_config(**changed), out, quiet)
    self.assertEqual(os.listdir(os.path.dirname(out)), [])

  def test_files_are_named_as_their_writers_name_them(self):
    for name in ('RESULTS', 'CONCEPTS', 'BRIDGES', 'EVIDENCE'):
      self.assertEqual(getattr(sources, name), getattr(results, name))
    self.assertEqual(sources.ABOUT, results.EVIDENCE_ABOUT)
    self.assertEqual(sources.NAMES, naming.NAMES)
    self.assertEqual(sources.MATCHED, stability_folder.MATCHED)

  def test_texts_and_pictures_of_a_concept_show_its_factor(self):
    shown = rows.collect([sources.read(self.analysis)], True)
    file_row = lambda i: int(os.path.basename(shown.pictures[i].path)[:5])
    truth = {
      'image': (self.data.shown_NF, file_row),
      'text': (
        self.data.mentioned_NF,
        lambda i: analysed.row_of(self.site.texts[i]),
      ),
    }
    for first, side in ((0, 'image'), (IMAGE, 'text')):
      labels_NF, row = truth[side]
      for f in range(FACTORS):
        bands = self.d.concept(first + f)[f'{side}s']
        self.assertNotEmpty(bands['top'])
        for name in SHOWN:
          found = [labels_NF[row(id_), f] for id_, _, _ in bands[name]]
          self.assertTrue(all(found), (side, f, name))
        silent = [labels_NF[row(id_), f] for id_, _, _ in bands['none']]
        self.assertLen(silent, 4)
        self.assertFalse(any(silent))

  def test_captions_are_whole_and_pictures_are_the_files(self):
    for said in self.site.texts:
      self.assertEqual(said, analysed.caption(analysed.row_of(said)))
    self.assertTrue(any(len(said) > 9_000 for said in self.site.texts))
    shown = rows.collect([sources.read(self.analysis)], True)
    self.assertLen(shown.pictures, self.site.index['pictures']['count'])
    for id_ in (0, 255, 256):
      row = int(os.path.basename(shown.pictures[id_].path)[:5])
      colour = np.asarray(self.site.picture(id_)).mean((0, 1))
      wanted = (row % 256, row // 256 * 40, 90)
      self.assertLess(np.abs(colour - wanted).max(), 25)
    sensitive = self.site.index['pictures']['sensitive']
    self.assertNotEmpty(sensitive)
    for id_ in sensitive:
      self.assertEqual(
        int(os.path.basename(shown.pictures[id_].path)[:5]) % 50, 0
      )

  def test_tables_of_bridges_add_up(self):
    for edge in range(len(self.d.bridges.image_M)):
      record = self.d.bridge(edge)
      table = record['table']
      self.assertEqual(sum(table[c] for c in schema.CELLS), table['pairs'])
      self.assertEqual(
        record['image'], self.d.id_N[self.d.bridges.image_M[edge]]
      )
      self.assertLessEqual(record['null']['low'], record['null']['high'])
      for cell in schema.CELLS:
        self.assertLen(record[cell], min(table[cell], 6))
    joint = [self.d.bridge(e)['table']['both'] for e in range(20)]
    scale = self.d.bridges.columns['joint'].max() / schema.STEPS
    np.testing.assert_allclose(
      self.d.bridges.columns['joint'][:20], joint, atol=scale
    )

  def test_names_and_stability_are_joined(self):
    self.assertEqual(self.d.labels[1], '')
    self.assertEqual(self.d.labels[2], '<b>name 2</b>')
    self.assertEqual(self.d.labels[6], 'word 6')
    best, other = self.d.concept(6)['labels']
    self.assertEqual((best['text'], best['score']), ('word 6', 0.8))
    self.assertEqual(other['source'], 'captions')
    np.testing.assert_allclose(
      self.d.columns['label_score'][::2], [0.8, 0.9, 0.9] * 7 + [0.8], atol=1e-4
    )
    np.testing.assert_allclose(
      self.d.columns['stability'], self.stable_S, atol=1e-4
    )
    self.assertIsNone(self.d.concept(3)['stability'])
    self.assertIn('1 other run', self.d.concept(4)['stability']['over'])
    for cluster in [c for c in self.d.clusters if c['level'] == 0]:
      self.assertRegex(cluster['name'], '^(<b>name|word)')

  def test_without_names_groups_are_told_by_what_concepts_read(self):
    made = build.site(self.make_config(names=(), stability=()))
    (d,) = made.dictionaries
    self.assertEqual(d.labels[:FACTORS], [f'f{i}' for i in range(FACTORS)])
    columns = {c.name: c.values for c in d.columns}
    self.assertTrue(np.isnan(columns['label_score']).all())
    self.assertTrue(np.isnan(columns['stability']).all())

  def test_the_tour_leads_to_what_is_there(self):
    stops = self.site.index['tour']
    self.assertLen(stops, 5)
    links = [
      dict(p.split('=') for p in s['hash'][1:].split('&')) for s in stops
    ]
    self.assertEqual({link['sae'] for link in links}, {'analysis'})
    image, text = map(int, links[2]['b'].split('-'))
    self.assertEqual(text - image, IMAGE)  # A planted one.
    self.assertLess(image, FACTORS)
    energy_N = self.d.columns['energy']
    self.assertEqual(int(links[3]['c']), self.d.id_N[energy_N.argmax()])

  def test_the_same_analysis_makes_the_same_bytes(self):
    again = build.write(self.config, self.path('again'), quiet)
    self.assertEqual(site_test.digests(again), site_test.digests(self.out))

  def test_nothing_of_this_machine_is_told(self):
    for path in pathlib.Path(self.out).rglob('*.json'):
      self.assertNotIn(self.folder.encode(), path.read_bytes(), str(path))

  def test_two_of_one_data_set_share_rows_and_are_matched(self):
    second = shutil.copytree(self.analysis, self.path('second'))
    made = build.site(self.make_config(analysis=(self.analysis, second)))
    self.assertEqual([d.id for d in made.dictionaries], ['analysis', 'second'])
    self.assertLen(made.texts, len(self.site.texts))
    self.assertLen(made.matches, 2)
    m = made.matches[0]
    np.testing.assert_array_equal(m.index_N, np.arange(S))
    np.testing.assert_allclose(m.correlation_N, 1, atol=1e-4)

  def test_pictures_without_a_licence_are_not_published_unasked(self):
    store = self.path('store')
    self.addCleanup(edit_manifest, store, licence='CC0-1.0')
    for licence in ('unknown', None, ' '):
      edit_manifest(store, licence=licence)
      self.refuse(
        'store does not state the licence of its pict.*--thumbnails=n'
      )
    out = build.write(
      self.make_config(thumbnails='none'), self.path('bare'), quiet
    )
    bare = load.load(out)
    self.assertEqual(bare.index['pictures']['count'], 0)
    self.assertFalse(os.path.exists(os.path.join(out, 'img')))
    record = bare.dictionaries['analysis'].concept(0)
    self.assertFalse(any(record['images'].values()))
    self.assertTrue(any(bare.dictionaries['analysis'].bridge(0)['both']))
    made = build.site(self.make_config(thumbnails='all'))
    self.assertGreater(made.pictures.count, 0)

  def test_what_is_missing_or_does_not_fit_is_told_and_nothing_is_left(self):
    self.refuse('no finished analysis at .*none', analysis=(self.path('none'),))
    self.refuse('each once', analysis=(self.analysis, self.analysis))
    self.refuse('names 2 folders for 1 analyses', names=('a', 'b'))
    self.refuse('holds no names.json', names=(self.path('stability'),))
    self.refuse('holds no matched', stability=(self.path('names'),))
    stability = self.path('stability')
    self.refuse('there is no run x; there are', stability=(f'{stability}:x',))
    self.refuse(
      'saejax was installed without', static=pathlib.Path(self.folder)
    )
    self.refuse('even at 64 pixels', max_mb=0.01)
    old = shutil.copytree(self.analysis, self.path('old'))
    os.remove(os.path.join(old, 'evidence.json'))
    self.refuse('no evidence.json: .*older analyse', analysis=(old,))
    run = manifest.read_json(os.path.join(self.analysis, 'run.json'))
    run['config']['analyse']['sae'] = 'elsewhere/sae'
    shutil.copyfile(
      os.path.join(self.analysis, 'evidence.json'),
      os.path.join(old, 'evidence.json'),
    )
    manifest.write_json(os.path.join(old, 'run.json'), run)
    self.refuse('Add it after a colon', analysis=(old,))
    short = self.path('short')
    os.makedirs(short)
    files.write_arrays(
      os.path.join(short, 'matched.safetensors'), {'run': np.ones(3)}
    )
    self.refuse('has 3 concepts, the dictionary', stability=(short,))

  def test_a_taken_folder_is_refused(self):
    with self.assertRaisesRegex(errors.UserError, 'holds other files .such as'):
      build.write(self.config, self.out, quiet)

  def test_a_single_file_holds_the_whole_site(self):
    out = self.path('one.html')
    build.write_single(self.config, out, quiet)
    page = pathlib.Path(out).read_text(encoding='utf-8')
    held = re.search(r'id="bundle">(.*?)</script>', page, re.DOTALL)[1]
    found = {k: base64.b64decode(v) for k, v in json.loads(held).items()}
    root = pathlib.Path(self.out)
    on_disk = {
      p.relative_to(root).as_posix(): p.read_bytes()
      for folder in ('data', 'img', 'text')
      for p in (root / folder).rglob('*.*')
    }
    self.assertEqual(found, on_disk)
    self.assertNotIn('src="app.js', page)
    script = re.search(
      r'<script type="module">(.*?)</script>', page, re.DOTALL
    )[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    self.assertIn(f"script-src 'sha256-{digest}'", page)
    self.assertEqual(page.count('<script'), 2)
    with self.assertRaisesRegex(errors.UserError, 'is there already'):
      build.write_single(self.config, out, quiet)
    with self.assertRaisesRegex(errors.UserError, 'ends in .html'):
      build.write_single(self.config, self.path('one'), quiet)

  def test_a_large_site_is_no_single_file(self):
    made = synthetic.site(n=single_file.MOST + 1, m=3, count=0, twice=False)
    with self.assertRaisesRegex(errors.UserError, '2,001 concepts; one file'):
      single_file.check(made)

  def test_targets_have_what_they_need(self):
    config = self.make_config(target='hf-space', title='A "title": x')
    out = build.write(config, self.path('space'), quiet)
    readme = pathlib.Path(out, 'README.md').read_text(encoding='utf-8')
    self.assertStartsWith(readme, '---\ntitle: "A \\"title\\": x"\n')
    self.assertIn('\nsdk: static\n', readme)
    config = self.make_config(target='embedding-atlas')
    out = build.write(config, self.path('atlas'), quiet)
    table = pq.read_table(os.path.join(out, parquet.NAME)).to_pylist()
    self.assertEqual([r['concept'] for r in table], list(range(S)))
    self.assertEqual(table[2]['label'], '<b>name 2</b>')
    self.assertEqual(table[1]['label'], 'concept 1')
    self.assertIsNone(table[3]['stability'])
    near = table[0]['neighbors']
    self.assertEqual(near['distances'], sorted(near['distances']))
    self.assertEqual(near['ids'][0], IMAGE)
    self.assertStartsWith(table[0]['picture']['bytes'], b'RIFF')

  def test_a_site_is_served_with_the_right_types_here_alone(self):
    server = serving.make_server(self.out, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    self.addCleanup(
      lambda: (server.shutdown(), thread.join(), server.server_close())
    )
    host, port = server.server_address[:2]
    self.assertEqual(host, '127.0.0.1')
    for name, kind in (
      ('', 'text/html; charset=utf-8'),
      ('app.js?v=1', 'text/javascript; charset=utf-8'),
      ('data/index.json', 'application/json'),
      ('data/analysis/points.bin', 'application/octet-stream'),
      ('data/analysis/map/000.webp', 'image/webp'),
    ):
      with urllib.request.urlopen(f'http://{host}:{port}/{name}') as answer:
        self.assertEqual(answer.headers['Content-Type'], kind)
        self.assertNotIn('Content-Encoding', answer.headers)
    with self.assertRaises(urllib.error.HTTPError):
      urllib.request.urlopen(f'http://{host}:{port}/../names/names.json')
    with self.assertRaisesRegex(
      errors.UserError, f'--port={port} cannot be used'
    ):
      serving.make_server(self.out, port)
    with self.assertRaisesRegex(errors.UserError, 'There is no site at'):
      serving.make_server(self.folder, 0)


if __name__ == '__main__':
  absltest.main()
