"""Mistakes in the flags of programs that look into a LLaVA-NeXT."""

SAE, STORE = '--sae={d}/run/sae', '--store={d}/store'
CASES = (
  *(
    ('probe', flags, message)
    for flags, message in (
      ('--store={d}/none', 'There is no store at .*/none'),
      ('--store={d}/run', 'run is not a store: it has no manifest'),
      (STORE, 'Stream image of .*store has no labels: probes need a store of'),
      (f'{STORE} --out={{d}}/a.npy', 'a.npy is a file; name a folder'),
      ('--store={d}/labelled --train_stream=sound', 'no streams layerNN.sound'),
      ('--store={d}/labelled --test_stream=text', 'no streams layerNN.text'),
      ('--store={d}/labelled --layers=3', 'has no layer 3 of image; it has 0'),
      ('--store={d}/labelled --layers=a', '--layers=a: expected whole numbers'),
      ('--store={d}/labelled --labels=size', "no factor 'size'; it has class"),
      (f'{STORE} --probes=magic', "--probes: 'magic' is unknown; choose of mu"),
      (f'{STORE} --rows=1', '--rows=1 must be at least 2'),
      (f'{STORE} --shuffles=1', '--shuffles=1 must be at least 2'),
      (f'{STORE} --saes=0', "--saes: '0' is not understood: write LAYER:FOLD"),
      (f'{STORE} --saes=0:{{d}}/none', 'There is no dictionary at .*/none'),
      (f'{STORE} --saes=4:{{d}}/run/sae', 'has no layer 4 of image; it has 0'),
      (
        '--store={d}/labelled --saes=0:{d}/run/sae',
        'Stream image holds means over positions, and an SAE reads tokens',
      ),
      (f'{STORE} --references={{d}}/none', 'There is no store at .*/none'),
      (f'{STORE} --split=some', '--split=some: value should be one of'),
      (f'{STORE} --standardise=no', '--standardise=no: value should be one of'),
    )
  ),
  *(
    ('steer', f'--layer=1 --model={{d}}/none {flags}', message)
    for flags, message in (
      ('', 'There is no model .*none: expected a folder'),
      ('--layer=a', '--layer=a: expected a whole number'),
      ('--layer=-1', '--layer=-1 must be at least 0'),
      ('--factor=mood', '--factor=mood: value should be one of'),
      ('--classes=red,mauve', "--classes: 'mauve' is no colour; choose of red"),
      ('--classes=red', '--classes: name two or more, or none for all'),
      ('--sites=nose', "--sites: 'nose' is unknown; choose of image, answer"),
      ('--directions=up', "--directions: 'up' is unknown; choose of adjusted"),
      ('--directions=means,sae', '--directions: sae needs --sae'),
      (
        '--tested=means --directions=text',
        '--tested=means is not among --directions',
      ),
      ('--strengths=2,1', '--strengths must be above 0, and rise'),
      ('--strengths=0,1', '--strengths must be above 0, and rise'),
      ('--strengths=a', '--strengths=a: expected numbers joined by commas'),
      ('--damage=0', '--damage=0.0 must be positive'),
      ('--nulls=5', '--nulls=5 must be at least 19'),
      ('--prompt=what', '--prompt=.* must hold {image} and {question} once'),
      ('--letters=A', '--letters: name two or more'),
      ('--judge_url=http://localhost:1/v1', '--judge_url needs --judge_model'),
      ('--judge_url=me --judge_model=m', '--judge_url=me is no address'),
      (
        '--judge_url=http://localhost:1/v1 --judge_model=m --rollouts=0',
        'A judge reads rollouts, of which --rollouts=0',
      ),
      ('--dataset=coko:', 'names no kind of data set that is known'),
      ('--dataset=folder:path={d}', 'run holds no table|must be scenes:|no ta'),
      ('--out={d}/run', 'run holds another run. Add --resume'),
      ('--out={d}/store', 'store holds other files'),
      ('--out={d}/a.npy', 'a.npy is a file; name a folder'),
    )
  ),
  *(
    ('splice', f'{SAE} --layer=1 --model={{d}}/none {flags}', message)
    for flags, message in (
      ('', 'There is no model .*none: expected a folder'),
      ('--sae={d}/none', 'There is no dictionary at .*/none'),
      ('--layer=x', '--layer=x: expected a whole number'),
      ('--examples=1', '--examples=1 must be at least 2'),
      ('--batch=1', '--batch=1 must be at least 2'),
      ('--prompt={{image}}', 'must hold {image} and {question} once'),
      ('--letters=A,B', '--letters=A,B: name 4, or none'),
      ('--dataset=coko:', 'names no kind of data set that is known'),
      ('--split=some', '--split=some: value should be one of'),
      ('--out={d}/a.npy', 'a.npy is a file; name a folder'),
    )
  ),
  *(
    ('paper2', f'--model={{d}}/none {flags}', message)
    for flags, message in (
      ('', 'There is no model .*none: expected a folder'),
      ('--dataset=coko:', 'names no kind of data set that is known'),
      ('--dataset=scenes:n=60', 'scenes of one thing in val; --captions=16'),
      (
        '--dataset=scenes:n=400,splits=0.1/0.4/0.5',
        'of colour that are steered, .* have 10 scenes of one thing in train',
      ),
      ('--layers=a', '--layers=a: expected whole numbers joined by commas'),
      ('--layers=0,2', '--layers names 0: name layers from 1'),
      ('--factors=mood', "--factors: 'mood' is unknown; choose of colour"),
      ('--factors=', "--factors: '' is unknown; choose of colour"),
      (
        '--nulls=50',
        '--nulls=50: of 5 classes at a layer none can pass with fewer than',
      ),
      ('--classes=1', '--classes=1 must be at least 2'),
      ('--latents=9 --expansion=2', 'Give --latents or --expansion, not both'),
      ('--k=0', '--k=0 must be at least 1'),
      ('--steps=0', '--steps=0 must be at least 1'),
      ('--lr=0', '--lr must be positive'),
      ('--per_example=1', '--per_example=1 must be at least 2'),
      ('--examples=1', '--examples=1 must be at least 2'),
      ('--concepts=1', '--concepts=1 must be at least 2'),
      ('--site_examples=9', '--site_examples=9 must be at least 50'),
      ('--images=0', '--images=0 must be at least 1'),
      ('--batch=1', '--batch=1 must be at least 2'),
      ('--prompt=what', '--prompt=.what. must hold {image} and {question}'),
      ('--dtype=int8', '--dtype=int8: value should be one of'),
      ('--out={d}/run', 'run holds a run with other settings'),
      ('--out={d}/store', 'store holds other files'),
      ('--out={d}/a.npy', 'a.npy is a file; name a folder'),
    )
  ),
)
