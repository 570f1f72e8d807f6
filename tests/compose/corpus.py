"""Small compose projects that our loader and the real Compose must read alike.

A project is its compose.yaml, or a mapping of file names to texts of which those named
`compose*.yaml` are the compose files, in this order.
"""

ACCEPTED: dict[str, str | dict[str, str]] = {
    "models-short": """
services: {app: {image: x, models: [llm, emb]}}
models: {emb: {model: ai/e}, llm: {model: ai/x, context_size: 4096, runtime_flags: ["--temp", "0.2", "0.2"]}}
""",
    "models-long": """
services: {app: {image: x, models: {m: {endpoint_var: U, model_var: V, x-a: 1}, n: {model_var: ""}, o: {}, p: }}}
models: {m: {model: a}, n: {model: a}, o: {model: a}, p: {model: a}, unused: {model: a}}
""",
    "models-with-nothing-in-them": """
services: {app: {image: x, models: [m, n]}}
models: {m: {model: "", name: foo, x-a: , x-b: {c: 1.50}}, n: {model: z, context_size: 0, runtime_flags: []}}
""",
    "context-size-as-a-float": """
services: {app: {image: x, models: [m, n, o]}}
models: {m: {model: z, context_size: 4e3}, n: {model: z, context_size: 4096.0}, o: {model: z, context_size: -1}}
""",
    "model-interpolated": """
services: {app: {image: x, models: [m]}}
models: {m: {model: "${M:-ai/x}:${T-latest}", x-dmrc: {keep_alive: 0, parallel: 2, ready: "${R:-loaded}"}}}
x-dmrc: {capture: full, plugins: [./a.py]}
""",
    "environment-types": """
services: {app: {image: x, environment: {C: 1:30, D: y, E: .5, F: 1e3, G: 0o17, H: 2024-01-01, R: 190:20:30.15,
  H2: 2024-01-01T10:11:12Z, H3: 2024-1-1 1:2:3.5, H4: 2024-01-01 10:11:12Z, H5: 2024-13-01, J: ~, K: no, L: on,
  H6: 2001-12-14t21:59:43.10-05:00, S: +1, T: 1., U: 0b1, V: 12:30:45, W: 0x_1, Y: _1, Z: 1_, a: 1_000.5, b: 08,
  c: 0o8, d: 123456789012345678901, e: 1e21, f: 1e-5, g: 1.5e-7, h: 1e3000, i: -0, j: -0.0, k: 0.0001, m: -5,
  l: 18446744073709551615, n: .5_0, o: 0X1f, p: 017, q: -017, r: +.5, s: ..., t: -, u: --1, v: 1-2, w: True,
  x: TRUE, y: tRUE, z: 1000000.5, aa: !!str 5, ab: !!int "5", ac: !!float 5, ad: !!binary aGk=, ae: !foo bar,
  af: 1e6, ag: 1234567.0, ah: 123456.0, ai: 9223372036854775808, aj: -9223372036854775809, ak: ._5}}}
""",
    "environment-strings": """
services: {app: {image: x, environment: {A: =, B: "<<", D: "y", E: "1:30", F: "1e3", H: "2024-01-01", J: "~",
  M: "a: b", N: "#x", O: " x", P: "x\\ny", Q: "é", Y: '"q"', Z: "a=b", on: a, y: b, NO: c, "1": d}}}
""",
    "environment-list": """
services: {app: {image: x, environment: [A=b, A=c, HOME, NONE, C=, "D=x=y", "E= x "]}}
""",
    "environment-null": "services: {app: {image: x, environment: {HOME: , NONE: , EMPTY: ''}}}",
    "extensions": """
services: {app: {image: x, x-a: , x-b: {x-c: 1}, x-develop: {}}}
x-q:
x-a: {b: null, c: [], d: {}, e: "", f: 1e3, g: 017, h: 1.0, i: 12345678901234567890, m: 12:30:45, n: yes, o: 0b11,
  p: 1_0.5, q: 0x1F, r: .5, s: 5., t: +5, u: 1e-7, v: 0o8, w: 08, x: -0x1, x-in: {x-d: 1},
  z: 2001-12-14t21:59:43.10-05:00}
""",
    "interpolation": """
services: {app: {image: x, environment: ["A=a$", "C=$1", "D=${FOO-a}}${FOO}", "F=$$FOO $${FOO}", "E=${FOO:-$}",
  "G=${NO:-${NO2:-${BAR}}x}y${FOO}", "H=${EM:-d}/${EM-d}/${NO-d}/${EM:+x}/${EM+x}/${NO+x}/${FOO:+${BAR}}",
  "I=${FOO:?x}${EM?x}", "J=$FOO$BAR", "K=${NO:-a:-b?c}", "L=${NO-$$x}", "M=${NO:-{a}}", "O=${foo}${Foo}",
  "P={$FOO}", "Q=$$$FOO", "R=$$$$FOO", "S=${NO:-}", "T=${NO:-a b}", "U=${FOO:-a} ${BAR:-b} ${NO:-${FOO}-${BAR}}",
  "V=${COMPOSE_PROJECT_NAME}", "W=$NO"]}}
""",
    "merge-keys": """
x-b: &b {image: x, environment: &e {A: 1, B: 2}}
x-c: &c {image: y, working_dir: /w}
x-m: &m ai/x
x-l: &l [m]
services:
  a: {<<: *b, environment: {<<: *e, A: 3, B: }, models: *l}
  b: {<<: [*b, *c], image: q}
  c: {<<: [*c, *b]}
models: {m: {model: *m}}
""",
    "two-documents": """
services: {a: {image: x, environment: {A: b}}}
---
services: {a: {environment: {B: c}}}
""",
    "env-files": {
        "compose.yaml": """
services:
  a: {image: x, environment: {A: , HOME: , B: own, N: "${P:-x}"}, env_file: [one.env, {path: no.env, required: false}]}
  b: {image: x, env_file: ./one.env}
  c: {image: x, env_file: [one.env, {path: two.env, required: "false"}]}
  d: {image: x, env_file: [{path: one.env, format: raw}]}
  e: {image: x, profiles: [p], env_file: no.env}
""",
        "one.env": "A=file\nB=${A}x\nN=$P\nFOO\nNONE\nUNSET=$NO\n",
        "two.env": "B=two\nC=${B}$N\n",
        ".env": "P=dot\nA=dot\n",
    },
    "dotenv-syntax": {
        "compose.yaml": "services: {a: {image: x, env_file: s.env}}",
        "s.env": """\ufeff# a comment
A=1
 export B = two words   # gone
export	T=tab
C='single $A \\' \\n #'
D="double $A \\" \\n \\t \\$A $$A \\\\ \\101 \\0101 \\q ${NO:-d}" # gone
E: yaml
F=#no-comment
G=a#b
H=a #b
I=
J=   spaced
K="two
lines ${A}"
L="x"M=y
N.n-n[0]=z
É=é
O=$A${B}${FOO}
P='a'
Q=${NO-a b} c
R=\\$A
S="${D}"
U=a\\nb
FOO
V=cr\r
W="a\\\\"
X='a\\\\b'
""",
    },
    "raw-env-file": {
        "compose.yaml": "services: {a: {image: x, env_file: [{path: s.env, format: raw}]}}",
        "s.env": '# no\n\n  A="q" $B \nFOO\nNONE\nC=\nD=a=b\n',
    },
    "dotenv-chooses": {
        "compose.yaml": """
services: {a: {image: "${P}", profiles: [p], environment: {FOO: , P: , Q: "${COMPOSE_PROJECT_NAME}"}}, b: {image: x,
  profiles: [q]}}
""",
        ".env": "COMPOSE_PROJECT_NAME=fromdot\nCOMPOSE_PROFILES=x,p\nP=${FOO}y\nFOO=not\n",
    },
    "profiles-none-active": "services: {b: {image: x, profiles: [p], models: [zz]}}\nmodels: {m: {model: a}}",
    "dependencies": """
services:
  a: {provider: {type: dmrc, options: {model: ai/x, n: 1, f: 1.50, b: true, l: [a, 2], e: []}, x-a: 1}, x-b: {x-c: 1}}
  b: {image: z, depends_on: {a: {condition: service_started, restart: true, required: false, x-d: 1}},
      network_mode: "service:c", links: ["d:dee"], volumes_from: [e, "container:foo"]}
  c: {image: z, depends_on: [], ipc: "service:d", network_mode: none}
  d: {image: z, depends_on: {gone: {condition: service_healthy, required: "${NO:-no}", restart: "${NO:-off}"}}}
  e: {image: z, environment: {}, models: {}, profiles: [], working_dir: ~/a, env_file: []}
  gone: {image: z, profiles: [p]}
  f: {provider: {type: dmrc}, depends_on: [a, e]}
""",
    "nothing-but-extensions": "x-a: {a: {model: x}}",
    "nothing-but-a-name": "name: Foo Bar",
    "name-interpolated": "name: X-${FOO}-y z\nservices: {a: {image: x}}",
    "name-empty": "name: ''\nservices: {a: {image: x}}",
    "other-keys": """
version: "3"
include: []
services: {a: {image: x, ports: ["80:80"], command: [a], healthcheck: {test: [CMD, x]}, deploy: {replicas: 1},
  labels: {a: b}, volumes: ["./a:/b"], ulimits: {nofile: 5}, extra_hosts: ["a:1.2.3.4"]}, b: {build: .}}
networks: {n: {}}
""",
    "override": {
        "compose.yaml": """
name: one
services:
  a: {image: x, environment: {A: 1, B: 2.50, C: , D: x}, models: [llm], depends_on: [b], profiles: [],
      env_file: a.env, command: a, labels: {a: b}, build: ., x-l: [1, 2], x-m: {a: 1, b: {c: 1}}}
  b: {image: x, models: {llm: {endpoint_var: E}}, environment: [A=1, B=2], network_mode: host}
  c: {image: x, environment: {A: 1e6}}
models: {llm: {model: a, context_size: 10, runtime_flags: [--a, "1", --b, "1"], x-dmrc: {a: 1}}}
x-t: {a: [1], b: 1}
""",
        "compose.override.yaml": """
name: two
services:
  a: {environment: [A=9, HOME, B], models: {emb: {model_var: E}, llm: }, depends_on: {c: {condition: service_healthy},
      b: {condition: service_started, restart: true}}, env_file: [b.env, {path: a.env, required: false}], command: [b],
      labels: [c=d], build: {context: .}, x-l: [2, 3], x-m: {b: {d: 2}}}
  b: {models: [llm, emb], environment: {B: , C: 3}, network_mode: none, working_dir: /w}
  c: {environment: , models: [emb], image: }
models: {llm: {model: b, context_size: , runtime_flags: [--c, "1"], x-dmrc: {b: 2}}, emb: {model: e}}
x-t: {a: [1, 2], b: , c: 3}
""",
        "a.env": "A=a\nFA=$B\n",
        "b.env": "FA=b\nFB=$FA\n",
    },
    "override-completes": {
        "compose.yaml": "services: {a: {image: x, profiles: [p]}, b: {environment: {}}}",
        "compose.override.yaml": "services: {a: {profiles: [p, q]}, b: {image: y}, c: {image: z}}",
    },
}
"""Projects that both read; the directory is named like the key."""

REFUSED: dict[str, tuple[str | dict[str, str], str]] = {
    "undefined-model": (
        "services: {app: {image: x, models: [foo]}}",
        "service 'app' refers to undefined model 'foo'",
    ),
    "model-missing": ("services: {a: {image: x}}\nmodels: {m: {context_size: 5}}", "models.m.model is missing"),
    "model-completed-too-late": (
        {
            "compose.yaml": "services: {a: {image: x}}\nmodels: {m: {}}",
            "compose.override.yaml": "models: {m: {model: a}}",
        },
        "models.m.model is missing",
    ),
    "binary-that-is-none": ("x-a: !!binary aaa", "compose.yaml:1: this is not base64"),
    "model-null": ("models: {m: }", "models.m must be a mapping"),
    "model-number": ("models: {m: {model: 5}}", "models.m.model must be a string, not '5'"),
    "model-unknown-key": ("models: {m: {model: a, foo: 1}}", "models.m.foo is not known"),
    "model-bad-name": ('models: {"a b": {model: x}}', "models holds 'a b'"),
    "models-null": ("models:", "models must be a mapping"),
    "context-size-text": (
        "models: {llm: {model: a, context_size: lots}}",
        "models.llm.context_size must be an integer, not 'lots'",
    ),
    "context-size-interpolated": (
        'models: {m: {model: a, context_size: "${NO:-5}"}}',
        "from a ${VARIABLE} is a string",
    ),
    "context-size-fraction": ("models: {m: {model: a, context_size: 1.5}}", "must be an integer, not '1.5'"),
    "context-size-true": ("models: {m: {model: a, context_size: true}}", "must be an integer, not 'true'"),
    "context-size-null": ("models: {m: {model: a, context_size: }}", "must be an integer, not 'null'"),
    "flags-text": ("models: {m: {model: a, runtime_flags: --temp 1}}", "models.m.runtime_flags must be a list"),
    "flags-number": ("models: {m: {model: a, runtime_flags: [--temp, 0.2]}}", "must hold strings, not '0.2'"),
    "service-models-unknown-key": ("services: {a: {image: x, models: {m: {foo: 1}}}}", "services.a.models.m.foo"),
    "service-models-twice": ("services: {a: {image: x, models: [m, m]}}", "holds 'm' twice"),
    "service-models-null": (
        "services: {a: {image: x, models: }}",
        "services.a.models must be a list of names or a mapping",
    ),
    "service-models-text": (
        "services: {a: {image: x, models: llm}}",
        "services.a.models must be a list of names or a mapping",
    ),
    "service-models-number": ("services: {a: {image: x, models: [1]}}", "services.a.models must be a list of strings"),
    "endpoint-var-number": (
        "services: {a: {image: x, models: {m: {endpoint_var: 1}}}}",
        "endpoint_var must be a string, not '1'",
    ),
    "environment-null": (
        "services: {a: {image: x, environment: }}",
        "services.a.environment must be a list of KEY=VALUE or a mapping",
    ),
    "environment-nested": ("services: {a: {image: x, environment: {A: [1]}}}", "services.a.environment.A"),
    "environment-number": ("services: {a: {image: x, environment: [5]}}", "must hold KEY=VALUE, not '5'"),
    "environment-space": ('services: {a: {image: x, environment: ["A =b"]}}', "ends in a space"),
    "environment-key-is-no-string": ("services: {a: {image: x, environment: {1: a}}}", "compose.yaml:1: key 1 of"),
    "environment-infinity": ("services: {a: {image: x, environment: {A: .inf}}}", ".inf is not a number"),
    "unknown-service-key": ("services: {a: {image: x, enviroment: x}}", "services.a.enviroment is not a key"),
    "unknown-top-level-key": ("services: {a: {image: x}}\nfoo: 1", "'foo' is not a key of a compose file"),
    "service-null": ("services: {a: }", "services.a must be a mapping"),
    "service-text": ("services: {a: image}", "services.a must be a mapping"),
    "services-null": ("services:", "services must be a mapping"),
    "services-list": ("services: [a]", "services must be a mapping"),
    "service-bad-name": ('services: {"a b": {image: x}}', "services holds 'a b'"),
    "service-without-image": ("services: {a: {environment: {}}}", "neither an image nor a build"),
    "build-null": ("services: {a: {image: x, build: }}", "services.a.build is empty"),
    "two-networks": ("services: {a: {image: x, networks: [n], network_mode: host}}\nnetworks: {n: }", "Keep one of"),
    "network-mode-null": (
        "services: {a: {image: x, network_mode: }}",
        "services.a.network_mode must be a string, not 'null'",
    ),
    "working-dir-number": (
        "services: {a: {image: x, working_dir: 5}}",
        "services.a.working_dir must be a string, not '5'",
    ),
    "profiles-text": ("services: {a: {image: x, profiles: p}}", "services.a.profiles must be a list"),
    "depends-on-inactive": (
        "services: {a: {image: x, depends_on: [b]}, b: {image: x, profiles: [p]}}",
        "service 'a' depends on service 'b', which no active profile holds",
    ),
    "depends-on-nothing": ("services: {a: {image: x, depends_on: [b]}}", "'b', which is not declared"),
    "depends-on-itself": ("services: {a: {image: x, depends_on: [a]}}", "wait for each other: a -> a"),
    "depends-on-a-cycle": (
        "services: {a: {image: x, depends_on: [b]}, b: {image: y, depends_on: [a]}}",
        "services wait for each other",
    ),
    "depends-on-without-condition": ("services: {a: {image: x, depends_on: {b: {}}}}", "depends_on.b.condition"),
    "depends-on-restart": (
        'services: {a: {image: x, depends_on: {b: {condition: service_started, restart: "x"}}}, b: {image: x}}',
        "depends_on.b.restart",
    ),
    "shared-network-of-nothing": ('services: {a: {image: x, network_mode: "service:b"}}', "'b', which is not declared"),
    "env-file-missing": ("services: {a: {image: x, env_file: no.env}}", "no.env' is not there"),
    "env-file-mapping": (
        "services: {a: {image: x, env_file: {path: a.env}}}",
        "services.a.env_file must be a path, or a list",
    ),
    "env-file-format": ("services: {a: {image: x, env_file: [{path: a.env, format: foo}]}}", "a format that is not"),
    "env-file-bad-name": (
        {"compose.yaml": "services: {a: {image: x, env_file: s.env}}", "s.env": "A=1\nB!=2\n"},
        "s.env:2: '!' cannot be in a variable's name",
    ),
    "env-file-space": (
        {"compose.yaml": "services: {a: {image: x, env_file: s.env}}", "s.env": "A B=2\n"},
        "s.env:1: a variable's name cannot hold a space",
    ),
    "env-file-open-quote": (
        {"compose.yaml": "services: {a: {image: x}}", ".env": 'A=1\nB="2\n'},
        ".env:2: a quote is opened and never closed",
    ),
    "provider-without-type": ("services: {a: {provider: {options: {}}}}", "services.a.provider.type is missing"),
    "required-variable": ('services: {a: {image: "${NO:?say $FOO}"}}', "variable NO is missing a value: say foo"),
    "required-of-inactive": ('services: {a: {image: "${NO?}", profiles: [p]}}', "variable NO is missing a value."),
    "bad-reference": ('services: {a: {image: "${FOO"}}', "services.a.image: '${FOO' holds a '${'"),
    "bad-reference-operator": ('services: {a: {image: "${FOO!}"}}', "services.a.image"),
    "bad-reference-over-lines": ('services: {a: {image: "${NO:-a\\nb}"}}', "services.a.image"),
    "empty": ("", "is an empty compose file"),
    "only-a-comment": ("# hi\n", "is an empty compose file"),
    "null-document": ("---\n", "top level must be a mapping"),
    "list": ("- a\n", "top level must be a mapping"),
    "key-twice": ("services:\n  a: {image: x}\n  a: {image: y}\n", "compose.yaml:3: key 'a' is there twice"),
    "open-bracket": ("services:\n  a: {image: x\n  b: [\n", "compose.yaml:3: expected ',' or '}'"),
    "tab": ("services:\n\ta: {image: x}\n", "compose.yaml:2: found character"),
    "unknown-alias": ("services:\n  a: {image: *zz}\n", "compose.yaml:2: found undefined alias"),
    "cycle-of-aliases": ("x-a: &a {b: *a}\n", "x-a.b holds itself"),
    "merge-of-a-number": ("services:\n  a: {<<: 5}\n", "'<<' takes a mapping"),
    "name-number": ("name: 5\nservices: {a: {image: x}}", "name must be a string"),
    "name-of-nothing": ('name: "__"\nservices: {a: {image: x}}', "leaves nothing to name the project by"),
    "override-of-another-kind": (
        {"compose.yaml": "x-a: {b: 1}", "compose.override.yaml": "x-a: [1]"},
        "x-a is of one kind in one file and of another in the next",
    ),
}
"""Projects that both refuse, and what our message holds."""
