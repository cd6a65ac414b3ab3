"""Words from the web: what a page must show as it is, and never run."""

STRINGS = (
  '<script>window.__hacked = 1</script>',
  '<img src=x onerror="window.__hacked = 1">',
  '"><svg onload=window.__hacked=1>',
  "'; window.__hacked = 1; //",
  '</script><script>window.__hacked = 1</script>',
  '&lt;b&gt; &amp; &quot;',
  'javascript:window.__hacked=1',
  '${window.__hacked = 1} {{7*7}} <!-- -->',
  'שלום עולם, כלב רץ',
  '\u202egnorw yaw eht\u202c',
  'مرحبا بالعالم',
  '👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 a family 🇧🇷',
  'e\u0301 is not é; ﬁ ligature; ß; İ',
  'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!',
  'a\nline\tand\r\nanother\u2028and\u2029more',
  'nul \x00 bell \x07 and \x1b[31mred',
  'half a pair \ud83d is not text',
  '\ufeffmarked',
  ' ',
  '',
  '猫が窓辺で眠っている',
  '../../../etc/passwd',
  'CON', '%00%2e%2e', "Robert'); DROP TABLE concepts;--",
  '=HYPERLINK("http://evil.invalid","csv")',
  '__proto__', 'constructor', 'null', 'NaN', '-1',
  'x' * 10_000,
  'long words ' * 900,
)  # fmt: skip

# A store holds text alone, so not half a surrogate pair.
TEXTS = tuple(s for s in STRINGS if '\ud83d' not in s)
