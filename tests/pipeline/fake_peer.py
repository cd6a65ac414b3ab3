"""A peer without torch: it answers as `torch_bridge.peer_steps` says.

`overcomplete` learns, `sparsify` cannot be prepared, `sae_lens` dies in
training, `dictionary_learning` fails there.
"""

import json
import os
import sys

import numpy as np


def main():
  taken = 0
  for line in sys.stdin:
    request = json.loads(line)
    do, answer = request['do'], {'bytes': None}
    if do == 'prepare':
      peer, taken, b = request['peer'], 0, request['b']
      x_BD = np.load(request['data'], allow_pickle=False)[-b:]
      spread = float(((x_BD - x_BD.mean(0)).astype(np.float64) ** 2).sum())
      answer = {'versions': {peer: '1.0'}}
      if peer == 'sparsify':
        answer = {'problem': 'no such variant'}
    elif do == 'time':
      taken += request['n']
      answer = {'seconds': 0.001 * request['n']}
      if peer == 'dictionary_learning' and taken > 3:
        answer = {'problem': 'ran out of memory'}
      if peer == 'sae_lens':
        print('the last words', file=sys.stderr, flush=True)
        os._exit(1)
    elif do == 'error':
      answer = {'error': spread / (1 + taken)}
    print(json.dumps(answer), flush=True)


if __name__ == '__main__':
  main()
