"""Signals that ask a run to stop, in one process."""

import signal
import threading

from absl.testing import absltest
from absl.testing import parameterized

from saejax import preemption


class WatchTest(parameterized.TestCase):
  @parameterized.parameters(signal.SIGTERM, signal.SIGUSR1)
  def test_a_signal_is_noted_and_its_handler_given_back(self, number):
    came = []
    before = signal.signal(number, lambda *_: came.append(1))
    self.addCleanup(signal.signal, number, before)
    with preemption.watch() as should_stop:
      self.assertFalse(should_stop(1))
      signal.raise_signal(number)
      self.assertTrue(should_stop(2))
      self.assertTrue(should_stop(3))
    self.assertEmpty(came)
    signal.raise_signal(number)
    self.assertEqual(came, [1])
    with preemption.watch() as should_stop:
      self.assertFalse(should_stop(1))

  def test_a_thread_trains_without_signals(self):
    found = []

    def work():
      with preemption.watch() as should_stop:
        found.append(should_stop(1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    self.assertEqual(found, [False])


if __name__ == '__main__':
  absltest.main()
