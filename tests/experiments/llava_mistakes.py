"""Mistakes in the flags of programs about LLaVA-NeXT: see `mistakes_test`."""

SAE, STORE = '--sae={d}/run/sae', '--store={d}/store'
CASES = (
  *(
    ('convert', f'{given} --to=saejax:{{d}}/{to}', message)
    for given, to, message in (
      (
        '--from=quux',
        'out',
        '--from=quux is not understood: write FORMAT:PATH',
      ),
      ('--from=pkl:{d}/a.npy', 'out', 'with FORMAT of vlm-saes'),
      ('--from=vlm-saes:{d}/a.npy', '', 'is there already. Choose another'),
      ('--from=vlm-saes:{d}/none', 'out', 'no file or folder .*none: downl'),
      ('--from=vlm-saes:{d}/store', 'out', 'store has 0 files sae_final_layer'),
      ('--from=vlm-saes:{d}/a.npy', 'out', 'does not say the mean norm of row'),
      (
        '--from=vlm-saes:{d}/a.npy --norm=9',
        'out',
        'a.npy is not .safetensors: .* With --allow_pickle',
      ),
    )
  ),
  ('convert', '--from=vlm-saes:a --to=gguf:b', 'with FORMAT of saejax'),
  *(
    ('cache_llava', f'--model={{d}}/none {flags}', message)
    for flags, message in (
      ('', 'There is no model .*none: expected a folder'),
      ('--layers=a', '--layers=a: expected whole numbers joined by commas'),
      ('--prompt=image', 'must hold {image} once, and {caption} once'),
      ('--per_example=0', '--per_example=0 must be at least 1'),
      ('--examples=0', '--examples=0 must be at least 1'),
      ('--pool --per_example=2', '--pool keeps a mean, so leave --per_example'),
      ('--tower=some', '--tower=some: expected true or false'),
      ('--tower', 'There is no model .*none: expected a folder'),
      ('--contexts=', '--contexts= must name some of image, caption, text'),
      ('--contexts=image,sound', '--contexts=image,sound must name some of im'),
      ('--contexts=text --tower', '--tower is of images: add image to --cont'),
      (
        '--contexts=image --prompt=what',
        'must hold {image} once, .* of --contexts=image it needs no {caption}',
      ),
      ('--contexts=image --prompt={{image}}', 'There is no model .*none'),
      (
        '--dataset=classes:path={d}/run',
        'run has . class folders and no image in them; expected CLASS/IMAGE',
      ),
      (
        '--dataset=classes:path={d}/animals',
        'has one class, cat, and none to tell it from; expected two at least',
      ),
      ('--out={d}/store', 'already holds a finished store'),
    )
  ),
  *(
    ('export_llava', f'--model={{d}}/none {flags}', message)
    for flags, message in (
      ('', 'There is no model .*none: expected a folder'),
      ('--layers=a', '--layers=a: expected whole numbers joined by commas'),
      ('--prompt=image', 'must hold {image} once, and {caption} once'),
      ('--per_example=0', '--per_example=0 must be at least 1'),
      ('--examples=0', '--examples=0 must be at least 1'),
      ('--tower', 'There is no flag --tower. See --help'),
      ('--contexts=sound', '--contexts=sound must name some of image, capti'),
      ('--device=quux', '--device=quux cannot be used by torch'),
      ('--out={d}/store', 'already holds a finished store'),
    )
  ),
  *(
    ('train_live', f'--model={{d}}/none {flags}', message)
    for flags, message in (
      (STORE, 'Give --steps or --epochs: every epoch runs the model over'),
      ('--store={d}/none --steps=1', 'There is no store at .*/none'),
      (f'{STORE} --steps=1', '--stream: image is no layer of a LLaVA-NeXT'),
      (
        f'{STORE} --steps=1 --stream=layer1.text',
        'layer1.text is no layer of .*, such as layer16.image',
      ),
      (
        f'{STORE} --steps=1 --stream=layer01.text',
        "store has no stream layer01.text; it has .'image', 'text'",
      ),
      (f'{STORE} --steps=1 --window=0', '--window=0 must be at least 1'),
      (f'{STORE} --steps=1 --examples=0', '--examples=0 must be at least 1'),
      (f'{STORE} --steps=1 --read_batch=0', '--read_batch=0 must be at least'),
      (f'{STORE} --steps=1 --read_dtype=int8', 'dtype=int8: value should be'),
      (f'{STORE} --steps=1 --mix=equal', '--mix=equal is not for rows that a'),
      (f'{STORE} --steps=1 --align=1', 'come one by one, not matched: leave'),
      (f'{STORE} --steps=1 --k=0', '--k=0 must be at least 1'),
    )
  ),
  *(
    ('sharing', flags, message)
    for flags, message in (
      ('--store={d}/none', 'There is no store at .*/none'),
      (STORE, 'store has no layer with the streams image, caption and text'),
      (f'{STORE} --examples=2', '--examples=2 must be at least 4'),
      (f'{STORE} --draws=5', '--draws=5 must be at least 20'),
      (f'{STORE} --threshold=2', '--threshold=2.0 must be a share of tokens'),
      (f'{STORE} --l0=0', '--l0=0.0 must be positive'),
      (f'{STORE} {SAE} --saes={{d}}/run/sae', 'Give --sae or --saes, not both'),
      (f'{STORE} --out={{d}}/a.npy', 'a.npy is a file; name a folder'),
    )
  ),
  *(
    ('autointerp', flags, message)
    for flags, message in (
      ('', 'Give --sae and --store, or --analysis'),
      (SAE, 'Give --sae and --store, or --analysis'),
      (f'{SAE} --analysis={{d}}/run', 'Give --analysis, or --sae and --store'),
      ('--analysis={d}/none', 'There is no run at .*/none'),
      ('--analysis={d}/run', 'run is no folder that analyse wrote'),
      (f'{SAE} --store={{d}}/none', 'There is no store at .*/none'),
      (f'--sae={{d}}/none {STORE}', 'There is no dictionary at .*/none'),
      (f'--sae={{d}}/signed {STORE}', 'has codes of both signs'),
      (f'{SAE} {STORE} --stream=quux', "has no stream 'quux'; it has"),
      (f'{SAE} {STORE} --concepts=1', '--concepts=1 must be at least 2'),
      (f'{SAE} {STORE} --strata=50', '--strata=50 are more than --concepts=40'),
      (f'{SAE} {STORE} --dataset=words', 'names no kind of data set'),
      (f'{SAE} --store={{d}}/trainonly', 'has no rows in test; this explains'),
      (
        f'{SAE} {STORE} --judge_model=x',
        'There is no model x: expected a folder, or an id',
      ),
      (
        f'{SAE} {STORE} --judge_model=org/none --offline',
        'org/none is not, or not wholly, in the cache .* is not asked',
      ),
      (
        f'{SAE} {STORE} --judge_model={{d}}/run',
        'run has no weights: looked for model.safetensors',
      ),
      (
        f'{SAE} {STORE} --judge_model={{d}}/run --judge_revision=v2',
        'run is a folder, which has no revision v2',
      ),
      (
        f'{SAE} {STORE} --judge_model={{d}}/run --judge_dtype=int8',
        '--judge_dtype=int8: value should be one of <auto|float32',
      ),
      (
        f'{SAE} {STORE} --pictures',
        '--pictures needs --judge_url: a judge that runs here reads words',
      ),
      (
        f'{SAE} {STORE} --pictures --judge_model={{d}}/run',
        '--pictures needs --judge_url',
      ),
      (
        f'{SAE} {STORE} --pictures --dry_run',
        'store keeps no images: give --dataset, what it was made of',
      ),
      (
        f'{SAE} {STORE} --pictures --dry_run --stream=text',
        '--pictures: stream text is of texts. Leave it, or give --stream',
      ),
      (f'{SAE} {STORE} --judge_url=x', '--judge_url=x is no address: write'),
      (
        f'{SAE} {STORE} --judge_url=http://localhost:1/v1',
        '--judge_url needs --judge_model',
      ),
      (f'{SAE} {STORE} --out={{d}}/a.npy', 'a.npy is a file; name a folder'),
    )
  ),
)
