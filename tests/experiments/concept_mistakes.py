"""Mistakes in the flags of programs that read concepts: see `mistakes_test`."""

SAE, STORE = '--sae={d}/run/sae', '--store={d}/store'
RUNS = '--runs={d}/run/sae,{d}/other'
CASES = (
  *(
    ('name', f'{SAE} {STORE} {flags}', message)
    for flags, message in (
      ('--out={d}/store', 'store holds other files'),
      ('--model={d}/none', 'There is no model .*none: expected a folder'),
      ('--vocabulary={d}/none', 'none cannot be opened .*a word or phrase'),
      ('--templates=photo', 'is neither a file nor templates'),
      ('--hierarchy={d}/none', '--hierarchy=.*none cannot be read: No such'),
      ('--hierarchy={d}/torn/config.json', 'config.json is not valid JSON'),
      ('--hierarchy={d}/run/run.json', 'expected an object of a parent and'),
      ('--hierarchy={d}/kinds.json', "names 'red', which is no label of"),
      ('--other_store={d}/none', 'There is no store at .*/none'),
      ('--other_store={d}/labelled', 'labelled is of another data set than'),
    )
  ),
  *(
    ('intervene', f'{SAE} {STORE} {flags}', message)
    for flags, message in (
      ('--sizes=8,x', '--sizes=8,x must be whole numbers joined by commas'),
      ('--sizes=', '--sizes must be whole numbers, at least 1'),
      ('--draws=5', '--draws=5 must be at least 20'),
      ('--sets=magic', "--sets: 'magic' is no set; choose of cross_bridges, "),
      ('--edit=burn', '--edit=burn: value should be one of'),
      ('--classes_store={d}/none', 'There is no store at .*/none'),
      ('--classes_store={d}/store', 'store=.*/store lacks labelled images'),
      ('--sae={d}/signed', 'has codes of both signs'),
      ('--store={d}/trainonly', 'no rows in test. Give its'),
      ('--store={d}/labelled', 'labelled has no stream text; this needs'),
    )
  ),
  *(
    ('edit', f'{SAE} {STORE} {flags}', message)
    for flags, message in (
      ('', 'Give one of --query, a caption of the store, and --row'),
      ('--row=text:1 --query=x', 'Give one of --query'),
      ('--row=1', '--row=1 is not understood: write image:NUMBER or te'),
      ('--row=text:60', 'stream text of .*store has rows 0…59'),
      ('--query=nothing', "says 'nothing'. Near is 'text 0'; or use --row"),
      ('--row=text:1 --add=64', 'no concept 64: the dictionary has 0…63'),
      ('--row=text:1 --remove=a', '--remove=a must be numbers of concepts'),
      ('--row=text:1 --add=@', '--add=@ must be numbers of concepts, or words'),
      ('--row=text:1 --add=@red', "No concept is named 'red'. Give --names="),
      (
        '--row=text:1 --add=@red --names={d}/none',
        '--names=.*/none holds no names.json: give the folder that name wrote',
      ),
      ('--row=text:1 --top=0', '--top=0 must be at least 1'),
      ('--row=text:1 --sae={d}/none', 'There is no dictionary at .*/none'),
      ('--row=text:1 --store={d}/none', 'There is no store at .*/none'),
      ('--row=text:1 --store={d}/narrow', 'width 48; stream text has width'),
      ('--row=text:1 --out={d}/a.npy', 'a.npy is a file; name a folder'),
    )
  ),
  *(
    ('stability', flags, message)
    for flags, message in (
      ('--store={d}/none', 'There is no store at .*/none'),
      (f'{STORE} --seeds=0,0', '--seeds names 0 more than once'),
      (
        f'{STORE} --seeds=0',
        'No two of these runs can be compared: give two --seeds',
      ),
      (
        f'{STORE} --seeds=a',
        '--seeds=a: expected whole numbers joined by comm',
      ),
      (f'{STORE} --diets=2', "--diets=2: '2' is no share of images; write"),
      (f'{STORE} --diets=1/2 --mix=equal', 'leave out --rows and --mix'),
      (f'{STORE} --out={{d}}/a.npy', 'a.npy is a file; name a folder'),
      (f'{STORE} --runs={{d}}/run/sae', 'name two dictionaries or more'),
      (f'{RUNS} --store={{d}}/none', 'There is no store at .*/none'),
      (f'{RUNS} {STORE}', 'There is no dictionary at .*/other'),
      (
        f'{RUNS},{{d}}/third {STORE},{{d}}/narrow',
        '--store names 2 stores for 3 runs: give one for all, or one for each',
      ),
    )
  ),
  *(
    ('paper1', flags, message)
    for flags, message in (
      ('--models=', 'must name one model or more, each once'),
      ('--models=a,a', '--models=a,a must name one model or more, each once'),
      ('--models=clip-scenes,nothing', 'There is no model nothing: expected'),
      ('--seeds=0', '--seeds must be two or more different numbers'),
      ('--dataset=coko:', 'names no kind of data set that is known'),
      ('--methods=magic', "--methods: 'magic' is unknown; choose of"),
      ('--diets=1/2', '--diets=1/2: name two shares or more, or none'),
      ('--diets=1/2,7', "'7' is no share of images; write fractions"),
      ('--draws=5', '--draws=5 must be at least 20'),
      ('--alternations=0', '--alternations=0 must be at least 1'),
      (
        '--counter_worlds --dataset=scenes:n=90,captions=full',
        'must be scenes:… with captions=partial',
      ),
    )
  ),
  *(
    ('explore', flags, message)
    for flags, message in (
      ('', '^--analysis is missing. See --help.$'),
      ('--analysis={d}/none', 'There is no finished analysis at .*/none: no '),
      ('--analysis={d}/run,{d}/run', 'name one folder or more, each once'),
      ('--analysis={d}/run --names=a,b', 'names 2 folders for 1 analyses'),
      ('--analysis={d}/run --thumbnails=some', 'value should be one of'),
      ('--analysis={d}/run --target=moon', 'value should be one of'),
      (
        '--analysis={d}/run --single_file',
        'must be the name of a file that en',
      ),
      ('--analysis={d}/run --single_file --serve', 'needs no --serve: open it'),
      (
        '--analysis={d}/run --out={d}/store',
        'store holds other files .such as',
      ),
      ('--analysis={d}/run --out={d}/a.npy', 'a.npy is a file; name a folder'),
      (
        '--serve --out={d}/store',
        'There is no site at .*store: it has no data',
      ),
    )
  ),
)
