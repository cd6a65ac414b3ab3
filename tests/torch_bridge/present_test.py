"""What needs torch says so where it is not there."""

import sys
from unittest import mock

from absl.testing import absltest

from saejax import errors
from saejax.torch_bridge import present
from tests.models import parity


class PresentTest(absltest.TestCase):
  def test_without_torch_a_line_says_what_to_do(self):
    with (
      mock.patch.dict(sys.modules, {'torch': None}),
      self.assertRaisesRegex(
        errors.UserError, 'A judge needs torch, .* pip install torch, or wait'
      ),
    ):
      present.require('A judge', ', or wait')

  @parity.needs_torch
  def test_a_device_that_is_not_there_is_told(self):
    present.require('This', '')
    present.check_device('--device', 'cpu')
    with self.assertRaisesRegex(errors.UserError, '--device=quux cannot'):
      present.check_device('--device', 'quux')


if __name__ == '__main__':
  absltest.main()
